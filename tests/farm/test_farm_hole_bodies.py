"""Bodies are bounded one by one and together; nobody half closes; who reads slowly slows only itself."""

from __future__ import annotations

import asyncio
import functools
import json
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from fronts import standing
from holes import (
    PATIENCE_S,
    TEXTS,
    Call,
    Told,
    ask,
    asked,
    body,
    farm_of,
    get,
    idle,
    post,
    quicken,
    standin,
    until,
)  # fmt: skip
from standin.ollama import Standin

from farm import limits, serving
from farm.bodies import Bodies
from farm.rooms import Rooms

EACH_B, ALL_B = 20_000, 50_000
Farm = tuple[Rooms, Standin]


@pytest.fixture
async def farm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Farm]:
    """One slot, and small bounds."""
    quicken(monkeypatch)
    monkeypatch.setattr(serving, "Bodies", functools.partial(Bodies, EACH_B, ALL_B))
    async with standin(1) as ollama, farm_of(ollama, slots=1) as rooms:
        yield rooms, ollama


def texts(ollama: Standin) -> int:
    return sum(request.path in TEXTS for request in ollama.seen)


def chunked(path: str, data: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


def large(path: str, size: int) -> bytes:
    """A request's body of that many bytes."""
    data = json.dumps(body(path, "tokens=1")).encode()
    return data[:-1] + b" " * (size - len(data)) + b"}"


async def without_going_on(url: str, request: bytes) -> Told:
    """The answer to a request whose body is never sent to its end."""
    return await (await Call.to(url, request)).whole()


# -- one by one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS)
async def test_one_that_is_announced_too_large_is_not_even_read(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {EACH_B + 1}\r\n\r\n".encode()
    told = await without_going_on(rooms.url, head)
    assert told.status == 413
    assert "larger than" in told.error
    assert isinstance(told.json["error"], dict if path.startswith("/v1/") else str)
    assert told.headers["connection"] == "close"
    assert texts(ollama) == 0


@pytest.mark.parametrize("path", ["/api/chat", "/v1/messages"])
async def test_one_that_turns_out_too_large(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    told = await without_going_on(rooms.url, chunked(path, large(path, EACH_B + 1)))
    assert (told.status, told.headers["connection"]) == (413, "close")
    assert texts(ollama) == 0


@pytest.mark.parametrize("path", TEXTS)
async def test_the_largest_passes(farm: Farm, path: str) -> None:
    rooms, _ = farm
    for request in (post(path, large(path, EACH_B)), chunked(path, large(path, EACH_B))):
        assert (await asked(rooms.url, request)).status == 200


async def test_the_bound_of_the_real_farm(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)
    async with standin() as ollama, farm_of(ollama) as rooms:
        for path in ("/api/chat", "/api/show", "/api/create"):
            size = limits.FRONT_BODY_MAX_B + 1
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode()
            assert (await without_going_on(rooms.url, head)).status == 413
        blob = head.replace(b"/api/create", b"/api/blobs/sha256:" + b"0" * 64)
        call = await Call.to(rooms.url, blob + b"x" * 100_000)
        await ollama.until(lambda o: o.open_connections)
        call.leave()


# -- together --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS)
async def test_together_they_are_bounded_too(farm: Farm, path: str) -> None:
    rooms, _ = farm
    running = await Call.to(rooms.url, ask("/api/generate", "tokens=999 gap=0.01"))
    assert await running.chunk()
    waiting = [await Call.to(rooms.url, post(path, large(path, EACH_B))) for _ in range(2)]
    await until(lambda: rooms.desk.pool.waiting == 2)
    told = await without_going_on(rooms.url, post(path, large(path, EACH_B)))
    assert told.status == 503
    assert "retry-after" in told.headers
    assert isinstance(told.json["error"], dict if path.startswith("/v1/") else str)
    assert (await asked(rooms.url, get("/api/tags"))).status == 200
    waiting[0].leave()
    await until(lambda: rooms.desk.pool.waiting == 1)
    third = await Call.to(rooms.url, post(path, large(path, EACH_B)))
    await until(lambda: rooms.desk.pool.waiting == 2)
    running.leave()
    assert [(await call.whole()).status for call in (waiting[1], third)] == [200, 200]
    await idle(*farm)


async def test_what_left_in_its_body_is_not_counted_any_more(farm: Farm) -> None:
    rooms, _ = farm
    for _ in range(5):
        call = await Call.to(rooms.url, post("/api/chat", large("/api/chat", EACH_B))[:-10])
        await asyncio.sleep(0.01)
        call.leave()
    await asyncio.sleep(0.02)
    assert (await asked(rooms.url, post("/api/chat", large("/api/chat", EACH_B)))).status == 200


# -- no half close, ever ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*TEXTS, "/api/tags", "/api/pull"])
async def test_the_backend_never_sees_an_end_while_it_answers(path: str) -> None:
    """Ollama takes a half close for a client that left."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        if length:
            await reader.readexactly(int(length))
        for _ in range(5):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" if not _ else b"x")
            await writer.drain()
            await asyncio.sleep(0.01)
            assert not reader.at_eof()
        writer.write(b"x")
        ended.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with standing(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", alive=False) as rooms:
            request = ask(path, "x", model="") if path in TEXTS else post(path, {})
            told = await asked(rooms.url, get(path) if path == "/api/tags" else request)
            assert told.body == b"xxxxx"
            await asyncio.wait_for(ended.wait(), PATIENCE_S)
    finally:
        server.close()


# -- slow readers ----------------------------------------------------------------------------------------


async def test_who_reads_slowly_slows_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its backend is not read any more, so that nothing grows here; the others go on; nothing is lost."""
    quicken(monkeypatch)
    count, size = 1500, 20_000
    async with standin() as ollama, farm_of(ollama) as rooms:
        slow = await small_window(rooms.url, ask("/api/generate", f"tokens={count} bytes={size}"))
        await until(lambda: ollama.chunks > 10)
        fast = [
            asyncio.create_task(asked(rooms.url, ask("/api/chat", "tokens=50 gap=0.002"))) for _ in range(3)
        ]
        assert [(await task).status for task in fast] == [200] * 3
        before = -1
        while before != ollama.chunks:
            before = ollama.chunks
            await asyncio.sleep(0.1)
        assert before < count // 2, "the backend itself is held up"
        told = await slow.whole()
        assert (told.end, len(told.lines)) == ("last chunk", count + 1)
        assert sum(len(json.loads(line)["response"]) for line in told.lines) == count * size


async def test_who_never_reads_and_leaves_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)
    async with standin() as ollama, farm_of(ollama) as rooms:
        call = await small_window(rooms.url, ask("/api/generate", "tokens=1500 bytes=20000"))
        await until(lambda: ollama.chunks > 10)
        call.leave()
        await idle(rooms, ollama)


async def small_window(url: str, request: bytes) -> Call:
    """A client whose system takes little before it is read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    made.setblocking(False)
    parts = urlsplit(url)
    await asyncio.get_running_loop().sock_connect(made, (parts.hostname, parts.port))
    reader, writer = await asyncio.open_connection(sock=made)
    writer.write(request)
    return Call(reader, writer)
