"""Processes as the farm looks at them: runners that work or rest, and who holds a port.

Called by the services and by `house`. The only place that knows psutil's and Linux' ways.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from farm.watchdog import Sample


def runners_of(pid: int) -> list[psutil.Process] | None:
    """The runner processes below a server; None when it cannot be seen."""
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return None
    return [process for process in below if "runner" in _argv(process)]


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
        ours: the back port of the farm that started it, or None.
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


def orphans(variable: str, value: str) -> list[psutil.Process]:
    """Processes of this user that inherited that variable and whose guard is gone."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(variable) == value and not _is_guarded(process):
                found.append(process)
    return found


def end(processes: Sequence[psutil.Process], within_s: float) -> None:
    """Ask processes to end, then kill those that do not."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(processes, within_s)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _is_guarded(process: psutil.Process) -> bool:
    return any(
        argument.endswith("guard.py") for above in [process, *process.parents()] for argument in _argv(above)
    )
