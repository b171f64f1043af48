"""However a farm ends, and whenever: no process, no container, both ports free."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from lifestage import Running, Stage, lives, until
from rawhttp import Wire
from standin.calls import post

MODES = ["local", "docker"]
WITHIN_S = 10.0
"""What is left after a kill -9 is gone by then."""
ENDLESS = post(prompt="tokens=9000 gap=0.01")


@contextmanager
def streaming(farm: Running) -> Iterator[Wire]:
    with Wire(farm.front, 30) as wire:
        wire.send(ENDLESS)
        assert wire.head().status == 200
        next(wire.chunks())
        yield wire


def cut(wire: Wire) -> bool:
    """Whether the answer ends without its last chunk."""
    try:
        for _ in wire.chunks():
            pass
    except (ConnectionError, EOFError):
        return True
    return wire.over


# -- in order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cuts_streams_and_ends_all(stage: Stage, mode: str, number: signal.Signals) -> None:
    stage.daemon()
    with stage.farm("--mode", mode).ready() as farm, streaming(farm) as wire:
        assert farm.end(number) == 0
        assert cut(wire)
    assert stage.clean(), "at once: the farm waits for the end of what it started"
    assert "Traceback" not in farm.told


def test_ctrl_c_in_a_terminal_reaches_the_farm_alone(stage: Stage) -> None:
    """The terminal sends it to all processes of its group; what the farm started is not in it."""
    with stage.farm("--mode", "local").ready() as farm:
        group = os.getpgid(farm.process.pid)
        assert {os.getpgid(process.pid) for process in farm.below("serve")} != {group}
        assert os.getpgid(farm.guard.pid) != group
        farm.process.send_signal(signal.SIGINT)
        farm.process.send_signal(signal.SIGINT)
        assert farm.code() == 0
    assert stage.clean()


def test_a_signal_to_every_process_at_once_is_an_end_in_order(stage: Stage) -> None:
    """As systemd does it."""
    with stage.farm("--mode", "local").ready() as farm:
        for process in stage.left():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        assert farm.code() == 0
    assert until(stage.clean)
    assert "is started again" not in farm.told


def test_a_container_that_does_not_listen_is_killed(stage: Stage) -> None:
    stage.daemon()
    with stage.farm("--mode", "docker", STANDIN_DEAF="1").ready() as farm:
        assert farm.end() == 0
    assert stage.clean()


def test_two_backends_end_together(stage: Stage) -> None:
    with stage.farm("--mode", "local", "--per-gpu", STANDIN_GPUS="2").ready() as farm:
        assert farm.end() == 0
    assert stage.clean()


@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.6, 0.9])
def test_a_signal_at_any_moment_of_the_start(stage: Stage, after_s: float) -> None:
    farm = stage.farm("--mode", "docker")
    time.sleep(after_s)
    farm.process.send_signal(signal.SIGTERM)
    # Python itself is not up yet in the first moments, and then a signal ends it before the farm begins.
    assert farm.code() in {0, -signal.SIGTERM}
    assert until(stage.clean)
    assert "Traceback" not in farm.told


# -- kill -9 -----------------------------------------------------------------------------------------------


def gone(stage: Stage, farm: Running) -> bool:
    farm.process.kill()
    farm.process.wait()
    return bool(until(stage.clean, WITHIN_S))


@pytest.mark.parametrize("mode", MODES)
def test_kill_9_with_a_stream(stage: Stage, mode: str) -> None:
    stage.daemon()
    with stage.farm("--mode", mode).ready() as farm, streaming(farm) as wire:
        assert gone(stage, farm)
        assert cut(wire)


@pytest.mark.parametrize("mode", MODES)
def test_kill_9_before_the_backend_answers(stage: Stage, mode: str) -> None:
    stage.daemon()
    farm = stage.farm("--mode", mode, STANDIN_START_S="60")
    until(lambda: stage.log("serve"))
    assert gone(stage, farm)


@pytest.mark.parametrize("mode", MODES)
def test_kill_9_in_a_pull(stage: Stage, mode: str) -> None:
    stage.daemon()
    env = {"STANDIN_REGISTRY": json.dumps({"b": {}}), "STANDIN_PULL_S": "60"}
    farm = stage.farm("--mode", mode, "--model", "b", **env)
    until(lambda: str(farm.health().get("doing")).startswith("pulling b: "))
    assert gone(stage, farm)


@pytest.mark.parametrize("mode", MODES)
def test_kill_9_in_a_load(stage: Stage, mode: str) -> None:
    stage.daemon()
    farm = stage.farm("--mode", mode, STANDIN_LOAD_S="60")
    until(lambda: farm.health().get("doing") == "loading a")
    until(lambda: any("runner" in process.cmdline() for process in stage.left()))
    assert gone(stage, farm)


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_at_any_moment(stage: Stage, seed: int) -> None:
    stage.daemon()
    chance = random.Random(seed)
    farm = stage.farm("--mode", chance.choice(MODES), STANDIN_LOAD_S="0.3")
    time.sleep(chance.uniform(0.2, 2.0))
    assert gone(stage, farm)
    assert "Traceback" not in farm.told


def test_kill_9_of_the_farm_and_its_guard(stage: Stage) -> None:
    with stage.farm("--mode", "local").ready() as farm:
        guard, serve = farm.guard, farm.serve
        farm.process.kill()
        guard.kill()
        farm.process.wait()
        assert until(stage.clean, WITHIN_S)
        assert not lives(serve)


def test_kill_9_in_the_middle_of_the_end(stage: Stage) -> None:
    with stage.farm("--mode", "local", STANDIN_DEAF="1").ready() as farm:
        farm.process.send_signal(signal.SIGTERM)
        until(lambda: not listens(stage.front_port))
        assert gone(stage, farm)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True
