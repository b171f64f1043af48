"""Looks at processes: who listens where, which of them are Ollamas, and which a farm left behind.

Needs psutil, and tells less of other users' processes unless it is root. Called by `answers`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import PurePath

import psutil

from farm import launch, looking
from farm.doctor.servers import Listener, Serve
from farm.doctor.variables import chosen


def listeners() -> tuple[Listener, ...] | None:
    """Who listens on a TCP port; None where the system does not say."""
    try:
        found = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    return tuple(
        _listener(str(one.laddr[0]), int(one.laddr[1]), one.pid)
        for one in found
        if one.status == psutil.CONN_LISTEN and len(one.laddr) == 2
    )


def _listener(address: str, port: int, pid: int | None) -> Listener:
    name = ""
    with contextlib.suppress(psutil.Error):
        name = psutil.Process(pid).name() if pid is not None else ""
    return Listener(address, port, pid if name else None, name, looking.unit_of(pid) if pid and name else "")


def serves() -> tuple[Serve, ...]:
    """Processes `ollama serve`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if _is_serve(process.cmdline()):
                found.append(Serve(process.pid, _settings(process)))
    return tuple(found)


def _is_serve(argv: list[str]) -> bool:
    # A script's interpreter stands before it.
    names = [PurePath(word.replace("\\", "/")).name.lower().removesuffix(".exe") for word in argv[:2]]
    return "serve" in argv[1:3] and "ollama" in names


def _settings(process: psutil.Process) -> dict[str, str] | None:
    try:
        return chosen(process.environ())
    except (psutil.Error, OSError):
        return None


def orphans() -> tuple[tuple[str, int], ...]:
    """What farms left behind: (name, pid)."""
    found = []
    for process in looking.orphans(launch.MARK):
        with contextlib.suppress(psutil.Error):
            found.append((process.name(), process.pid))
    return tuple(found)


def guarded(names: Iterable[str]) -> tuple[str, ...]:
    """Those containers among them that a running farm looks after."""
    return tuple(name for name in names if looking.is_guarded(name))
