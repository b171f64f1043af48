"""A port that somebody has: who it is and how to end that, or, when it is an Ollama, that it is used."""

from __future__ import annotations

import sys

import pytest
from lifestage import Running, Stage, until

from farm import looking, ports

TALKS = {
    "garbage": "wire.sendall(b'SSH-2.0-OpenSSH_9.2\\r\\n')",
    "nothing": "wire.close()",
    "another API": "wire.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 13\\r\\n\\r\\n{\"version\":7}')",
    "a page": "wire.sendall(b'HTTP/1.1 404 Not Found\\r\\nContent-Length: 2\\r\\n\\r\\nno')",
    "without an end": "wire.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n' + b'[' * 9999)",
}


def foreign(stage: Stage, port: int, talk: str = TALKS["nothing"]) -> int:
    """A program that is no Ollama on a port; its process number."""
    script = (
        f"import socket\nlistener = socket.create_server(('127.0.0.1', {port}))\n"
        f"while True:\n wire, _ = listener.accept()\n wire.recv(9)\n {talk}\n"
    )
    process = stage.start(sys.executable, "-c", script)
    until(lambda: looking.holder_of(port))
    return process.pid


@pytest.mark.parametrize("talk", TALKS)
def test_a_foreign_program_on_the_back_port(stage: Stage, talk: str) -> None:
    pid = foreign(stage, stage.back_port, TALKS[talk])
    told = stage.fails("--mode", "local")
    assert told.startswith(f"port {stage.back_port} is in use by python")
    assert f"(process {pid}); `kill {pid}` ends it, or choose another port with --back-port" in told
    assert stage.log("serve") == []


def test_one_of_several_back_ports(stage: Stage) -> None:
    pid = foreign(stage, stage.back_port + 1)
    told = stage.fails("--mode", "local", "--per-gpu", STANDIN_GPUS="2")
    assert told.startswith(f"port {stage.back_port + 1} is in use by python")
    assert f"`kill {pid}`" in told
    assert stage.log("serve") == []


def test_the_front_port(stage: Stage) -> None:
    pid = foreign(stage, stage.front_port)
    told = stage.fails("--mode", "local")
    assert told.startswith(f"port {stage.front_port} is in use by python")
    assert f"`kill {pid}` ends it, or choose another port with --front-port" in told


def test_a_host_that_is_not_here(stage: Stage) -> None:
    told = stage.fails("--mode", "local", "--host", "192.0.2.1")
    assert told.startswith(f"port {stage.front_port} of 192.0.2.1 cannot be used (")
    told = stage.fails("--mode", "local", "--host", "no.such.host.invalid")
    assert told.startswith("--host 'no.such.host.invalid' cannot be used: ")


@pytest.mark.parametrize("mode", ["auto", "local"])
def test_an_ollama_there_is_used(stage: Stage, mode: str) -> None:
    other = stage.ollama()
    with stage.farm("--mode", mode).ready() as farm:
        assert farm.health()["backends"][0]["ours"] is False
        assert farm.generate().json()["done"] is True
        assert farm.end() == 0
    assert (
        f"an Ollama answers at http://127.0.0.1:{stage.back_port} already: it is used as it is" in farm.told
    )
    assert other.poll() is None
    assert [line["pid"] for line in stage.log("serve")] == [other.pid]


@pytest.mark.parametrize(
    ("flags", "name"), [(["--mode", "docker"], "--mode docker"), (["--per-gpu"], "--per-gpu")]
)
def test_an_ollama_there_is_in_the_way_of_one_of_our_own(stage: Stage, flags: list[str], name: str) -> None:
    other = stage.ollama()
    told = stage.fails(*flags, STANDIN_GPUS="2", STANDIN_NVIDIA_RUNTIME="1")
    assert f"(process {other.pid}); `kill {other.pid}` ends it" in told
    assert told.endswith(f"it is an Ollama, which the farm would use as it is without {name}")
    assert other.poll() is None


def test_a_container_of_somebody_else_is_named(stage: Stage) -> None:
    stage.daemon()
    port = f"127.0.0.1:{stage.back_port}:11434"
    stage.start("docker", "run", "--name", "w1", "-p", port, "ollama/ollama")
    until(lambda: not ports.is_free(stage.back_port))
    told = stage.fails("--mode", "docker")
    assert told.startswith(
        f"port {stage.back_port} is in use by the container w1; `docker rm -f w1` ends it, or"
    )
    assert stage.containers() == ["w1"]


def test_a_port_that_is_taken_in_between(stage: Stage) -> None:
    farm = stage.farm("--mode", "local", STANDIN_START_S="1.5")
    until(lambda: stage.log("serve"))
    pid = foreign(stage, stage.back_port)
    assert farm.code() == 1
    last = farm.told.splitlines()[-1]
    assert f"port {stage.back_port} is in use by python" in last
    assert f"`kill {pid}` ends it" in last


def test_a_free_port_is_taken_when_asked_for(stage: Stage) -> None:
    with stage.farm("--mode", "local", "--front-port", "0", "--back-port", "0") as farm:
        until(lambda: "farm ready" in farm.said)
        url = farm.said.split()[-1]
        other = Running(farm.process, farm.out, farm.err, url)
        assert other.generate().json()["done"] is True
        back = other.health()["backend"]
        assert back != url
        assert str(stage.back_port) not in back
        assert farm.end() == 0
    assert until(lambda: not stage.left())


def test_an_open_host_is_told_aloud(stage: Stage) -> None:
    with stage.farm("--mode", "local", "--host", "0.0.0.0").ready() as farm:
        port = stage.front_port
        words = f"farm: 0.0.0.0 is not loopback: whoever reaches this machine may use port {port}"
        assert words in farm.told.splitlines()
        assert farm.end() == 0


# -- who has a port, as systemd sees it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "unit"),
    [
        ("0::/system.slice/ollama.service", "ollama.service"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ollama.service",
            "--user ollama.service",
        ),
        ("0::/user.slice/user-1000.slice/session-3.scope", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x-7.scope", ""),
        ("0::/", ""),
        ("", ""),
    ],
)
def test_the_service_of_a_process(group: str, unit: str) -> None:
    assert looking.unit_in(group) == unit


def test_the_service_of_a_process_that_is_gone() -> None:
    assert looking.unit_of(2**22) == ""
