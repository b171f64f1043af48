"""The guard alone: a server's life ends with its stdin, and nothing that it started stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from lifestage import GUARD, free_ports, lives, until

from farm import looking, machine, ports
from farm.guarded import Contained, Guarded
from farm.launch import Launch
from wire.errors import OurFault

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, sys; signal.signal(15, signal.SIG_IGN); print('up', file=sys.stderr); " + SLEEP
PARENT = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]]);"
    f"print(child.pid, file=sys.stderr, flush=True); {SLEEP}"
)
RUN = "sys.argv[:1] = []; runpy.run_path(sys.argv[0], run_name='__main__')"
OLD = f"import os, runpy, sys; del os.pidfd_open; {RUN}"
REFUSES = f"import os, runpy, sys\ndef no(pid): raise OSError(38, 'no')\nos.pidfd_open = no; {RUN}"
MAC = f"import os, psutil, runpy, sys; sys.platform = 'darwin'; del os.pidfd_open; {RUN}"
SYSTEMS = {
    "as it is": [], "without pidfd": ["-c", OLD], "refused": ["-c", REFUSES], "as on a Mac": ["-c", MAC],
}  # fmt: skip


class Guard:
    def __init__(self, script: str, *argv: str, undo: list[str], stop_s: float, system: str) -> None:
        plan = {"argv": [sys.executable, "-c", script, *argv], "undo": undo, "stop_s": stop_s}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, *SYSTEMS[system], GUARD, json.dumps(plan)], stdin=pipe, stdout=pipe, stderr=pipe
        )
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.server = psutil.Process(told["pid"])
        self.started = [self.server]

    def line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode().strip()

    def close(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(20)


@pytest.fixture
def guarding() -> Iterator[Callable[..., Guard]]:
    made: list[Guard] = []

    def start(
        script: str, *argv: str, undo: list[str] | None = None, stop_s: float = 5.0, system: str = "as it is"
    ) -> Guard:
        made.append(Guard(script, *argv, undo=undo or [], stop_s=stop_s, system=system))
        return made[-1]

    yield start
    for guard in made:
        guard.process.kill()
        guard.process.wait()
        for process in guard.started:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for pipe in (guard.process.stdin, guard.process.stdout, guard.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_end_of_stdin_is_the_end_of_the_server(guarding: Callable[..., Guard], system: str) -> None:
    guard = guarding(SLEEP, system=system)
    server = guard.server
    assert guard.close() == 128 + signal.SIGTERM
    assert not lives(server)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    ("script", "code"),
    [("", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_the_end_of_the_server_is_the_guard_s(
    guarding: Callable[..., Guard], system: str, script: str, code: int
) -> None:
    assert guarding(script, system=system).process.wait(20) == code


def test_a_server_that_does_not_listen_is_killed(guarding: Callable[..., Guard]) -> None:
    guard = guarding(DEAF, stop_s=0.1)
    assert guard.line() == "up"
    assert guard.close() == 128 + signal.SIGKILL


@pytest.mark.parametrize("script", [SLEEP, DEAF])
@pytest.mark.parametrize("how", ["stdin", "server killed"])
@pytest.mark.parametrize("system", ["as it is", "as on a Mac"])
def test_what_the_server_left_behind_ends_too(
    guarding: Callable[..., Guard], script: str, how: str, system: str
) -> None:
    guard = guarding(PARENT, script, stop_s=0.2, system=system)
    child = psutil.Process(int(guard.line()))
    guard.started.append(child)
    if script is DEAF:
        assert guard.line() == "up"
    if how == "stdin":
        guard.close()
    else:
        guard.server.kill()
        assert guard.process.wait(20) == 137
    assert not lives(child)


def test_a_killed_guard_takes_its_server_along(guarding: Callable[..., Guard]) -> None:
    guard = guarding(SLEEP)
    server = guard.server
    guard.process.kill()
    until(lambda: not lives(server))


def test_ctrl_c_is_not_for_the_guard_and_its_server_hears_it(guarding: Callable[..., Guard]) -> None:
    guard = guarding("import sys; print('up', file=sys.stderr); " + SLEEP)
    assert guard.line() == "up"
    guard.process.send_signal(signal.SIGINT)
    assert lives(guard.server)
    guard.server.send_signal(signal.SIGINT)
    assert guard.process.wait(20) == 128 + signal.SIGINT


@pytest.mark.parametrize("how", ["stdin", "itself", "SIGTERM"])
def test_what_is_to_be_removed_is_removed(guarding: Callable[..., Guard], how: str, tmp_path: Path) -> None:
    mark = tmp_path / "removed"
    undo = [sys.executable, "-c", f"open({str(mark)!r}, 'w')"]
    guard = guarding("" if how == "itself" else SLEEP, undo=undo)
    if how == "SIGTERM":
        guard.process.terminate()
    elif how == "stdin":
        guard.close()
    guard.process.wait(20)
    assert mark.exists()


def test_what_cannot_be_removed_is_no_trouble(guarding: Callable[..., Guard]) -> None:
    assert guarding("", undo=["/no/such/command"]).process.wait(20) == 0


def test_a_command_that_is_not_there() -> None:
    plan = json.dumps({"argv": ["/no/such/ollama", "serve"], "undo": [], "stop_s": 1})
    made = subprocess.run([sys.executable, GUARD, plan], capture_output=True, text=True, timeout=20)
    assert made.returncode == 1
    why = "/no/such/ollama cannot be started: No such file or directory"
    assert json.loads(made.stdout) == {"error": why}
    assert made.stderr == ""


# -- as a service --------------------------------------------------------------------------------------------


def sleeping() -> Launch:
    return Launch((sys.executable, "-c", SLEEP))


async def test_a_port_that_is_in_use_is_told_before_anything_starts() -> None:
    port = free_ports()[0]
    service = Guarded(sleeping(), port)
    told = f"port {port} is in use"
    with ports.bound("127.0.0.1", port, "--back-port"), pytest.raises(OurFault, match=told):
        await service.start()
    await service.stop()


async def test_stopping_is_safe_before_and_after() -> None:
    service = Guarded(sleeping(), free_ports()[0])
    await service.stop()
    await service.start()
    assert service.runners() == []
    assert service.kill_runners() is False
    await service.stop()
    await service.stop()
    assert service.runners() is None


async def test_its_end_is_told_in_words() -> None:
    script = "import sys; print('[GIN] x', file=sys.stderr); print('Error: no', file=sys.stderr); sys.exit(3)"
    service = Guarded(Launch((sys.executable, "-c", script)), free_ports()[0])
    await service.start()
    assert await service.ended() == "it ended with code 3: Error: no"
    await service.stop()


async def test_a_container_without_docker() -> None:
    launch = Launch(("/no/such/docker", "run"), undo=("/no/such/docker", "rm", "x"), image="x")
    service = Contained(launch, free_ports()[0], asyncio.Lock())
    with pytest.raises(OurFault, match="/no/such/docker cannot be started: No such file"):
        await service.start()
    await service.stop()


async def test_a_docker_that_hangs_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.limits.LOOK_S", 0.05)
    hanging = tmp_path / "docker"
    hanging.write_text(f"#!{sys.executable}\n{SLEEP}\n")
    hanging.chmod(0o755)
    launch = Launch((str(hanging), "run"), undo=(str(hanging), "rm", "x"), image="x")
    service = Contained(launch, free_ports()[0], asyncio.Lock())

    def children() -> set[psutil.Process]:
        return set(psutil.Process().children(recursive=True))

    before = children()  # a farm that other tests share, for one
    starting = asyncio.create_task(service.start())

    def guards() -> bool:
        for process in children() - before:
            with contextlib.suppress(psutil.Error):  # it may end while it is looked at
                if process.cmdline()[:3] == [sys.executable, "-P", GUARD]:
                    return True
        return False

    async with asyncio.timeout(20):
        while not guards():
            await asyncio.sleep(0.02)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await service.stop()
    assert until(lambda: not [one for one in children() - before if lives(one)])


def test_what_nobody_guards_is_asked_and_then_killed() -> None:
    pipe = subprocess.PIPE
    made = [subprocess.Popen([sys.executable, "-c", script], stderr=pipe) for script in (SLEEP, DEAF)]
    assert made[1].stderr is not None
    assert made[1].stderr.readline() == b"up\n"
    looking.end([psutil.Process(process.pid) for process in made], 0.1)
    assert [process.wait(20) for process in made] == [-signal.SIGTERM, -signal.SIGKILL]
    for process in made:
        process.communicate()


def test_no_process_is_no_trouble() -> None:
    assert looking.runners_of(2**22) is None
    assert looking.is_serve(2**22) is False
    assert looking.holder_of(free_ports()[0]) is None
    assert machine.ask("/no/such/command") == (127, "", "/no/such/command: No such file or directory")
