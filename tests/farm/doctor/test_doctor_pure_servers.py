"""Who has the ports, what runs an Ollama, and who can be reached from other machines."""

from __future__ import annotations

import pytest

from farm.doctor import ports, servers
from farm.doctor.containers import Container
from farm.doctor.servers import Answer, Kind, Listener, Owner, Serve, Servers, Unit, owner_of

OLLAMA = Answer("http://127.0.0.1:11434", 11434, Kind.OLLAMA, "0.24.0")
FRONT = Answer("http://127.0.0.1:8080", 8080, Kind.FARM, health={})
BOX = Container("box", "ollama/ollama", running=True, ports=(("127.0.0.1", 11434, 11434),), gpu=True)
HELD = Listener("127.0.0.1", 11434, 7, "ollama")
HIDDEN = Listener("127.0.0.1", 11434)


def seen(
    *answers: Answer, listeners: tuple[Listener, ...] | None = (), serves: tuple[Serve, ...] = ()
) -> Servers:
    return Servers(listeners, serves, answers)


# -- who runs it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "unit"),
    [
        ("", None),
        ("LoadState=not-found\nActiveState=inactive", None),
        (
            (
                "LoadState=loaded\nActiveState=active\nMainPID=12\n"
                'Environment=PATH=/usr/bin OLLAMA_NUM_PARALLEL=4 "OLLAMA_HOST=0.0.0.0" TOKEN=secret'
            ),
            Unit("active", 12, {"OLLAMA_NUM_PARALLEL": "4", "OLLAMA_HOST": "0.0.0.0"}),
        ),
        ("LoadState=loaded\nActiveState=failed\nMainPID=x\nEnvironment='", Unit("failed")),
        ("LoadState=loaded\nnonsense", Unit("")),
    ],
)
def test_the_unit(shown: str, unit: Unit | None) -> None:
    assert servers.read_unit(shown) == unit


@pytest.mark.parametrize(
    ("listeners", "serves", "boxes", "unit", "owner"),
    [
        ((HELD,), (), [BOX], None, Owner("container box", container="box", settings={})),
        (
            (HELD,),
            (Serve(7, {"OLLAMA_NUM_PARALLEL": "2"}),),
            [],
            None,
            Owner("ollama, process 7", pid=7, settings={"OLLAMA_NUM_PARALLEL": "2"}),
        ),
        ((HELD,), (Serve(8, {}),), [], None, Owner("ollama, process 7", pid=7)),
        (
            (Listener("::", 11434, 7, "x", "x.service"),),
            (),
            [],
            None,
            Owner("x, process 7", unit="x.service", pid=7),
        ),
        (
            (HELD,),
            (Serve(7, {"OLLAMA_HOST": "x"}),),
            [],
            Unit("active", 7, {"OLLAMA_NUM_PARALLEL": "3"}),
            Owner("the service ollama", unit="ollama", pid=7, settings={"OLLAMA_HOST": "x"}),
        ),
        (
            (HELD,),
            (Serve(7),),
            [],
            Unit("active", 7, {"OLLAMA_NUM_PARALLEL": "3"}),
            Owner("the service ollama", unit="ollama", pid=7, settings={"OLLAMA_NUM_PARALLEL": "3"}),
        ),
        ((HELD,), (), [], Unit("active", 8), Owner("ollama, process 7", pid=7)),
        (
            (HIDDEN,),
            (),
            [],
            Unit("active", 8),
            Owner("the service ollama", unit="ollama", pid=8, settings={}),
        ),
        ((HIDDEN,), (), [], Unit("active", 0), Owner("the service ollama", unit="ollama", settings={})),
        (
            (HIDDEN,),
            (),
            [],
            Unit("active", 8, {"OLLAMA_HOST": "127.0.0.1:11500"}),
            Owner("a program that the system does not name"),
        ),
        ((HIDDEN,), (), [], Unit("inactive"), Owner("a program that the system does not name")),
        (None, (), [], None, Owner("a program that the system does not name")),
    ],
)
def test_who_runs_an_ollama(
    listeners: tuple[Listener, ...] | None,
    serves: tuple[Serve, ...],
    boxes: list[Container],
    unit: Unit | None,
    owner: Owner,
) -> None:
    assert owner_of(11434, seen(OLLAMA, listeners=listeners, serves=serves), boxes, unit) == owner


