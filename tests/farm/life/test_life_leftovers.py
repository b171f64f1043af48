"""What an earlier farm left behind is ended at the next start, and nothing of anybody else's."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from lifestage import BIN, Stage, lives, until

from farm import ports


def orphan(stage: Stage, **env: str) -> psutil.Process:
    """A server as a farm's, whose guard is gone, with a runner of its own."""
    marked = {"OLLAMA_FARM_PORT": str(stage.back_port), **env}
    made = psutil.Process(stage.ollama(**marked).pid)
    url = f"http://127.0.0.1:{stage.back_port}/api/generate"
    assert httpx.post(url, json={"model": "a"}, trust_env=False).status_code == 200
    assert until(made.children)
    return made


def test_an_orphan_with_the_farm_s_mark_is_ended(stage: Stage) -> None:
    old = orphan(stage)
    below = old.children()
    with stage.farm("--mode", "local").ready() as farm:
        assert not lives(old)
        assert not any(map(lives, below))
        numbers = ", ".join(str(process.pid) for process in sorted([old, *below], key=lambda one: one.pid))
        words = f"farm: an earlier farm left its Ollama behind: process {numbers} is ended"
        assert words in farm.told.splitlines()
        assert farm.health()["backends"][0]["ours"] is True
        assert farm.end() == 0
    assert stage.clean()


def test_a_runner_without_its_server_is_one_too(stage: Stage) -> None:
    old = orphan(stage)
    (runner,) = old.children()
    old.kill()
    with stage.farm("--mode", "local").ready() as farm:
        assert not lives(runner)
        assert f"process {runner.pid} is ended" in farm.told
        assert farm.end() == 0
    assert stage.clean()


@pytest.mark.parametrize(("flags", "ends"), [([], False), (["--per-gpu"], True)])
def test_only_those_of_ports_that_are_about_to_be_used(stage: Stage, flags: list[str], ends: bool) -> None:
    other = str(stage.back_port - 1)
    old = orphan(stage)
    told = stage.dry("--mode", "local", "--back-port", other, *flags, STANDIN_GPUS="2")
    assert (f"left its Ollama behind: process {old.pid}" in told) is ends


def test_a_dry_run_tells_of_it_and_leaves_it(stage: Stage) -> None:
    old = orphan(stage)
    told = stage.dry("--mode", "local")
    assert f"{old.pid}" in next(line for line in told.splitlines() if "left its Ollama behind" in line)
    assert f"OLLAMA_HOST=127.0.0.1:{stage.back_port} " in told
    assert lives(old)


@pytest.mark.parametrize(
    "argv",
    [
        ["sleep", "60"],
        [sys.executable, "-c", "import time; time.sleep(60)"],
    ],
)
def test_a_program_that_only_has_the_variable_is_left_alone(stage: Stage, argv: list[str]) -> None:
    other = stage.start(*argv, OLLAMA_FARM_PORT=str(stage.back_port))
    with stage.farm("--mode", "local", OLLAMA_FARM_PORT=str(stage.back_port)).ready() as farm:
        assert other.poll() is None
        assert "left its Ollama behind" not in farm.told
        assert farm.end() == 0
    other.kill()


def test_an_ollama_of_somebody_else_is_left_alone(stage: Stage) -> None:
    other = stage.ollama()
    port = str(stage.back_port + 1)
    with stage.farm("--mode", "local", "--back-port", port).ready() as farm:
        assert other.poll() is None
        assert farm.end() == 0
    assert other.poll() is None


def test_the_servers_of_a_living_farm_are_left_alone(stage: Stage) -> None:
    stage.daemon()
    two = ["--front-port", str(stage.front_port - 1), "--back-port", str(stage.back_port + 1)]
    for mode in ("local", "docker"):
        with stage.farm("--mode", mode).ready() as first:
            own = [process for process in stage.left() if "serve" in process.cmdline()]
            second = stage.farm("--mode", mode, *two)
            until(lambda second=second: "farm ready" in second.said)
            assert second.end() == 0
            assert all(map(lives, own)), (mode, own, first.told, second.told)
            assert first.healthy()
            assert first.health()["backends"][0]["restarts"] == 0
            assert first.end() == 0
    assert stage.clean()


