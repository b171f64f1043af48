"""Runners below a server are found wherever they are, and an adopted server is looked up once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from lifestage import Stage, lives, until

from farm import looking
from farm.looking import Holder
from farm.service import Adopted

START = "child = subprocess.Popen([sys.executable, '-c', {}]); {}child.wait()"
LEAF = "'import time; time.sleep(60)', 'runner'"
THREADED = (
    "import subprocess, sys, threading\ndef start(): "
    + START.format(LEAF, "print(child.pid, flush=True); ")
    + "\n"
    "thread = threading.Thread(target=start); thread.start()"
)
TOP = "import subprocess, sys; " + START.format("sys.argv[1]", "")


@pytest.fixture
def tree() -> Iterator[tuple[int, int]]:
    """A process and the number of the runner that its child's thread started."""
    made = subprocess.Popen([sys.executable, "-c", TOP, THREADED], stdout=subprocess.PIPE)
    assert made.stdout is not None
    runner = psutil.Process(int(made.stdout.readline()))
    until(runner.cmdline)  # for a moment of its start it has none
    yield made.pid, runner.pid
    runner.kill()  # those above wait for it
    made.communicate()


@pytest.mark.parametrize("listed", [True, False])
def test_a_runner_far_below(tree: tuple[int, int], listed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not listed:
        monkeypatch.setattr(looking, "_below", lambda pid: None)
    top, runner = tree
    found = looking.runners_of(top)
    assert found is not None
    assert [process.pid for process in found] == [runner]
    (sample,) = looking.samples(found)
    assert (sample.pid, sample.disk) == (runner, False)
    assert sample.faults > 0


def test_a_runner_that_ended_is_left_out(tree: tuple[int, int]) -> None:
    top, runner = tree
    found = looking.runners_of(top)
    assert found is not None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(gone.pid)
    gone.wait()
    assert [sample.pid for sample in looking.samples([process, *found])] == [runner]


class Sockets:
    """Who has the port, and how often that was looked up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pid: int | None = None
        self.looks = 0
        monkeypatch.setattr(looking, "holder_of", self)

    def __call__(self, port: int) -> Holder | None:
        self.looks += 1
        return None if self.pid is None else Holder(self.pid, "x")


def test_who_has_the_port_is_looked_up_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets, other = Sockets(monkeypatch), stage.ollama()
    sockets.pid = other.pid
    adopted = Adopted(stage.back_port)
    assert [adopted.runners() for _ in range(3)] == [[], [], []]
    assert sockets.looks == 1
    other.kill()
    other.wait()
    sockets.pid = None
    assert [adopted.runners() for _ in range(3)] == [None, None, None]
    assert sockets.looks == 2, "at once after its end, and then not before a while"


def test_nobody_or_something_else_is_not_looked_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = Sockets(monkeypatch)
    sockets.pid = psutil.Process().pid  # as docker's proxy: it has the port and is no server
    adopted = Adopted(1)
    assert [adopted.runners() for _ in range(3)] == [None, None, None]
    assert sockets.looks == 1
    monkeypatch.setattr("farm.limits.HOLDER_EVERY_S", 0.0)
    adopted.runners()
    assert sockets.looks == 2
    assert Adopted().runners() is None
    assert sockets.looks == 2


def test_the_runners_of_an_adopted_server_are_seen(stage: Stage) -> None:
    stage.ollama()
    with stage.farm().ready() as farm:
        found = until(Adopted(stage.back_port).runners)
        assert len(found) == 1
        assert lives(psutil.Process(found[0].pid))
        assert farm.end() == 0
