"""What dies is started again: the server, its guard, its container, its runner; who waits is served."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from typing import Any

import pytest
from lifestage import Running, Stage, lives, until
from rawhttp import Wire
from standin.calls import post

MODES = ["local", "docker"]
BROKEN = "an error was encountered while running the model"


def serve_pid(stage: Stage) -> int:
    """Of the server that was started last."""
    return int(stage.log("serve")[-1]["pid"])


def back(farm: Running, stage: Stage, starts: int) -> dict[str, Any]:
    """Its health once it was started so often and is ready again."""
    until(lambda: len(stage.log("serve")) == starts and farm.healthy())
    return farm.health()


def kill(stage: Stage) -> None:
    if stage.containers():
        assert stage.run("docker", "kill", *stage.containers()).returncode == 0
    else:
        os.kill(serve_pid(stage), signal.SIGKILL)


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_server_comes_back_warm(stage: Stage, mode: str) -> None:
    stage.daemon()
    with stage.farm("--mode", mode).ready() as farm:
        runners = [process for process in stage.left() if "runner" in process.cmdline()]
        assert len(runners) == 1
        kill(stage)
        health = back(farm, stage, 2)
        assert health["warm"] == {"a:latest": True}
        (told,) = health["backends"]
        assert (told["restarts"], told["phase"], told["error"]) == (1, "ready", None)
        assert not lives(runners[0]), "left behind by a killed server"
        assert farm.generate().json()["done"] is True
        assert farm.end() == 0
    assert stage.clean()
    assert "is started again in 0.0 s: it was ended by SIGKILL" in farm.told
    assert "Traceback" not in farm.told


def test_who_waits_is_served_and_who_was_being_served_is_told(stage: Stage) -> None:
    with stage.farm("--mode", "local", "--num-parallel", "1").ready() as farm, Wire(farm.front, 30) as first:
        first.send(post(prompt="tokens=9000 gap=0.01"))
        first.head()
        stream = first.chunks()
        next(stream)
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(farm.generate()))
        waiting.start()
        until(lambda: farm.health()["waiting"] == 1)
        kill(stage)
        assert BROKEN in cut_or_told(first, stream)
        waiting.join(30)
        assert answers[0].json()["done"] is True
        assert len(stage.log("serve")) == 2
        assert farm.end() == 0
    assert stage.clean()


def cut_or_told(wire: Wire, stream: Any) -> str:
    """The last line of a stream, or BROKEN when its connection was cut."""
    try:
        *_, last = stream
    except ConnectionError:
        return BROKEN
    return BROKEN if wire.over else str(last)


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_guard_takes_its_server_along_and_both_come_back(stage: Stage, mode: str) -> None:
    stage.daemon()
    with stage.farm("--mode", mode).ready() as farm:
        before = serve_pid(stage)
        farm.guard.kill()
        back(farm, stage, 2)
        assert before not in [process.pid for process in stage.left()]
        assert len([process for process in stage.left() if "serve" in process.cmdline()]) == 1
        assert farm.end() == 0
    assert stage.clean()


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_guard_of_a_server_that_does_not_listen(stage: Stage, mode: str) -> None:
    """Nobody is left to end it but the farm itself."""
    stage.daemon()
    with stage.farm("--mode", mode, STANDIN_DEAF="1").ready() as farm:
        before = serve_pid(stage)
        farm.guard.kill()
        back(farm, stage, 2)
        assert before not in [process.pid for process in stage.left()]
        farm.process.kill()
        farm.process.wait()
    assert until(stage.clean)


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_runner_is_the_server_s_matter(stage: Stage, mode: str) -> None:
    stage.daemon()
    with stage.farm("--mode", mode).ready() as farm:
        (runner,) = [process for process in stage.left() if "runner" in process.cmdline()]
        runner.kill()
        assert farm.generate().json()["done"] is True
        health = farm.health()
        assert (health["backends"][0]["restarts"], health["status"]) == (0, "ready")
        assert len(stage.log("serve")) == 1
        assert farm.end() == 0
    assert stage.clean()


def test_the_pauses_grow_while_it_keeps_dying_and_nothing_is_given_up(stage: Stage) -> None:
    with stage.farm("--mode", "local", STANDIN_DIE_S="0.8").ready() as farm:
        until(lambda: farm.told.count("is started again") >= 4)
        told = re.findall(r"started again in ([0-9.]+) s: (.*)", farm.told)
        assert [float(pause) for pause, _ in told[:4]] == [0.0, 0.5, 1.0, 2.0]
        assert {why for _, why in told} == {"it ended with code 2"}
        health = farm.health()
        assert health["code"] == 503
        assert health["backends"][0]["error"] == "it ended with code 2"
        begun = time.monotonic()
        answer = farm.generate()
        assert (answer.status_code, "does not answer" in answer.json()["error"]) == (502, True)
        assert time.monotonic() - begun < 1, "nobody waits for what comes back in two seconds"
        until(lambda: farm.told.count("is started again") >= 5)
        assert farm.end() == 0
    assert stage.clean()


def test_one_of_two_dies_and_the_other_serves(stage: Stage) -> None:
    with stage.farm("--mode", "local", "--per-gpu", STANDIN_GPUS="2", STANDIN_LOAD_S="0.4").ready() as farm:
        hosts = {line["env"]["OLLAMA_HOST"]: line["pid"] for line in stage.log("serve")}
        os.kill(hosts[f"127.0.0.1:{stage.back_port}"], signal.SIGKILL)
        until(lambda: farm.health()["status"] == "degraded")
        assert farm.health()["code"] == 200
        assert farm.generate().json()["done"] is True
        until(farm.healthy)
        assert [told["restarts"] for told in farm.health()["backends"]] == [1, 0]
        assert farm.end() == 0
    assert stage.clean()


def listen_on(port: int) -> socket.socket | None:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


def test_a_port_that_is_lost_meanwhile_is_told_and_tried_again(stage: Stage) -> None:
    with stage.farm("--mode", "local").ready() as farm:
        kill(stage)
        with until(lambda: listen_on(stage.back_port)):
            words = f"port {stage.back_port} is in use by "
            until(lambda: str(farm.health()["backends"][0]["error"]).startswith(words))
            assert f"`kill {os.getpid()}` ends it" in farm.health()["backends"][0]["error"]
        until(farm.healthy)
        assert farm.generate().json()["done"] is True
        assert farm.end() == 0
    assert stage.clean()
