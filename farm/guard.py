"""`guard.py PLAN`: one server process whose life ends with the farm's, however the farm ends.

The farm holds the other end of stdin. When that closes, even by kill -9 of the farm, the server is asked to
end, then killed, and so are processes that it left behind; `undo` is run, which removes a container.
When the server ends by itself, its left-behind runners end too. Standard library and psutil only; run as a
script by `farm.guarded`, imports nothing of the farm.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from types import FrameType

import psutil

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_TICK_S = 0.2
"""How often the server is looked at where the system cannot tell of its end."""


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _end_with_guard() -> None:
    """In the child, before it becomes the server."""
    _prctl(_SET_PDEATHSIG, signal.SIGTERM)


def _leave(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    raise SystemExit(0)


def _say(**fact: object) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(fact) + "\n")
        sys.stdout.flush()


def _watch(server: subprocess.Popen[bytes]) -> None:
    """Return when the server has ended or stdin is closed."""
    watched = [sys.stdin.fileno()]
    ending = os.pidfd_open(server.pid) if hasattr(os, "pidfd_open") else None
    if ending is not None:
        watched.append(ending)
    while server.poll() is None:
        ready, _, _ = select.select(watched, [], [], None if ending is not None else _TICK_S)
        if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 4096):
            return


def _end(processes: list[psutil.Process], stop_s: float) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(processes, stop_s)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, stop_s)


def _clean(server: subprocess.Popen[bytes], undo: list[str], stop_s: float) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if server.poll() is None:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(stop_s)
        if server.poll() is None:
            server.kill()
            server.wait()
    # What it left behind is ours now: orphans go to the nearest ancestor that asked for them.
    _end(psutil.Process().children(recursive=True), stop_s)
    if undo:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(undo, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)  # noqa: S603


def main() -> int:
    """Run the server of the plan; its exit code."""
    plan = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the farm, which ends us in order
    _prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        server = subprocess.Popen(  # noqa: S603 - the command line that the owner's farm made
            plan["argv"],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
            preexec_fn=_end_with_guard if sys.platform == "linux" else None,  # noqa: PLW1509 - one thread
        )
    except OSError as error:
        _say(error=f"{plan['argv'][0]} cannot be started: {error.strerror}")
        return 1
    try:
        _say(pid=server.pid)
        _watch(server)
    finally:
        _clean(server, plan["undo"], plan["stop_s"])
    return server.returncode


if __name__ == "__main__":
    sys.exit(main())