# -- containers -------------------------------------------------------------------------------------------


def container(stage: Stage, name: str, *labels: str) -> None:
    """One that runs, with nobody attached."""
    port = f"127.0.0.1:{stage.back_port}:11434"
    words = [word for label in labels for word in ("--label", label)]
    argv = ["docker", "run", "-d", "--rm", "--name", name, *words, "-p", port, "ollama/ollama:latest"]
    assert stage.run(*argv).returncode == 0
    until(lambda: not ports.is_free(stage.back_port))


@pytest.mark.parametrize("mode", ["docker", "auto"])
def test_a_container_that_was_left_behind_is_removed(stage: Stage, mode: str) -> None:
    stage.daemon()
    name = f"ollama-farm-{stage.back_port}"
    container(stage, name, f"io.gpu-over-nkn.farm={stage.back_port}")
    (old,) = [process for process in stage.left() if "serve" in process.cmdline()]
    assert "docker run" in stage.dry("--mode", mode)
    assert lives(old)
    with stage.farm("--mode", mode).ready() as farm:
        assert not lives(old)
        assert f"farm: an earlier farm left its container behind: {name} is removed" in farm.told
        assert stage.containers() == [name]
        assert farm.health()["backends"][0]["ours"] is True
        assert farm.end() == 0
    assert stage.clean()


def test_one_that_was_left_without_running_is_removed(stage: Stage) -> None:
    stage.daemon()
    name = f"ollama-farm-{stage.back_port}"
    made = stage.run("docker", "run", "--name", name, "ollama/ollama", STANDIN_FAIL="Error: no luck")
    assert (made.returncode, stage.containers()) == (1, [name])
    with stage.farm("--mode", "docker").ready() as farm:
        assert farm.end() == 0
    assert stage.clean()


@pytest.mark.parametrize("labels", [[], ["io.gpu-over-nkn.farm=1"]])
def test_a_container_of_somebody_else_is_used_as_it_is(stage: Stage, labels: list[str]) -> None:
    stage.daemon()
    container(stage, "w1", *labels)
    with stage.farm("--mode", "auto").ready() as farm:
        assert farm.health()["backends"][0]["ours"] is False
        assert farm.end() == 0
    assert stage.containers() == ["w1"]


def test_the_container_of_a_living_farm_is_not_taken_for_one_that_was_left(stage: Stage) -> None:
    """A second farm on its back port uses what is there, or is told so."""
    stage.daemon()
    with stage.farm("--mode", "docker").ready() as first:
        told = stage.fails("--mode", "docker", "--front-port", str(stage.front_port - 1))
        assert f"in use by the container ollama-farm-{stage.back_port}" in told
        assert first.healthy()
        assert stage.log("serve")[1:] == []
        assert first.end() == 0
    assert stage.clean()


def test_a_guard_and_its_farm_killed_with_a_container(stage: Stage) -> None:
    """The docker command is asked to end with its guard, and asks the container; a deaf one stays."""
    stage.daemon()
    with stage.farm("--mode", "docker", STANDIN_DEAF="1").ready() as farm:
        guard, client = farm.guard, farm.one(str(BIN / "docker"))
        for process in (farm.process.pid, guard.pid, client.pid):
            os.kill(process, signal.SIGKILL)
        farm.process.wait()
    assert stage.containers() == [f"ollama-farm-{stage.back_port}"]
    with stage.farm("--mode", "docker").ready() as again:
        assert again.end() == 0
    assert stage.clean()
    assert Path(stage.env["STANDIN_STATE"]).exists()
