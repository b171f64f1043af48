"""What the tests of Ollama's holes share.

Requests in each route's form, a client that sees chunks and ends and may leave at any moment, a farm before
stand-ins with small clocks, and a service that runs a stand-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from fronts import plan, standing
from standin.ollama import Model, Standin

from farm import limits
from farm.rooms import Rooms
from farm.service import Adopted, Service
from farm.watchdog import Sample

PATIENCE_S = 10.0
"""A deadline that only a hang can miss."""
TEXTS = (
    "/api/generate", "/api/chat", "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages",
)  # fmt: skip
VECTORS = ("/api/embed", "/api/embeddings", "/v1/embeddings")
SMALL = {
    "HEALTH_EVERY_S": 0.02, "HEALTH_DOWN_EVERY_S": 0.01, "RESTART_FIRST_S": 0.02, "RESTART_MAX_S": 0.05,
    "TRY_AGAIN_S": 0.02, "REST_S": 0.03, "REST_EVERY_S": 0.01, "WATCH_EVERY_S": 0.01,
}  # fmt: skip
"""The farm's clocks, made small: what they wait for happens in milliseconds here."""


def body(path: str, words: str, **more: Any) -> dict[str, Any]:
    """A request of that route whose prompt is `words`."""
    said = [{"role": "user", "content": words}]
    forms: dict[str, dict[str, Any]] = {
        "/api/generate": {"prompt": words}, "/api/chat": {"messages": said},
        "/v1/chat/completions": {"messages": said}, "/v1/completions": {"prompt": words},
        "/v1/responses": {"input": words}, "/v1/messages": {"messages": said, "max_tokens": 999},
        "/api/embed": {"input": words}, "/api/embeddings": {"prompt": words},
        "/v1/embeddings": {"input": words},
    }  # fmt: skip
    return {"model": "a", **forms[path], **more}


