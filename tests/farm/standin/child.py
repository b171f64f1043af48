"""Runners as real processes of an `ollama serve` that is one itself: killed, stopped and left behind as such.

Each step of work asks the child for its health, so that a stopped child is silence and a dead one an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

from standin.runner import Process
from standin.waiting import Gone, unless

PROGRAM = Path(__file__).with_name("bin") / "ollama"
_RETRY_S = 0.01
WORK_S = 0.05
"""Less than this is not worth a turn of the child."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Child(Process):
    """A child process `ollama runner --model <blob> --port N`, of serve's own process group."""

    def __init__(self, model: str, blob: str) -> None:
        super().__init__(model)
        self.port = free_port()
        self.blob = blob
        self._child: asyncio.subprocess.Process | None = None
        self._end: asyncio.Task[None] | None = None
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    @property
    def argv(self) -> list[str]:
        return [sys.executable, str(PROGRAM), "runner", "--model", self.blob, "--port", str(self.port)]

    async def start(self) -> None:
        self._child = await asyncio.create_subprocess_exec(*self.argv, stdin=asyncio.subprocess.DEVNULL)
        self.pid = self._child.pid
        self._end = asyncio.ensure_future(self._ended(self._child))

    async def _ended(self, child: asyncio.subprocess.Process) -> None:
        await child.wait()
        self.gone.set()

    async def step(self, seconds: float) -> None:
        """Work that takes a moment is done by the child, so that its processor time shows it."""
        if seconds < WORK_S:
            await super().step(seconds)
        try:
            await unless(self.gone, self._ask(f"busy?s={seconds}" if seconds >= WORK_S else "health"))
        except (OSError, EOFError):
            await self.gone.wait()  # the kernel ended its sockets: it is dying
            raise Gone from None

    async def _ask(self, what: str) -> None:
        reader, writer = self._idle.pop() if self._idle else await self._connect()
        try:
            writer.write(f"GET /{what} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.rpartition(b": ")[2]))
        except BaseException:
            writer.close()  # an answer may still come, and must not be taken for the next one's
            raise
        self._idle.append((reader, writer))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                await asyncio.sleep(_RETRY_S)  # it is starting

    def _signal(self, number: signal.Signals) -> None:
        if not self.gone.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    async def end(self) -> None:
        self.kill()
        await self.gone.wait()
        for _, writer in self._idle:
            writer.close()
