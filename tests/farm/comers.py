"""Clients that come to a front over bare sockets, and the front that they come to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fronts import standing
from talking import OK, Backend, Talk, connected, talking, until_closed

from farm.rooms import Rooms

WELL = OK + b"Content-Length: 2\r\n\r\n{}"
PATIENCE_S = 10


@contextlib.asynccontextmanager
async def front(talk: Talk | bytes = WELL) -> AsyncIterator[tuple[Rooms, Backend]]:
    async with talking(talk) as backend, standing(backend.url, alive=False) as rooms:
        rooms.backends[0].place.loaded = frozenset({"a:latest"})
        yield rooms, backend


def get(target: str = "/api/tags", *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def post(body: bytes, target: str = "/api/show", *headers: str) -> bytes:
    return get(target, f"Content-Length: {len(body)}", *headers, method="POST") + body


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await connected(url)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield reader, writer
    finally:
        writer.close()


async def said_to(url: str, *sent: bytes) -> bytes:
    """All that is answered to these bytes until the front ends the connection."""
    async with client(url) as (reader, writer):
        for piece in sent:
            with contextlib.suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()
        return await until_closed(reader)


def statuses(said: bytes) -> list[int]:
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
