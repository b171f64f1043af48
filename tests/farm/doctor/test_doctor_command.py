"""`python -m farm doctor` as a person runs it, on wards with stand-in programs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fronts import standing
from standin.ollama import Model, Standin

from farm.doctor import answers, cli, limits, processes, survey, trying
from farm.doctor.containers import Container, Docker
from farm.doctor.examination import Asked, Facts
from farm.doctor.servers import Answer, Kind, Servers

if TYPE_CHECKING:
    from conftest import Ward

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 60
SECRETS = {
    "HTTP_PROXY": "http://me:s3cret@proxy.example:3128",
    "OLLAMA_HOST": "http://me:s3cret@far.example:11434",
    "OLLAMA_API_KEY": "s3cret",
    "DOCKER_HOST": "ssh://me:s3cret@far.example",
    "OLLAMA_NUM_PARALLEL": "s3cret",
}


def run(ward: Ward, *flags: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = ward.environment | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | more
    argv = [sys.executable, "-m", "farm", "doctor", *flags]
    return subprocess.run(
        argv, cwd=ward.folder, env=environment, capture_output=True, text=True, timeout=DEADLINE_S
    )


def findings(ward: Ward, *flags: str, **more: str) -> list[tuple[str, str, str, str]]:
    done = run(ward, "--json", *flags, **more)
    told = json.loads(done.stdout)
    assert done.returncode == int(told["troubles"] > 0), done.stderr
    return [(one["check"], one["level"], one["text"], one["remedy"]) for one in told["findings"]]


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def ports(free_port: Callable[[], int]) -> tuple[str, ...]:
    return ("--front-port", str(free_port()), "--back-port", str(free_port()))


def test_a_machine_with_nothing(ward: Ward, ports: tuple[str, ...]) -> None:
    before = tree(ward.folder)
    done = run(ward, *ports)
    assert tree(ward.folder) == before
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("trouble mode ")
    assert sum("docker is not installed" in line for line in lines) == 1
    assert sum("there is no `ollama` command" in line for line in lines) == 1
    assert [line.split()[0] for line in lines if "mode" in line.split()[1:2]] == ["trouble"]
    assert "trouble" in lines[-1]


def test_text_and_json_are_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = Facts(Asked(1, 2), docker=Docker(there=False), silent={"port": "no answer"})
    monkeypatch.setattr(survey, "look", lambda *given, **more: facts)
    assert (cli.main([]), cli.main(["--json"])) == (0, 0)
    text, _, told = capsys.readouterr().out.partition("{")
    levels = [line.split()[:2] for line in text.splitlines() if line[0] != " "]
    assert levels == [
        *([one["level"], one["check"]] for one in json.loads("{" + told)["findings"]),
        ["3", "notes"],
    ]


# -- containers and services ---------------------------------------------------------------------------------


@pytest.fixture
def docked(ward: Ward, free_port: Callable[[], int]) -> Iterator[tuple[Ward, int]]:
    """A container that a farm left behind, open to everybody, with a model in memory."""
    ward.standin("docker", "nvidia-smi", "ollama")
    port = free_port()
    argv = [
        "docker", "run", "--rm", "--name", f"ollama-farm-{port}", "--label", f"io.gpu-over-nkn.farm={port}",
        "-p", f"0.0.0.0:{port}:11434", "-e", "SECRET=s3cret", "-e", "OLLAMA_NUM_PARALLEL=5", "ollama/ollama",
    ]  # fmt: skip
    client = subprocess.Popen(argv, env=ward.environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while answers.identify(port) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield ward, port
    finally:
        subprocess.run(["docker", "rm", "-f", argv[4]], env=ward.environment, capture_output=True, check=True)
        client.wait(DEADLINE_S)


def test_a_container_that_was_left_open_and_without_a_gpu(
    docked: tuple[Ward, int], free_port: Callable[[], int]
) -> None:
    ward, port = docked
    name, url, log = f"ollama-farm-{port}", f"http://127.0.0.1:{port}", ward.folder / "standin.log"
    way = {"STANDIN_GPUS": "1", "STANDIN_LOG": str(log)}
    told = findings(ward, "--back-port", str(port), "--front-port", str(free_port()), "--try", "a", **way)
    # Only of this container: other tests of the same machine may have Ollamas of their own.
    assert ("mode", "ok", f"`python -m farm` would use the Ollama that runs at {url}", "") in told
    left = [one for one in told if one[0] == "leftovers" and name in one[2]]
    assert [(level, remedy) for _, level, _, remedy in left] == [("trouble", f"docker rm -f {name}")]
    opened = [one for one in told if one[0] == "exposed" and f"port {port} " in one[2]]
    assert [(level, f"-p 127.0.0.1:{port}:11434" in remedy) for _, level, _, remedy in opened] == [
        ("trouble", True)
    ]
    used = [one for one in told if one[0] == "gpu-use" and f":{port} " in one[2]]
    assert used[0][1] == "trouble"
    assert used[0][2].endswith(f"its container {name} was given none")
    parallel = [one for one in told if one[0] == "parallel" and f":{port} " in one[2]]
    assert parallel[0][2].endswith("runs 5 streams of a model at once")
    assert ("port", "ok", f"{port}: Ollama 0.24.0 (container {name})", "") in told
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["argv"][1] for line in asked if line["what"] == "docker"} == {"info", "ps", "inspect"}


def test_no_secret_is_shown(docked: tuple[Ward, int]) -> None:
    ward, port = docked
    ward.program(
        "systemctl", "echo LoadState=loaded; echo ActiveState=active; echo 'Environment=TOKEN=s3cret'"
    )
    for flags in ((), ("--json",), ("--front", f"http://127.0.0.1:{port}")):
        done = run(ward, "--back-port", str(port), *flags, **SECRETS)
        assert "s3cret" not in done.stdout + done.stderr
        assert "HTTP_PROXY" in done.stdout


@pytest.mark.parametrize(
    ("state", "level", "text"),
    [
        (
            "active",
            "note",
            "the service ollama runs; a farm on its port uses it as it is, its settings included",
        ),
        ("failed", "trouble", "the service ollama has failed"),
    ],
)
def test_the_service(ward: Ward, ports: tuple[str, ...], state: str, level: str, text: str) -> None:
    ward.program("systemctl", f"echo LoadState=loaded; echo ActiveState={state}; echo MainPID=0")
    assert [one[1:3] for one in findings(ward, *ports) if one[0] == "service"] == [(level, text)]


def test_an_old_ollama(ward: Ward, ports: tuple[str, ...]) -> None:
    path = ward.program("ollama", 'echo "Warning: client version is 0.16.3"')
    (told,) = [one for one in findings(ward, *ports) if one[0] == "ollama"]
    assert told[1] == "trouble"
    assert told[2].startswith(f"ollama 0.16.3 at {path} is unsafe")


def test_a_driver_that_hangs_does_not_hang_the_doctor(
    ward: Ward, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limits, "COMMAND_S", 0.3)
    os.mkfifo(ward.folder / "fifo")
    ward.program("nvidia-smi", f'read forever <"{ward.folder}/fifo"')
    assert cli.main([]) == 1
    assert "trouble nvidia" in " ".join(capsys.readouterr().out.split())


# -- a farm --------------------------------------------------------------------------------------------------


async def said(capsys: pytest.CaptureFixture[str], *flags: str) -> list[dict[str, Any]]:
    await asyncio.to_thread(cli.main, ["--json", *flags])
    return list(json.loads(capsys.readouterr().out)["findings"])


@pytest.mark.usefixtures("ward")
async def test_a_farm_is_found_told_and_tried(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "PROMPT", "tokens=8 gap=0.03")
    async with (
        Standin({"a": Model(vram=5, loaded_size=5)}, parallel=4) as ollama,
        standing(ollama.url) as rooms,
    ):
        port = rooms.url.rpartition(":")[2]
        told = await said(capsys, "--front-port", port, "--back-port", str(ollama.port), "--try", "a")
    texts = [(one["check"], one["level"], one["text"]) for one in told]
    assert ("front", "ok", f"the farm at {rooms.url} is ready; 0 of 4 slots taken, 0 waiting") in texts
    assert ("try", "ok", "4 answers ran at the same time") in texts
    assert ("gpu-use", "ok", f"a:latest at {ollama.url} is on the GPU as a whole") in texts
    assert ("model", "ok", "a is there (98.4 MB)") in texts
    assert [request.path for request in ollama.seen if request.method == "POST"].count("/api/generate") >= 4


@pytest.mark.usefixtures("ward")
async def test_a_farm_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    async with Standin() as ollama, standing(ollama.url) as rooms:
        told = await said(capsys, "--front", f"{rooms.url}/")
    assert [one["text"] for one in told if one["check"] == "front"] == [
        f"the farm at {rooms.url} is ready; 0 of 4 slots taken, 0 waiting"
    ]


@pytest.mark.usefixtures("ward")
async def test_one_that_is_serialized(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setattr(trying, "PROMPT", "tokens=5 gap=0.02")
    async with Standin(parallel=1) as ollama:
        flags = (
            "--back-port",
            str(ollama.port),
            "--front-port",
            str(free_port()),
            "--try",
            "a",
            "--at-once",
            "2",
        )
        told = await said(capsys, *flags)
    levels = [(one["level"], one["text"]) for one in told if one["check"] == "try"]
    assert levels[-1] == ("trouble", "still serialized: 2 answers came one after the other")


@pytest.mark.usefixtures("ward")
def test_nobody_to_try(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setattr(survey, "_servers", lambda ports: Servers())
    assert cli.main(["--try", "a", "--back-port", str(free_port())]) == 1
    out, err = capsys.readouterr()
    assert "a at this machine cannot be loaded: neither a farm nor an Ollama answers" in out
    assert err == "farm doctor: loading a, then asking it 4 times at once\n"


@pytest.mark.usefixtures("ward")
def test_a_container_counts_as_looked_after_when_a_farm_names_its_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    health = {"backends": [{"url": "http://127.0.0.1:7"}]}
    servers = Servers(answers=(Answer("http://127.0.0.1:8", 8, Kind.FARM, health=health),))
    boxes = [Container(f"box-{farm}", "", running=True, farm=farm) for farm in ("7", "9", "odd", "")]
    monkeypatch.setattr(processes, "guarded", lambda names: tuple(name for name in names if name == "box-9"))
    found = survey._guarded(servers, boxes)
    assert found is not None
    assert found.guarded == ("box-7", "box-9")
