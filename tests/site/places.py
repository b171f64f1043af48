"""A made-up site to serve, and a server for it in this process or in one of its own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self, cast

import bounds
import place
import shelf
from answers import Reply, Site
from asked import Asked
from doorman import Doorman
from keeping import Kept
from vendored import Vendored

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"NOT FOR YOU"
PAGE = b"<!doctype html><title>page</title>" + b"<p>words</p>" * 40
SCRIPT = b"export const one = 1;\n" * 40
LIBRARY = b"/* a library */ " * 20_000
STYLES = b"p{}"
DEADLINE_S = 20.0
"""Only a hang can miss it."""


def integrity(data: bytes) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode()


VENDORED = (
    Vendored("lib", "1.2.3", "dist/lib.min.js", integrity(LIBRARY)),
    Vendored("@scope/styles", "2.0.0", "all.css", integrity(STYLES)),
)
LIBRARY_URL = "/vendor/lib@1.2.3/lib.min.js"
OWN_URLS = ("/", "/app.js", "/style.css", "/icon.svg")


def lay_out(around: Path) -> Path:
    folder = around / "site"
    modules = folder / "node_modules"
    (modules / "lib" / "dist").mkdir(parents=True)
    (modules / "@scope" / "styles").mkdir(parents=True)
    files = {
        "index.html": PAGE, "app.js": SCRIPT, "style.css": STYLES, "icon.svg": b"<svg/>",
        "node_modules/lib/dist/lib.min.js": LIBRARY, "node_modules/@scope/styles/all.css": STYLES,
    }  # fmt: skip
    secrets = (
        "server.py", "package.json", ".env", ".hidden.js", "node_modules/lib/package.json",
        "node_modules/lib/dist/other.js", "node_modules/lib/index.js", "../secret.txt", "../secret.js",
    )  # fmt: skip
    for name, data in {**files, **dict.fromkeys(secrets, SECRET)}.items():
        (folder / name).write_bytes(data)
    return folder


class Door:
    """A listening socket that remembers whom it let in."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.fileno = listener.fileno
        self.taken: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, object]:
        taken, whence = self._listener.accept()
        self.taken.append(taken)
        return taken, whence


class Serving:
    """A server on a free loopback port, in this process."""

    def __init__(
        self,
        folder: Path,
        kept: Kept,
        *,
        patience: bounds.Patience | None = None,
        names: frozenset[str] = frozenset(),
        strict_transport: bool = False,
    ) -> None:
        self._place = place.take("127.0.0.1", 0)
        self._door = Door(self._place.listener)
        self.port = int(self._place.listener.getsockname()[1])
        site = Site(shelf.gather(folder, VENDORED), self._place.names | names, strict_transport)
        self.doorman = Doorman(
            cast("socket.socket", self._door), kept.context, self._count, place.url, patience
        )
        self._site = site
        self.answers = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.doorman.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._place.listener.close()
        await asyncio.sleep(0.02)  # transports close their sockets in the turn after
        assert not [one for one in self._door.taken if one.fileno() >= 0], "a connection outlived the server"

    def _count(self, asked: Asked) -> Reply:
        self.answers += 1
        return self._site.answer(asked)

    async def settles(self, *, open_: int) -> None:
        """Wait until so many connections are open."""
        async with asyncio.timeout(DEADLINE_S):
            while self.doorman.statistics()["open"] != open_:
                await asyncio.sleep(0.01)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Script:
    """`python3 site/server.py` as a process of its own, in a copy of the folder that serves a made-up site.

    Attributes:
        lines: what it printed until it was ready.
    """

    def __init__(self, around: Path) -> None:
        self.folder = lay_out(around)
        self.certificates = around / "certificates"
        (self.folder / "server.py").unlink()
        for path in (ROOT / "site").glob("*.py"):
            shutil.copy(path, self.folder)
        table = (ROOT / "site" / "vendored.py").read_text().partition("VENDORED = (")[0]
        (self.folder / "vendored.py").write_text(f"{table}VENDORED = {VENDORED!r}\n")
        self.lines: list[str] = []

    def command(self, *flags: str) -> list[str]:
        return [sys.executable, str(self.folder / "server.py"), "--cert-dir", str(self.certificates), *flags]

    def refuses(self, *flags: str, **how: object) -> tuple[int, str]:
        """Exit code and words of a start that must fail."""
        done = subprocess.run(
            self.command("--port", "0", *flags), capture_output=True, text=True, timeout=DEADLINE_S, **how
        )
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    def start(self, *flags: str, umask: int = -1, cwd: Path = ROOT) -> Self:
        self.process = subprocess.Popen(
            self.command("--port", "0", *flags),
            cwd=cwd,
            umask=umask,
            env={"HOME": str(self.folder), "PYTHONUTF8": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = [self.process.stdout.readline()]
        assert self.lines[0].startswith("→ site ready: https://"), self.process.stderr.read()
        self.url = self.lines[0].split()[-1]
        self.port = int(self.url.rstrip("/").rpartition(":")[2])
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        self.process.stdout.close()
        self.process.stderr.close()

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal; exit code, and what was still printed."""
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, errors
