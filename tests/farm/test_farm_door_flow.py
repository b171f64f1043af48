"""Bodies and answers through a client's connection: slow ones, large ones, and those that end badly."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from comers import PATIENCE_S, client, front, get, post, said_to, statuses
from talking import CHUNKED, LAST, OK, chunk, read_answer, until_closed

from farm import limits
from farm.asgi import Exchange

KB = 1024
MB = 1024 * KB
ASK = b'{"model":"a","prompt":"x"}'


# -- the request's body ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["/api/generate", "/api/show", "/v1/chat/completions", "/api/blobs/sha256:x"]
)
@pytest.mark.parametrize("told", [True, False])
async def test_a_body_that_stops_coming_is_408(
    monkeypatch: pytest.MonkeyPatch, target: str, told: bool
) -> None:
    monkeypatch.setattr(limits, "BODY_WAIT_S", 0.05)
    monkeypatch.setattr(limits, "LINGER_S", 0.05)
    framing = "Content-Length: 100" if told else "Transfer-Encoding: chunked"
    async with front(until_closed) as (rooms, backend):
        part = ASK if told else chunk(ASK)
        said = await said_to(rooms.url, get(target, framing, method="POST") + part)
        assert statuses(said) == [408]
        assert b"connection: close" in said
        assert "slow" in json.dumps(json.loads(said.partition(b"\r\n\r\n")[2]))
        await backend.until_left()
        assert rooms.desk.pool.used == 0


async def test_a_body_that_dribbles_is_408_however_long_it_may_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "BODY_WAIT_S", 0.2)
    monkeypatch.setattr(limits, "LINGER_S", 0.05)
    async with front() as (rooms, _), client(rooms.url) as (reader, writer):
        writer.write(get("/api/generate", "Content-Length: 100000", method="POST"))
        ended = asyncio.create_task(until_closed(reader))
        while not ended.done():
            writer.write(b" ")
            await asyncio.sleep(0.01)
        assert statuses(await ended) == [408]


async def test_a_slow_body_that_is_faster_than_the_bound_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_WAIT_S", 1)
    monkeypatch.setattr(limits, "BODY_RATE_B", 1)
    body = b'{"model":"a","prompt":"' + b"x" * 40 + b'"}'
    async with front() as (rooms, _), client(rooms.url) as (reader, writer):
        writer.write(get("/api/generate", f"Content-Length: {len(body)}", method="POST"))
        for at in range(len(body)):
            writer.write(body[at : at + 1])
            await asyncio.sleep(0.01)
        assert (await read_answer(reader)).status == 200


async def test_the_time_of_whoever_reads_a_body_is_not_the_client_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "BODY_WAIT_S", 0.05)
    monkeypatch.setattr(limits, "BODY_RATE_B", 2**40)
    left = [{"type": "http.request", "body": b"x", "more_body": more} for more in (True, True, True, False)]

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    scope = {"method": "POST", "path": "/x", "headers": [], "target": "/x"}
    got = b""
    async for piece in Exchange(scope, receive, receive).body_chunks():  # type: ignore[arg-type]
        got += piece
        await asyncio.sleep(0.03)
    assert got == b"xxxx"


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [("/api/generate", (), 413), ("/api/show", (), 413), ("/api/show", ("Origin: http://evil",), 403),
     ("/nowhere", (), 404)],
)  # fmt: skip
async def test_who_sends_all_before_it_reads_still_reads_the_refusal(
    monkeypatch: pytest.MonkeyPatch, target: str, headers: tuple[str, ...], status: int
) -> None:
    monkeypatch.setattr(limits, "FRONT_BODY_MAX_B", MB)

    def come(url: str) -> bytes:
        """As blocking clients do it: what is not yet read is lost with a reset."""
        host, _, port = url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as line:
            line.sendall(post(b"x" * 8 * MB, target, *headers))
            return line.recv(65536)

    async with front() as (rooms, backend):
        assert statuses(await asyncio.to_thread(come, rooms.url)) == [status]
        assert backend.heads == []


async def test_a_refusal_of_a_body_in_chunks_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRONT_BODY_MAX_B", 1000)
    monkeypatch.setattr(limits, "LINGER_S", 0.05)
    for target in ("/api/generate", "/api/show"):
        async with front(until_closed) as (rooms, backend):
            head = get(target, "Transfer-Encoding: chunked", method="POST")
            assert statuses(await said_to(rooms.url, head + chunk(b"x" * 600), chunk(b"x" * 600))) == [413]
            await backend.until_left()


async def test_a_body_that_is_refused_early_does_not_spoil_what_comes_next() -> None:
    refusal = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    body = b"GET /api/evil HTTP/1.1\r\n\r\n" * 20_000
    async with front(refusal) as (rooms, _), client(rooms.url) as (reader, writer):
        for _ in range(3):
            writer.write(get("/api/show", f"Content-Length: {len(body)}", method="POST") + body[:100_000])
            assert (await read_answer(reader)).status == 401
            writer.write(body[100_000:])


async def test_a_rejected_expectation_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINGER_S", 0.05)
    headers = ("Expect: 100-continue", "Origin: http://evil", "Content-Length: 2")
    async with front() as (rooms, _):
        said = await said_to(rooms.url, get("/api/show", *headers, method="POST"))
        assert statuses(said) == [403]
        assert b"connection: close" in said


# -- the answer -----------------------------------------------------------------------------------


async def test_a_slow_client_stops_the_backend_and_loses_nothing() -> None:
    sent = 0
    block = b"x" * 64 * KB

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(CHUNKED)
        for _ in range(800):
            writer.write(chunk(block))
            await writer.drain()
            sent += len(block)
        writer.write(LAST)

    async with front(talk) as (rooms, _), client(rooms.url) as (reader, writer):
        writer.transport.pause_reading()
        writer.write(get())
        before = -1
        while sent != before or not sent:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 30 * MB  # of 50: what four sockets' buffers hold
        writer.transport.resume_reading()
        told = await read_answer(reader)
        assert told.body == block * 800


async def test_a_client_that_takes_nothing_is_cut_and_its_slot_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "STALLED_S", 0.1)

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        while not writer.is_closing():
            writer.write(chunk(b"x" * 64 * KB))
            await writer.drain()

    async with front(talk) as (rooms, backend), client(rooms.url) as (_, writer):
        writer.transport.pause_reading()
        writer.write(post(ASK, "/api/generate"))
        while not rooms.desk.pool.used:
            await asyncio.sleep(0.01)
        await backend.until_left()
        while rooms.desk.pool.used:
            await asyncio.sleep(0.01)


async def test_chunks_that_come_together_stay_chunks() -> None:
    pieces = [b"a\n", b"bc\n", b"d" * 10_000, b"e"]
    said = CHUNKED + b"".join(map(chunk, pieces)) + LAST
    async with front(said) as (rooms, _), client(rooms.url) as (reader, writer):
        writer.write(get())
        assert (await read_answer(reader)).chunks == pieces


@pytest.mark.parametrize(
    "said",
    [
        OK + b"X-A: b\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 599 Odd\r\nContent-Length: 1\r\n\r\na",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_answers_without_a_body_leave_the_connection_usable(said: bytes, method: str) -> None:
    async with front(said) as (rooms, _), client(rooms.url) as (reader, writer):
        for _ in range(3):
            writer.write(get(method=method))
            told = await read_answer(reader, method)
            assert told.status == int(said.split(b" ")[1])
