"""Ollamas: their versions, the service, how many streams they run, what is in their memory."""

from __future__ import annotations

import pytest

from farm.doctor import ollamas
from farm.doctor.containers import Container
from farm.doctor.finding import Level
from farm.doctor.graphics import Use
from farm.doctor.ollamas import Binary
from farm.doctor.servers import Answer, Kind, Listener, Loaded, Serve, Servers, Unit
from wire.ollamahole import is_old

OLLAMA = Answer("http://127.0.0.1:11434", 11434, Kind.OLLAMA, "0.24.0")
FRONT = Answer("http://127.0.0.1:8080", 8080, Kind.FARM, health={})
BOX = Container("box", "ollama/ollama", running=True, ports=(("127.0.0.1", 11434, 11434),), gpu=True)
HELD = Listener("127.0.0.1", 11434, 7, "ollama")


def seen(*answers: Answer, listeners: tuple[Listener, ...] = (), serves: tuple[Serve, ...] = ()) -> Servers:
    return Servers(listeners, serves, answers)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("ollama version is 0.24.0\n", "0.24.0"),
        (
            "Warning: could not connect to a running Ollama instance\nWarning: client version is 0.17.0\n",
            "0.17.0",
        ),
        ("ollama version is 0.5.1\nWarning: client version is 0.24.0\n", "0.24.0"),
        ("", ""),
    ],
)
def test_what_the_command_says_of_its_version(text: str, version: str) -> None:
    assert ollamas.version_said(text) == version


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("0.17.0", True),
        ("0.5.13", True),
        ("v0.16.9-rc1", True),
        ("0.17.1", False),
        ("0.24.0", False),
        ("1.0.0", False),
        ("0.1.0", True),
        ("0.0.1", True),
        ("0.0.0", False),
        ("main", False),
        ("", False),
    ],
)
def test_old_versions(version: str, old: bool) -> None:
    assert is_old(version) is old


@pytest.mark.parametrize(
    ("binary", "level", "text"),
    [
        (None, Level.NOTE, "there is no `ollama` command"),
        (Binary("/bin/ollama"), Level.NOTE, "/bin/ollama does not tell its version"),
        (Binary("/bin/ollama", "0.24.0"), Level.OK, "ollama 0.24.0 at /bin/ollama"),
        (Binary("/bin/ollama", "0.12.3"), Level.TROUBLE, "ollama 0.12.3 at /bin/ollama is unsafe"),
    ],
)
def test_the_command(binary: Binary | None, level: Level, text: str) -> None:
    told = ollamas.binary(binary)
    assert told.level is level
    assert told.text.startswith(text)


def test_one_that_runs_and_is_old() -> None:
    old = Answer("http://127.0.0.1:5", 5, Kind.OLLAMA, "0.9.0")
    (told,) = ollamas.running(seen(OLLAMA, old))
    assert told.level is Level.TROUBLE
    assert "http://127.0.0.1:5 is 0.9.0" in told.text


@pytest.mark.parametrize(
    ("unit", "level", "text"),
    [
        (Unit("active"), Level.NOTE, "the service ollama runs"),
        (Unit("failed"), Level.TROUBLE, "the service ollama has failed"),
        (Unit("activating"), Level.TROUBLE, "the service ollama does not come up"),
        (Unit("inactive"), Level.OK, "the service ollama is installed and inactive"),
    ],
)
def test_the_service(unit: Unit, level: Level, text: str) -> None:
    (told,) = ollamas.service(unit)
    assert told.level is level
    assert told.text.startswith(text)


def test_no_service() -> None:
    assert ollamas.service(None) == []


@pytest.mark.parametrize(
    ("serve", "unit", "level", "text", "remedy"),
    [
        (Serve(7), None, Level.NOTE, "cannot be read (ollama, process 7)", "--try MODEL"),
        (Serve(7, {}), None, Level.NOTE, "answers one request at a time", "OLLAMA_NUM_PARALLEL=4, or let"),
        (
            Serve(7, {}),
            Unit("active", 7),
            Level.NOTE,
            "answers one request at a time",
            "systemctl edit ollama",
        ),
        (Serve(7, {"OLLAMA_FARM_PORT": "1"}), None, Level.OK, "runs 1 stream of a model at once", ""),
        (Serve(7, {"OLLAMA_NUM_PARALLEL": "9"}), None, Level.OK, "runs 9 streams of a model at once", ""),
    ],
)
def test_streams_at_once(serve: Serve, unit: Unit | None, level: Level, text: str, remedy: str) -> None:
    (told,) = ollamas.parallel(seen(OLLAMA, listeners=(HELD,), serves=(serve,)), (), unit)
    assert told.level is level
    assert text in told.text
    assert remedy in told.remedy


def test_the_embedded_engine_is_none_of_them() -> None:
    engine = Answer("", 5, Kind.OLLAMA, "0.24.0", embedded=True, loaded=(Loaded("a", 1, 0),))
    assert ollamas.parallel(seen(engine, FRONT), (), None) == []
    assert ollamas.in_memory(seen(engine, FRONT), (), None) == []


def test_models_in_memory() -> None:
    busy = Answer(OLLAMA.url, 11434, Kind.OLLAMA, loaded=(Loaded("a:1", 10, 4), Loaded("b:1", 5, 5)))
    assert ollamas.in_memory(seen(busy), (BOX,), None) == [
        Use("a:1", OLLAMA.url, 10, 4, container="box"),
        Use("b:1", OLLAMA.url, 5, 5, container="box"),
    ]
