"""A client's connection to the front: its bounds in bytes and time, how it ends, and the older HTTPs."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from comers import PATIENCE_S, WELL, client, front, get, post, said_to, statuses
from talking import CHUNKED, LAST, chunk, read_answer, until_closed

from farm import limits

MAX = limits.HEAD_MAX_B


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HEAD_S", 0.1), ("IDLE_S", 0.1), ("LINGER_S", 0.1)):
        monkeypatch.setattr(limits, name, value)


# -- heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [get("/api/tags?" + "x" * 100_000), get("/api/tags", "X: " + "y" * 100_000),
     get("/api/tags", *(f"X-{n}: y" for n in range(5000)))],
    ids=["line", "header", "headers"],
)  # fmt: skip
async def test_large_heads_pass_whole(request_: bytes) -> None:
    async with front() as (rooms, backend):
        async with client(rooms.url) as (reader, writer):
            writer.write(request_)
            assert (await read_answer(reader)).status == 200
        sent = {line.lower() for line in request_.split(b"\r\n")[:1] + request_.split(b"\r\n")[2:]}
        assert sent <= {line.lower() for line in backend.heads[0].split(b"\r\n")}


CHUNKS = get("/api/show", "Transfer-Encoding: chunked", method="POST")
TOO_LARGE = [
    ("line", get("/api/tags?" + "x" * MAX)),
    ("line without end", b"GET /" + b"x" * 2 * MAX),
    ("header", get("/api/tags", "X: " + "y" * MAX)),
    ("header without end", b"GET / HTTP/1.1\r\nX: " + b"y" * 2 * MAX),
    ("headers", get("/api/tags", *(f"X-{n}: y" for n in range(MAX // 8)))),
    ("name", b"GET / HTTP/1.1\r\n" + b"y" * 2 * MAX),
    ("blank lines", b"\r\n" * MAX),
    ("extension", CHUNKS + b"1;" + b"e" * 2 * MAX),
    ("trailers", CHUNKS + b"0\r\n" + b"X: y\r\n" * MAX),
]


@pytest.mark.parametrize("pieces", [1, 20])
@pytest.mark.parametrize("sent", [row[1] for row in TOO_LARGE], ids=[row[0] for row in TOO_LARGE])
async def test_larger_heads_are_431(sent: bytes, pieces: int) -> None:
    size = -(-len(sent) // pieces)
    async with front() as (rooms, backend):
        said = await said_to(rooms.url, *(sent[at : at + size] for at in range(0, len(sent), size)))
        assert statuses(said) == [431]
        assert b"connection: close" in said
        assert [head for head in backend.heads if b"/api/tags" in head] == []


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"GET /api/tags HTTP/1.1\r\nX: ", get(), get() + b"GET ", get() + b"\r\n\r\n"],
)
async def test_who_does_not_go_on_is_cut(sent: bytes, hurry: None) -> None:
    async with front() as (rooms, _):
        assert statuses(await said_to(rooms.url, sent)) == ([200] if sent.startswith(get()) else [])


async def test_blank_lines_do_not_keep_a_connection(hurry: None) -> None:
    async with front() as (rooms, _), client(rooms.url) as (reader, writer):
        ended = asyncio.create_task(until_closed(reader))
        while not ended.done():
            writer.write(b"\r\n")
            await asyncio.sleep(0.02)
        assert await ended == b""


async def test_half_a_next_head_does_not_cut_a_stream(hurry: None) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for _ in range(10):
            await asyncio.sleep(0.03)
            writer.write(chunk(b"x\n"))
        writer.write(LAST)

    async with front(talk) as (rooms, _), client(rooms.url) as (reader, writer):
        writer.write(get() + b"GET /api/v")
        assert (await read_answer(reader)).body == b"x\n" * 10
        assert await until_closed(reader) == b""


# -- connections ----------------------------------------------------------------------------------


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 3)
    async with front() as (rooms, _), contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            reader, writer = await stack.enter_async_context(client(rooms.url))
            writer.write(get())
            assert (await read_answer(reader)).status == 200
        said = await said_to(rooms.url, get())
        assert statuses(said) == [503]
        assert b"retry-after: 1" in said
        writer.write(get())  # those that are there go on
        assert (await read_answer(reader)).status == 200
        writer.close()
        status = 503
        while status == 503:
            async with client(rooms.url) as (reader, writer):
                writer.write(get())
                status = (await read_answer(reader)).status
        assert status == 200


async def test_the_system_looks_after_vanished_clients() -> None:
    async with front() as (rooms, _), client(rooms.url) as (reader, writer):
        writer.write(get())
        await read_answer(reader)
        (door,) = rooms._server.server_state.connections
        line = door.transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = backend.heads[-1].split(b" ")[1]
        await asyncio.sleep(0.02 if target.endswith(b"1") else 0)
        writer.write(CHUNKED + chunk(target) + LAST)

    async with front(talk) as (rooms, backend), client(rooms.url) as (reader, writer):
        writer.write(get("/api/1") + post(b"x" * 100_000, "/api/2") + get("/api/3", method="DELETE"))
        told = [(await read_answer(reader)).body for _ in range(3)]
        assert told == [b"/api/1", b"/api/2", b"/api/3"]
        assert [head.split(b" ")[1] for head in backend.heads] == told


async def test_a_hundred_thousand_pipelined_requests_do_not_pile_up() -> None:
    async with front() as (rooms, _), client(rooms.url) as (reader, writer):
        sending = asyncio.create_task(_pour(writer, get("/api/tags"), 100_000))
        for _ in range(50):
            assert (await read_answer(reader)).status == 200
        (door,) = rooms._server.server_state.connections
        assert len(door._replies) <= 2 * 262_144 // len(get("/api/tags"))  # type: ignore[union-attr]
        sending.cancel()


async def _pour(writer: asyncio.StreamWriter, data: bytes, times: int) -> None:
    for _ in range(times // 100):
        writer.write(data * 100)
        await writer.drain()


async def test_the_end_of_the_front_cuts_streams() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(b"x"))
        await until_closed(reader)

    async with contextlib.AsyncExitStack() as later, front(talk) as (rooms, _):
        reader, writer = await later.enter_async_context(client(rooms.url))
        writer.write(get())
        await reader.readuntil(b"x\r\n")
        ended = asyncio.create_task(until_closed(reader))
    assert LAST not in await asyncio.wait_for(ended, PATIENCE_S)


# -- other HTTPs ----------------------------------------------------------------------------------


async def test_http_1_0_gets_no_chunks() -> None:
    async with front(CHUNKED + chunk(b"a\n") + chunk(b"b\n") + LAST) as (rooms, _):
        said = await said_to(rooms.url, get(version="1.0"))
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 ")
        assert b"transfer-encoding" not in head
        assert body == b"a\nb\n"


async def test_http_1_0_may_keep_its_connection_where_lengths_are_told() -> None:
    async with front() as (rooms, _), client(rooms.url) as (reader, writer):
        for _ in range(2):
            writer.write(get("/api/tags", "Connection: keep-alive", version="1.0"))
            told = await read_answer(reader)
            assert told.every(b"connection") == [b"keep-alive"]
            assert told.body == b"{}"
        writer.write(get(version="1.0"))
        assert (await read_answer(reader)).every(b"connection") == [b"close"]
        assert await reader.read() == b""


async def test_a_cut_answer_in_http_1_0_is_a_reset() -> None:
    async with front(CHUNKED + chunk(b"half")) as (rooms, _), client(rooms.url) as (reader, writer):
        writer.write(get(version="1.0"))
        with pytest.raises(ConnectionResetError):
            await reader.read()


@pytest.mark.parametrize("coded", [True, False])
async def test_an_offer_of_http_2_is_passed_over(coded: bool) -> None:
    """Java's client makes one with its first request, body and all, and goes on with HTTP/1.1."""
    offer = [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk",
    ]
    body = b'{"model":"a"}'

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"}"))
        writer.write(WELL)

    got: list[bytes] = []
    async with front(talk) as (rooms, backend), client(rooms.url) as (reader, writer):
        for _ in range(3):
            if coded:
                head = get("/api/show", *offer, "Transfer-Encoding: chunked", method="POST")
                writer.write(head + chunk(body[:5]))
                await asyncio.sleep(0.01)
                writer.write(chunk(body[5:]) + LAST)
            else:
                writer.write(post(body, "/api/show", *offer))
            assert (await read_answer(reader)).body == b"{}"
    assert len(got) == 3
    assert all(one.endswith(b"}") for one in got)
    assert not any(b"upgrade" in head.lower() or b"http2" in head.lower() for head in backend.heads)
