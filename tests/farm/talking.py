"""A backend that does on each connection, byte by byte, what a test wants, and keeps count of connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


@dataclass
class Backend:
    """`heads` are what it was asked, `open` the connections that it has now."""

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    open: int = 0
    seen: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until_left(self) -> None:
        """Until nobody is connected."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: not self.open)


@contextlib.asynccontextmanager
async def talking(talk: Talk | bytes, *, small: bool = False) -> AsyncIterator[Backend]:
    """A backend that reads a head and then does `talk`, or says these bytes and closes.

    small: its receive buffer is as small as the system allows, so that back-pressure comes soon.
    """
    backend = Backend()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend.open += 1
        backend.seen += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                backend.heads.append(await reader.readuntil(b"\r\n\r\n"))
                if isinstance(talk, bytes):
                    writer.write(talk)
                else:
                    await talk(reader, writer)
                await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            async with backend.changed:
                backend.open -= 1
                backend.changed.notify_all()

    listener = socket.create_server(("127.0.0.1", 0))
    if small:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server = await asyncio.start_server(serve, sock=listener, limit=2**20)
    backend.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield backend
    finally:
        server.close()
        await backend.until_left()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a killed process with unread data does."""
    line = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def until_closed(reader: asyncio.StreamReader, _: object = None) -> bytes:
    """Everything that still comes until the other side closes."""
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


@dataclass
class Told:
    """One message: its first line, its headers as they came, its body and its chunks."""

    first: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    chunks: list[bytes] | None = None

    @property
    def status(self) -> int:
        return int(self.first.split()[1])

    def every(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]


def parsed(head: bytes) -> Told:
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = [line.partition(b":") for line in lines]
    return Told(first, [(name, value.removeprefix(b" ")) for name, _, value in pairs])


async def read_body(told: Told, reader: asyncio.StreamReader) -> Told:
    """The same message with its body; not for one that ends with its connection."""
    if told.every(b"transfer-encoding"):
        told.chunks = []
        while size := int((await reader.readline()).partition(b";")[0], 16):
            told.chunks.append((await reader.readexactly(size + 2))[:-2])
        await reader.readuntil(b"\r\n")
        told.body = b"".join(told.chunks)
    elif lengths := told.every(b"content-length"):
        told.body = await reader.readexactly(int(lengths[0]))
    return told


async def read_answer(reader: asyncio.StreamReader, method: str = "GET") -> Told:
    told = parsed(await reader.readuntil(b"\r\n\r\n"))
    bare = method == "HEAD" or told.status in {204, 304}
    return told if bare else await read_body(told, reader)


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port), limit=2**21)