@pytest.mark.parametrize(
    ("owner", "farm", "parallel", "no_gpu"),
    [
        (Owner("x"), False, None, False),
        (Owner("x", settings={}), False, 1, False),
        (Owner("x", made=True, settings={}), True, 1, False),
        (
            Owner(
                "x",
                settings={"OLLAMA_FARM_PORT": "1", "OLLAMA_NUM_PARALLEL": "4", "OLLAMA_NUM_GPU_LAYERS": "0"},
            ),
            True,
            4,
            True,
        ),
    ],
)
def test_what_is_known_of_an_owner(owner: Owner, farm: bool, parallel: int | None, no_gpu: bool) -> None:
    assert (owner.farm, owner.parallel, owner.no_gpu) == (farm, parallel, no_gpu)


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://127.0.0.1:5", 5),
        ("http://[::1]:6", 6),
        ("http://localhost:7", 7),
        ("http://10.0.0.1:5", None),
        ("http://127.0.0.1:x", None),
        ("", None),
        ("http://127.0.0.1", None),
    ],
)
def test_ports_of_urls(url: str, port: int | None) -> None:
    assert servers.port_of(url) == port


# -- ports ---------------------------------------------------------------------------------------------------


def said(
    *answers: Answer, listeners: tuple[Listener, ...] | None = (), boxes: tuple[Container, ...] = ()
) -> list[str]:
    found = ports.ports(
        (11434, 8080, 5), seen(*answers, listeners=listeners), boxes, None, front=8080, back=11434
    )
    return [f"{one.level.value}: {one.text} → {one.remedy}" for one in found]


def test_free_ports() -> None:
    assert said() == ["ok: ports 11434, 8080, 5 are free → "]
    assert said(listeners=None) == ["ok: nothing answers on ports 11434, 8080, 5 → "]
    one_left = said(OLLAMA, FRONT, listeners=(HELD,))
    assert one_left[-1] == "ok: port 5 is free → "


NAMELESS = "a program that the system does not name"
OTHER_BACK, OTHER_FRONT = "; or --back-port with another number", "; or --front-port with another number"


@pytest.mark.parametrize(
    ("answers", "listeners", "boxes", "text", "remedy"),
    [
        ((OLLAMA,), (HELD,), (), "ok: 11434: Ollama 0.24.0 (ollama, process 7)", ""),
        ((OLLAMA,), (), (BOX,), "ok: 11434: Ollama 0.24.0 (container box)", ""),
        (
            (),
            (),
            (BOX,),
            "trouble: 11434 is taken by container box, which does not answer in HTTP",
            f"docker rm -f box{OTHER_BACK}",
        ),
        (
            (),
            (HIDDEN,),
            (),
            f"trouble: 11434 is taken by {NAMELESS}, which does not answer in HTTP",
            f"sudo ss -ltnp 'sport = :11434' shows which{OTHER_BACK}",
        ),
        (
            (Answer("", 11434, Kind.FARM),),
            (HELD,),
            (),
            "trouble: 11434, where an Ollama goes, has the front of a farm (ollama, process 7)",
            f"kill 7{OTHER_BACK}",
        ),
        (
            (Answer("", 8080, Kind.OLLAMA, "0.24.0"),),
            (Listener("::", 8080, 7, "x"),),
            (),
            "trouble: 8080, where the farm's front goes, has Ollama 0.24.0 (x, process 7)",
            f"kill 7{OTHER_FRONT}",
        ),
        (
            (Answer("", 8080, Kind.OTHER),),
            (Listener("::", 8080, 9, "nginx", "nginx.service"),),
            (),
            "trouble: 8080 is taken by nginx, process 9",
            f"sudo systemctl stop nginx.service{OTHER_FRONT}",
        ),
        (
            (Answer("", 8080, Kind.OTHER),),
            (Listener("::", 8080, 9, "x", "--user x.service"),),
            (),
            "trouble: 8080 is taken by x, process 9",
            f"systemctl stop --user x.service{OTHER_FRONT}",
        ),
        ((FRONT,), (), (), f"ok: 8080: the front of a farm ({NAMELESS})", ""),
        (
            (Answer("", 5, Kind.OTHER),),
            (),
            (),
            f"note: 5 is taken by {NAMELESS}; the farm wants it only if you say so",
            "",
        ),
        (
            (Answer("", 5, Kind.OLLAMA, "0.24.0", embedded=True),),
            (),
            (),
            f"ok: 5: the farm's embedded engine ({NAMELESS})",
            "",
        ),
    ],
)
def test_taken_ports(
    answers: tuple[Answer, ...],
    listeners: tuple[Listener, ...],
    boxes: tuple[Container, ...],
    text: str,
    remedy: str,
) -> None:
    assert f"{text} → {remedy}" in said(*answers, listeners=listeners, boxes=boxes)


