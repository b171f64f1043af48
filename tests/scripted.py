"""An upstream that does what a test wrote down for it, byte by byte, and keeps what it was asked.

A script is chosen by `?case=` in the request's path; without one it answers like a small Ollama, or as the
script named "" says.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import urllib.parse
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def case(self) -> str:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.target).query)
        return query.get("case", [""])[0]


class Visit:
    """One connection, in the hands of a script."""

    def __init__(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked = asked
        self.go_on = asyncio.Event()
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        self._writer.write(b"".join(parts))
        await self._writer.drain()

    async def head(self, kind: str = NDJSON, status: str = "200 OK", **more: str) -> None:
        """A head whose body follows in chunks."""
        fields = {"Content-Type": kind, "Transfer-Encoding": "chunked"} | more
        lines = [
            f"HTTP/1.1 {status}",
            *(f"{name.replace('_', '-')}: {text}" for name, text in fields.items()),
        ]
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def whole(self, kind: str, *pieces: bytes, status: str = "200 OK", **more: str) -> None:
        """An answer in chunks from head to end."""
        await self.head(kind, status, **more)
        await self.rest(*pieces)

    async def rest(self, *pieces: bytes) -> None:
        """The last chunks of an answer, and its end."""
        for piece in pieces:
            await self.chunk(piece)
        await self.send(b"0\r\n\r\n")

    def reset(self) -> None:
        """Close so that the other side reads a connection reset."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Until the other side has closed."""
        while await self._reader.read(65_536):
            pass


Script = Callable[[Visit], Coroutine[Any, Any, None]]


class Scripted:
    """The server.

    Attributes:
        scripts: by case.
        visits: all that came, in order.
        open: connections that stand now.
    """

    def __init__(self, scripts: dict[str, Script] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.scripts = scripts or {}
        self.visits: list[Visit] = []
        self.open = 0
        self._tls = tls

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.origin = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.url = f"http{'s' if self._tls else ''}://{self.origin}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for visit in self.visits:
            visit.go_on.set()
            visit._writer.transport.abort()

    @property
    def last(self) -> Asked:
        """What was asked last."""
        return self.visits[-1].asked

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            visit = Visit(await _asked(reader), reader, writer)
            self.visits.append(visit)
            await self._play(visit)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _play(self, visit: Visit) -> None:
        """Run the script until it ends or the other side leaves."""
        script = self.scripts.get("", plain) if not visit.asked.case else self.scripts[visit.asked.case]
        playing = asyncio.create_task(script(visit))
        leaving = asyncio.create_task(visit.gone())
        await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (playing, leaving):
            task.cancel()
        for outcome in await asyncio.gather(playing, leaving, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                raise outcome


async def _asked(reader: asyncio.StreamReader) -> Asked:
    head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = head.split(" ")
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    return Asked(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))


STREAMED = {"/api/generate", "/api/chat"}


async def plain(visit: Visit) -> None:
    """Three words and the last line where Ollama streams; elsewhere a JSON object."""
    path = visit.asked.target.partition("?")[0]
    asked = visit.asked.json if visit.asked.body else {}
    if path in STREAMED and asked.get("stream", True):
        words = [b'{"response":"w%d","done":false}\n' % number for number in range(3)]
        await visit.whole(NDJSON, *words, b'{"response":"","done":true}\n')
    else:
        body = json.dumps({"path": path, "method": visit.asked.method}).encode()
        await visit.whole("application/json; charset=utf-8", body)