def post(path: str, value: Any, *headers: str) -> bytes:
    """The bytes of a POST."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def ask(path: str, words: str, **more: Any) -> bytes:
    """The bytes of a request of that route; a stream unless `stream` says otherwise."""
    streams = {"stream": True} if path in TEXTS else {}
    return post(path, body(path, words, **streams | more))


@dataclass
class Told:
    """An answer. `end`: how it ended: "length", "last chunk", or "cut"."""

    status: int
    headers: dict[str, str]
    chunks: list[bytes] = field(default_factory=list)
    end: str = "cut"

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[bytes]:
        return [line for line in self.body.split(b"\n") if line]

    @property
    def error(self) -> str:
        """The words of an error in whatever shape."""
        error = self.json["error"]
        return str(error["message"] if isinstance(error, dict) else error)


class Call:
    """One request on a connection of its own; those still open when a farm ends are closed with it."""

    every: ClassVar[set[Call]] = set()
    patience_s: ClassVar[float] = PATIENCE_S

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.told: Told | None = None
        self.every.add(self)

    @classmethod
    async def to(cls, url: str, request: bytes) -> Call:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(request)
        return cls(reader, writer)

    async def head(self) -> Told:
        """Status and headers, which come with the first token."""
        if self.told is None:
            async with asyncio.timeout(self.patience_s):
                text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = text.split("\r\n")
            pairs = (line.partition(":") for line in lines if line)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            self.told = Told(int(first.split(" ")[1]), headers)
        return self.told

    async def chunk(self) -> bytes | None:
        """The next chunk; None at the end, whichever."""
        told = await self.head()
        try:
            async with asyncio.timeout(self.patience_s):
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                data = (await self.reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        if not size:
            told.end = "last chunk"
            return None
        told.chunks.append(data)
        return data

    async def whole(self) -> Told:
        """The answer to its end; the connection is closed."""
        told = await self.head()
        if "content-length" in told.headers:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                told.chunks = [await self.reader.readexactly(int(told.headers["content-length"]))]
                told.end = "length"
        else:
            while await self.chunk() is not None:
                pass
        await self.close()
        return told

    def leave(self) -> None:
        """Go away at once, as a killed program does."""
        self.every.discard(self)
        self.writer.transport.abort()

    async def close(self) -> None:
        self.every.discard(self)
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def asked(url: str, request: bytes) -> Told:
    """Ask, and have the whole answer."""
    call = await Call.to(url, request)
    try:
        return await call.whole()
    finally:
        call.leave()


async def book(rooms: Rooms) -> list[dict[str, Any]]:
    """What /_requests shows."""
    return list((await asked(rooms.url, get("/_requests"))).json["requests"])


async def states(rooms: Rooms) -> list[tuple[str, int]]:
    """State and position of each request, in the order of arrival."""
    return [(one["state"], one["position"]) for one in await book(rooms)]


async def until(true: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait until something is so; the deadline ends a hang."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.002)


async def idle(rooms: Rooms, *ollamas: Standin) -> None:
    """Wait until nobody runs or waits, here and behind."""
    desk = rooms.desk
    await until(lambda: not (desk.tickets or desk.pool.used or desk.pool.waiting or desk.ghosts))
    for ollama in ollamas:
        await ollama.until(lambda o: not (o.running or o.waiting or o.queued or o.loading))


class Kept:
    """A stand-in as a backend of the farm's own: started, watched, killed and started again by it."""

    ours = True
    prefill_goes_on = True

    def __init__(self, ollama: Standin) -> None:
        self.ollama = ollama
        self.starts = self.kills = 0
        self.refuses = ""
        self._dead = asyncio.Event()
        self._cpu: dict[int, float] = {}

    async def start(self) -> None:
        self.starts += 1
        self._dead.clear()
        if self.starts > 1:
            await self.ollama.open()

    async def ended(self) -> str:
        await self._dead.wait()
        return "killed"

    async def stop(self) -> None:
        await self.ollama.close()

    async def die(self) -> None:
        """As kill -9 of its server."""
        await self.ollama.cut()
        self._dead.set()

    def runners(self) -> Sequence[Sample]:
        """Processor time goes by for a runner that loads or has a request, unless it is stopped."""
        scheduler = self.ollama.scheduler
        busy = dict.fromkeys(scheduler.loading, True)
        found = dict(scheduler.loading)
        for key, one in scheduler.loaded.items():
            found[key], busy[key] = one.runner.process, bool(one.runner.running)
        for key, process in found.items():
            works = busy[key] and process.working.is_set()
            self._cpu[process.pid] = self._cpu.get(process.pid, 0.0) + works
        return [Sample(process.pid, self._cpu[process.pid], 0, disk=False) for process in found.values()]

    def kill_runners(self) -> bool:
        self.kills += 1
        scheduler = self.ollama.scheduler
        found = [*scheduler.loading.values(), *(one.runner.process for one in scheduler.loaded.values())]
        for process in found:
            process.kill()
        return bool(found)


@contextlib.asynccontextmanager
async def farm_of(
    *ollamas: Standin, ours: bool = False, services: Sequence[Service] = (), **asked_for: Any
) -> AsyncIterator[Rooms]:
    """A farm before stand-ins, with model a in memory; `asked_for` are fields of its plan."""
    given = services or [Kept(ollama) if ours else Adopted() for ollama in ollamas]
    urls = [ollama.url for ollama in ollamas]
    async with standing(*urls, asked=plan(**asked_for), services=given) as rooms:
        try:
            yield rooms
        finally:
            for call in list(Call.every):
                call.leave()


def standin(parallel: int = 4, **models: Model) -> Standin:
    """A stand-in with model a and those named."""
    return Standin({"a": Model(), **models}, parallel=parallel)


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the farm's clocks small, for tests that wait for one of them."""
    for name, value in SMALL.items():
        monkeypatch.setattr(limits, name, value)