def test_the_service_on_a_port_that_is_wanted_for_something_else() -> None:
    hung = seen(listeners=(HIDDEN,))
    (told,) = ports.ports((11434,), hung, (), Unit("active"), front=8080, back=11434)
    assert told.remedy == "sudo systemctl disable --now ollama; or --back-port with another number"


# -- who can be reached --------------------------------------------------------------------------------------

OPEN = Listener("::", 11434, 7, "ollama")
STOPPED = Container("x", "ollama/ollama", running=False, ports=(("0.0.0.0", 11500, 11434),))
WEB = Container("x", "nginx", running=True, ports=(("0.0.0.0", 80, 80),))
MINE = Container("x", "mine", running=True, ports=(("::", 80, 11434),))
OPEN_BOX = Container("box", "ollama/ollama", running=True, ports=(("0.0.0.0", 11500, 11434),))


@pytest.mark.parametrize(
    ("found", "boxes", "unit", "told"),
    [
        (seen(OLLAMA, listeners=(HELD,)), (), None, [("ok", "")]),
        (seen(OLLAMA, listeners=None), (), None, [("ok", "")]),
        (
            seen(OLLAMA, listeners=(OPEN, OPEN)),
            (),
            None,
            [("trouble", "start it with OLLAMA_HOST=127.0.0.1:11434")],
        ),
        (seen(listeners=(OPEN,), serves=(Serve(7),)), (), None, [("trouble", "start it with OLLAMA_HOST")]),
        (seen(listeners=(OPEN,)), (), None, [("ok", "")]),
        (seen(OLLAMA, listeners=(OPEN,)), (), Unit("active", 7), [("trouble", "sudo systemctl edit ollama")]),
        (seen(FRONT, listeners=(Listener("0.0.0.0", 8080),)), (), None, [("note", "without --host")]),
        (
            seen(),
            (OPEN_BOX,),
            None,
            [("trouble", "docker rm -f box, then start it with -p 127.0.0.1:11500:11434")],
        ),
        (seen(), (BOX,), None, [("ok", "")]),
        (seen(), (STOPPED,), None, [("ok", "")]),
        (seen(), (Container("x", "nginx", running=True, ports=(("0.0.0.0", 80, 80),)),), None, [("ok", "")]),
        (
            seen(),
            (Container("x", "mine", running=True, ports=(("::", 80, 11434),)),),
            None,
            [("trouble", "docker rm")],
        ),
    ],
)
def test_who_can_be_reached(
    found: Servers, boxes: tuple[Container, ...], unit: Unit | None, told: list[tuple[str, str]]
) -> None:
    findings = ports.exposed(found, boxes, unit)
    assert [one.level.value for one in findings] == [level for level, _ in told]
    assert all(remedy in one.remedy for one, (_, remedy) in zip(findings, told, strict=True))


def test_one_that_is_open_says_who_and_where() -> None:
    (told,) = ports.exposed(seen(OLLAMA, listeners=(OPEN,)), (), None)
    assert told.text == (
        "the Ollama on port 11434 (ollama, process 7) can be reached from other machines (::): "
        "whoever does may use, pull and delete models"
    )
    assert told.remedy.endswith("See: ss -ltn 'sport = :11434'")
