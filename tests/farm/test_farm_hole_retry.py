"""A backend that breaks off or refuses: asked again before the first byte, once, and never after it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from fronts import standing
from holes import (
    TEXTS,
    Call,
    Told,
    ask,
    asked,
    farm_of,
    get,
    quicken,
    standin,
    until,
)  # fmt: skip

from farm.rooms import Rooms
from farm.witness import BROKEN

PS = b'{"models":[{"name":"a:latest"}]}'
Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


def whole(told: Told) -> bool:
    return told.status == 200 and json.loads(told.lines[-1])["done"] is True


# -- byte by byte: how far an answer may have come -------------------------------------------------------


@dataclass
class Scripted:
    """A server that is as healthy as an Ollama, and answers each request for text with `speak`."""

    speak: Speak
    asked: int = 0
    url: str = ""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if "content-length: " in head:
                await reader.readexactly(int(head.partition("content-length: ")[2].split("\r\n")[0]))
            path = head.split(" ")[1]
            if path in TEXTS:
                self.asked += 1
                await self.speak(writer)
            else:
                told = PS if path == "/api/ps" else b'{"version":"0","models":[{"name":"a"}],"embeddings":[]}'
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))
            await writer.drain()
        writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


@contextlib.asynccontextmanager
async def scripted(*speaks: Speak) -> AsyncIterator[tuple[Rooms, list[Scripted]]]:
    made, servers = [Scripted(speak) for speak in speaks], []
    for one in made:
        servers.append(await asyncio.start_server(one.serve, "127.0.0.1", 0))
        one.url = f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"
    try:
        async with standing(*(one.url for one in made)) as rooms:
            yield rooms, made
    finally:
        for server in servers:
            server.close()


def says(*pieces: bytes) -> Speak:
    async def speak(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)

    return speak


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = b'{"response":"x","done":false}\n'
END = b'{"response":"","done":true}\n'
CHUNKS = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(LINE), LINE, len(END), END)
BEFORE = {
    "nothing": [],
    "half a status line": [HEAD[:9]],
    "half a head": [HEAD[:-9]],
    "no HTTP": [b"SSH-2.0-x\r\n\r\n"],
}
AFTER = {
    "the head": [HEAD],
    "a token": [HEAD, b"%x\r\n%s\r\n" % (len(LINE), LINE)],
    "half a chunk": [HEAD, b"%x\r\n%s" % (len(LINE), LINE[:5])],
}


@pytest.mark.parametrize("name", BEFORE)
async def test_before_the_first_byte_it_is_asked_again_once(name: str) -> None:
    async with scripted(says(*BEFORE[name])) as (rooms, (one,)):
        told = await asked(rooms.url, ask("/api/generate", "x"))
        assert (told.status, one.asked) == (502, 2)
        assert "broke off" in told.error
        metrics = (await asked(rooms.url, get("/metrics"))).body
        assert b"farm_retries_total 1.0" in metrics


@pytest.mark.parametrize("name", BEFORE)
async def test_the_other_backend_is_asked_and_the_client_sees_nothing_of_it(name: str) -> None:
    async with scripted(says(*BEFORE[name]), says(HEAD, CHUNKS)) as (rooms, (one, two)):
        told = await asked(rooms.url, ask("/api/generate", "x"))
        assert (told.status, told.end, told.body) == (200, "last chunk", LINE + END)
        assert (one.asked, two.asked) == (1, 1)


@pytest.mark.parametrize("name", AFTER)
async def test_after_the_first_byte_it_is_never_asked_again(name: str) -> None:
    async with scripted(says(*AFTER[name]), says(HEAD, CHUNKS)) as (rooms, (one, two)):
        told = await asked(rooms.url, ask("/api/generate", "x"))
        assert (told.status, told.end) == (200, "cut")
        assert (BROKEN.encode() in told.body) == (name != "half a chunk")
        assert (one.asked, two.asked) == (1, 0)


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_an_answer_is_an_answer(status: int) -> None:
    """Also one that is an error: the request may be its cause."""
    told_by = b'HTTP/1.1 %d X\r\nContent-Length: 13\r\n\r\n{"error":"e"}' % status
    async with scripted(says(told_by), says(HEAD, CHUNKS)) as (rooms, (one, two)):
        told = await asked(rooms.url, ask("/api/generate", "x"))
        assert (told.status, told.body) == (status, b'{"error":"e"}')
        assert (one.asked, two.asked) == (1, 0)


async def test_who_is_asked_again_is_first_in_line() -> None:
    """Its slot went to the next one, but those behind that one stay behind it."""
    order: list[str] = []

    async def speak(writer: asyncio.StreamWriter) -> None:
        order.append("asked")
        await asyncio.sleep(0.1)
        if len(order) > 1:
            await says(HEAD, CHUNKS)(writer)

    async with scripted(speak) as (rooms, _):
        rooms.desk.pool.places[0].slots = 1
        rooms.desk.pool._waiting_max = 2
        calls = []
        for at in range(3):
            calls.append(await Call.to(rooms.url, ask("/api/generate", "x")))
            await until(lambda at=at: len(rooms.desk.tickets) == at + 1)

        async def end(at: int) -> None:
            assert whole(await calls[at].whole())
            order.append(f"client {at}")

        await asyncio.gather(*map(end, range(3)))
        assert [step for step in order if step != "asked"] == ["client 1", "client 0", "client 2"]


# -- refusing --------------------------------------------------------------------------------------------


async def test_a_backend_that_refuses_is_left_out_at_once() -> None:
    async with standin() as one, standin() as two, farm_of(one, two) as rooms:
        await one.cut()
        assert [whole(await asked(rooms.url, ask("/api/generate", "tokens=1"))) for _ in range(4)] == [
            True
        ] * 4
        facts = (await asked(rooms.url, get("/_health"))).json
        assert facts["status"] == "degraded"
        assert [backend["up"] for backend in facts["backends"]] == [False, True]
        await one.open()
        await until(lambda: rooms.panel.facts()["status"] == "ready")
        assert one.loaded == ["a"], "it is warm again before it is called ready"


async def test_the_only_one_that_refuses_is_502_in_the_form_of_the_route() -> None:
    async with standin() as ollama, farm_of(ollama) as rooms:
        await ollama.cut()
        for path in TEXTS:
            told = await asked(rooms.url, ask(path, "tokens=1"))
            assert told.status == 502
            assert "/_health" in told.error
        assert (await asked(rooms.url, get("/_health"))).status == 503
        assert rooms.panel.facts()["status"] == "down"
        await ollama.open()
        await until(lambda: rooms.panel.facts()["status"] == "ready")
        assert whole(await asked(rooms.url, ask("/api/generate", "tokens=1")))


async def test_who_waits_for_one_that_is_not_ours_is_told_at_once() -> None:
    """Nobody starts it again: waiting could be without end."""
    async with standin() as ollama, farm_of(ollama, slots=1) as rooms:
        calls = [await Call.to(rooms.url, ask("/api/generate", "tokens=999 gap=0.01")) for _ in range(3)]
        assert await calls[0].chunk()
        await until(lambda: rooms.desk.pool.waiting == 2)
        await ollama.cut()
        ends = [await call.whole() for call in calls]
        assert sorted((told.status, told.end) for told in ends) == [
            (200, "cut"),
            (502, "length"),
            (502, "length"),
        ]
