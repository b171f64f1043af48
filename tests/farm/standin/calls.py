"""How tests talk to a stand-in, or to what stands before it: over bare sockets that are closed at the end."""

from __future__ import annotations

import asyncio
import json
import select
from typing import Any

from rawhttp import Answer, Wire, ask


def post(path: str = "/api/generate", **body: Any) -> bytes:
    told = json.dumps({"model": "a", **body}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(told)}\r\n\r\n"
    return head.encode() + told


class Callers:
    """Connections that are closed at the end."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []

    def __call__(self, url: str, request: bytes) -> Wire:
        wire = Wire(url, 10)
        self.wires.append(wire)
        wire.send(request)
        return wire

    def leave(self, wire: Wire) -> None:
        wire.__exit__(None, None, None)

    def close(self) -> None:
        for wire in self.wires:
            self.leave(wire)


async def answered(wire: Wire) -> Answer:
    return await asyncio.to_thread(wire.answer, "POST")


async def told(url: str, request: bytes) -> Answer:
    return await asyncio.to_thread(ask, url, request)


def last(answer: Answer) -> dict[str, Any]:
    return dict(json.loads(answer.body.splitlines()[-1]))


async def chunks(wire: Wire, count: int) -> list[bytes]:
    """The head and so many chunks."""

    def read() -> list[bytes]:
        wire.head()
        stream = wire.chunks()
        return [next(stream) for _ in range(count)]

    return await asyncio.to_thread(read)


async def silent(wire: Wire, for_s: float = 0.04) -> bool:
    """Whether nothing comes for a moment: no byte, no end."""
    readable, _, _ = await asyncio.to_thread(select.select, [wire._socket], [], [], for_s)
    return not readable and not wire._kept
