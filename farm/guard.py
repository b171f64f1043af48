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
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_KILLED = 128 + 9
_TICK_S = 0.1
"""How often the server is looked at where the system cannot tell of its end."""
_UNDO_S = 30.0
"""For the command that removes what is left."""


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _end_with_guard() -> None:
    """In the child, before it becomes the server."""
    _prctl(_SET_PDEATHSIG, signal.SIGTERM)


def _leave(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    raise SystemExit(0)


def _stay(signum: int, frame: FrameType | None) -> None:
    """Ctrl-C reaches the farm, which ends us in order. No SIG_IGN: the server would inherit that."""


def _say(**fact: object) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(fact) + "\n")
        sys.stdout.flush()


def _watch(server: subprocess.Popen[bytes]) -> None:
    """Return when the server has ended or stdin is closed."""
    try:
        ending = os.pidfd_open(server.pid)
    except (AttributeError, OSError):  # another system, or an old one
        return _watch_by_the_clock(server)
    watched = [sys.stdin.fileno(), ending]
    while server.poll() is None:
        ready, _, _ = select.select(watched, [], [])
        if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 4096):
            return None
    return None


def _watch_by_the_clock(server: subprocess.Popen[bytes]) -> None:
    closed = threading.Event()

    def read() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        closed.set()

    threading.Thread(target=read, daemon=True).start()
    while server.poll() is None and not closed.wait(_TICK_S):
        pass


def _left_behind(server: int) -> list[psutil.Process]:
    """What the server started and did not end; children of ours now, where the system has subreapers."""
    import psutil  # not before the server is on its way

    found = psutil.Process().children(recursive=True)
    if sys.platform not in {"linux", "win32"}:
        for pid in psutil.pids():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getpgid(pid) == server:
                    found.append(psutil.Process(pid))
    return found


def _end(processes: list[psutil.Process], stop_s: float) -> None:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(processes, stop_s)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, stop_s)


def _clean(server: subprocess.Popen[bytes], undo: list[str], stop_s: float) -> None:
    signal.signal(signal.SIGTERM, _stay)
    if server.poll() is None:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(stop_s)
        if server.poll() is None:
            server.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a broken disk or driver can hold it
                server.wait(stop_s)
    _end(_left_behind(server.pid), stop_s)
    if undo:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(  # noqa: S603
                undo, stdin=subprocess.DEVNULL, capture_output=True, timeout=_UNDO_S, check=False
            )


def main() -> int:
    """Run the server of the plan; its exit code, 128 and more for the signal that killed it."""
    plan = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _stay)
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
        import psutil  # noqa: F401 - there when it is needed

        _watch(server)
    finally:
        _clean(server, plan["undo"], plan["stop_s"])
    code = server.poll()
    if code is None:
        return _KILLED
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
