"""HTTP from a bare TLS socket: any bytes can be sent, and each byte and each end is seen."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PATIENCE_S = 20.0
"""A deadline that only a hang can miss."""
BODILESS = frozenset({204, 304})


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


def context(trusted: Path | None = None) -> ssl.SSLContext:
    """Trusts one certificate, or looks at none."""
    made = ssl.create_default_context(cafile=trusted)
    if trusted is None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None, name: str | None = None) -> Self:
        async with asyncio.timeout(PATIENCE_S):
            extra = {"server_hostname": name or "127.0.0.1", "ssl_shutdown_timeout": 0.2} if tls else {}
            return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, **extra))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def ask(self, request: bytes) -> Answer:
        self.writer.write(request)
        return await self.answer(headless=request.startswith(b"HEAD "))

    async def answer(self, *, headless: bool = False) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head[:-4].split("\r\n")
            version, status, reason = first.split(" ", 2)
            assert version == "HTTP/1.1"
            pairs = [line.split(": ", 1) for line in lines]
            headers = {name.lower(): value for name, value in pairs}
            assert len(headers) == len(pairs), "a header twice"
            bare = headless or int(status) in BODILESS
            body = b"" if bare else await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(status), reason, headers, body)

    async def rest(self) -> bytes:
        """Everything until the other side closes."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read()
            except OSError:
                return b""


async def ask(port: int, request: bytes) -> tuple[Answer, bytes]:
    """The first answer to some bytes, and what came behind it until the server closed.

    The client says nothing more, so a server that waits for more is waited for.
    """
    async with await Line.open(port, context()) as line:
        answer = await line.ask(request)
        if answer.headers.get("connection") != "close":
            return answer, b""
        return answer, await line.rest()


def get(path: str, *headers: str, method: str = "GET", host: str = "127.0.0.1") -> bytes:
    """A request in its plain form."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode("latin-1")
