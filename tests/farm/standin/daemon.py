"""The stand-in docker daemon: it starts what clients ask for; no client is then an ancestor of a container.

Where none runs for a state folder, the client starts the program through a process that ends at once: it is
then no child of the client either, but a child of the nearest ancestor that adopts orphans.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

LIFE_S = 120
_NOTHING = subprocess.DEVNULL
_DETACH = (
    "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True, stdin=subprocess.DEVNULL,"
    " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
)


def _address(folder: Path) -> Path:
    return folder / "daemon"


def launch(folder: Path, argv: list[str], env: Mapping[str, str]) -> None:
    """Have a program started, in a session of its own, as nobody's child but the daemon's."""
    try:
        port = int(_address(folder).read_text(encoding="utf-8"))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(json.dumps({"argv": argv, "env": dict(env)}).encode() + b"\n")
            connection.recv(1)
    except (FileNotFoundError, ConnectionRefusedError):
        detach = [sys.executable, "-S", "-E", "-c", _DETACH, *argv]
        subprocess.run(detach, check=True, env=env, stdin=_NOTHING)


def _obey(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as lines:
        told = json.loads(lines.readline())
        child = subprocess.Popen(
            told["argv"], env=told["env"], start_new_session=True,
            stdin=_NOTHING, stdout=_NOTHING, stderr=_NOTHING,
        )  # fmt: skip
        connection.sendall(b"\n")
    child.wait()


def serve(folder: Path) -> None:
    """Until a signal or the end of its time."""
    signal.alarm(int(os.environ.get("STANDIN_LIFE_S", LIFE_S)))
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        new = folder / "daemon.new"
        new.write_text(str(listener.getsockname()[1]), encoding="utf-8")
        new.replace(_address(folder))
        while True:
            threading.Thread(target=_obey, args=listener.accept()[:1], daemon=True).start()
