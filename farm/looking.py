"""Processes as the farm looks at them: runners that work or rest, who holds a port, what nobody guards.

Called by the services, `ports` and `leftovers`. The only place that knows psutil's and Linux' ways.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from farm import limits
from farm.watchdog import Sample


def runners_of(pid: int) -> list[psutil.Process] | None:
    """The runner processes below a server; None when it cannot be seen."""
    try:
        below = _below(pid)
        if below is None:
            below = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return None
    return [process for process in below if "runner" in _argv(process)]


def _below(pid: int) -> list[psutil.Process] | None:
    """Children and theirs as Linux lists them, without a walk over all processes; None where it does not."""
    if not Path(f"/proc/{pid}/task/{pid}/children").exists():
        return None
    found: list[psutil.Process] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):  # a child belongs to the thread that forked it
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            for child in map(int, file.read_text(encoding="ascii").split()):
                found += [psutil.Process(child), *(_below(child) or ())]
    return found


def is_serve(pid: int) -> bool:
    """Whether that process is a server; a number from a machine of containers may be that of another here."""
    try:
        return "serve" in _argv(psutil.Process(pid))
    except psutil.Error:
        return False


def samples(processes: Sequence[psutil.Process]) -> list[Sample]:
    """How much those processes have done so far; those that ended meanwhile are left out."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            times = process.cpu_times()
            busy = process.status() == psutil.STATUS_DISK_SLEEP
            found.append(Sample(process.pid, times.user + times.system, _faults(process.pid), busy))
    return found


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _faults(pid: int) -> int:
    """Pages that a process asked for; 0 where the system does not say."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
        return int(fields[7]) + int(fields[9])
    except (OSError, IndexError, ValueError):
        return 0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who listens on a port.

    Attributes:
        pid: number of the process.
        name: of its program.
    """

    pid: int
    name: str


def holder_of(port: int) -> Holder | None:
    """Who listens on a TCP port of this machine; None when nobody does or the system does not say."""
    try:
        found = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    for connection in found:
        listening = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,)
        if listening and connection.pid is not None:
            with contextlib.suppress(psutil.Error):
                return Holder(connection.pid, psutil.Process(connection.pid).name())
    return None


def unit_of(pid: int) -> str:
    """The service a process belongs to, as `systemctl` takes it, with `--user` if it is a user's; or ""."""
    try:
        group = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return unit_in(group)


def unit_in(group: str) -> str:
    """The same out of the name of its control group."""
    last = group.rpartition("/")[2]
    if not last.endswith(".service") or last.startswith("user@"):
        return ""
    return f"--user {last}" if "/user@" in group else last


def orphans(variable: str, values: Collection[str] | None = None) -> list[psutil.Process]:
    """Ollama's processes that inherited that variable from a farm, and whose guard is gone.

    Args:
        variable: its name.
        values: one of which it has to have; None for any.
    """
    found = []
    for process in _everybody():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(variable)
            if mark is not None and (values is None or mark in values) and _is_left(process):
                found.append(process)
    return found


def _everybody() -> Iterator[psutil.Process]:
    """All processes, each as it is now: psutil's own walk remembers those that had the same number before."""
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error):
            yield psutil.Process(pid)


def is_guarded(word: str) -> bool:
    """Whether a guard lives that has this word in its plan."""
    guards = (argv for argv in map(_argv, _everybody()) if _is_guard(argv))
    return any(word in argument for argv in guards for argument in argv)


def end(processes: Sequence[psutil.Process], within_s: float) -> None:
    """Ask processes to end, then kill those that do not."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in _still(processes, within_s):
        with contextlib.suppress(psutil.Error):
            process.kill()
    _still(processes, within_s)


def _still(processes: Sequence[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Those that live after that time, or none as soon as none does."""
    until = time.monotonic() + within_s
    while (left := [process for process in processes if _lives(process)]) and time.monotonic() < until:
        time.sleep(limits.END_EVERY_S)
    return left


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        # One that has ended and whose parent has not looked is none; psutil would wait for it.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _is_left(process: psutil.Process) -> bool:
    # Only Ollama's own: a shell that somebody started with the variable in its environment is not meant.
    ollama = not {"serve", "runner"}.isdisjoint(_argv(process))
    return ollama and process.pid != os.getpid() and not any(map(_is_guard, map(_argv, process.parents())))


def _is_guard(argv: Sequence[str]) -> bool:
    return any(Path(argument).name == "guard.py" for argument in argv[:4])
