"""The front against a backend that does, byte by byte, what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from fronts import standing

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass
class Backend:
    """Answers each connection with `talk`; keeps what it read and how connections ended."""

    talk: Talk | None = None
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            assert self.talk is not None
            await self.talk(reader, writer)
            await writer.drain()
        writer.close()

    async def says(self, answer: bytes) -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            length = [
                line for line in self.heads[-1].lower().split(b"\r\n") if line.startswith(b"content-length:")
            ]
            self.bodies.append(await reader.readexactly(int(length[0].split(b":")[1])) if length else b"")
            writer.write(answer)

        self.talk = talk


@dataclass
class Front:
    port: int
    backend: Backend

    async def open(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        return reader, writer

    async def ask(self, request: bytes) -> bytes:
        """Everything the proxy answers until it closes."""
        reader, writer = await self.open(request)
        told = await reader.read()
        writer.close()
        await writer.wait_closed()
        return told

    def post(
        self, path: str = "/api/generate", body: bytes = b"{}", extra: bytes = b"Connection: close\r\n"
    ) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + extra + b"\r\n" + body

    def get(self, path: str, extra: bytes = b"Connection: close\r\n", method: str = "GET") -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n".encode() + extra + b"\r\n"


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    backend = Backend()
    listening = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    back_port = listening.sockets[0].getsockname()[1]
    async with standing(f"http://127.0.0.1:{back_port}", alive=False) as rooms:
        yield Front(int(rooms.url.rpartition(":")[2]), backend)
    listening.close()


def parts(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 10)


# -- bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        [b'{"a":1}\n', b'{"b":2}\n'],
        [b'{"a', b'":1}\n{"b":', b"2}\n"],
        [b"\xff\x00\r\n0\r\n\r\n", b"x"],
        [b"y" * 70_000],
    ],
)
async def test_chunks_arrive_as_they_were_sent(front: Front, pieces: list[bytes]) -> None:
    backend = front.backend

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for piece in pieces:
            writer.write(chunk(piece))
            await writer.drain()
            backend.go.clear()
            await soon(backend.go)  # the next one only when the client has this one: nothing may be held back
        writer.write(b"0\r\n\r\n")

    backend.talk = talk
    reader, writer = await front.open(front.post())
    await reader.readuntil(b"\r\n\r\n")
    for piece in pieces:
        got = b""
        while len(got) < len(piece):
            size = int(await reader.readline(), 16)
            got += await reader.readexactly(size)
            await reader.readexactly(2)
        assert got == piece
        backend.go.set()
    assert await reader.read() == b"0\r\n\r\n"
    writer.close()


async def test_a_body_with_a_length_keeps_it(front: Front) -> None:
    await front.backend.says(
        b"HTTP/1.1 201 Created\r\nX-One: 1\r\nX-One: 2\r\nContent-Length: 5\r\n\r\nh\x00\xffl\n"
    )
    head, body = parts(await front.ask(front.post("/api/blobs/sha256:1", b"\x00\xff")))
    assert head.startswith(b"HTTP/1.1 201 ")
    assert head.lower().count(b"x-one:") == 2
    assert b"content-length: 5" in head.lower()
    assert b"x-accel-buffering" not in head.lower()
    assert body == b"h\x00\xffl\n"
    assert front.backend.bodies == [b"\x00\xff"]


async def test_compressed_bytes_are_not_touched(front: Front) -> None:
    await front.backend.says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope")
    head, body = parts(await front.ask(front.get("/v1/models")))
    assert b"content-encoding: gzip" in head.lower()
    assert body == b"nope"


@pytest.mark.parametrize(
    "target", ["/api/tags?x=1&y=%2F", "/api/blobs/sha256:ab%20c", "/v1/models/a/b", "/api/a'\"|c", "/"]
)
async def test_the_target_is_the_client_s_own(front: Front, target: str) -> None:
    await front.backend.says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await front.ask(front.get(target))).startswith(b"HTTP/1.1 204 ")
    assert front.backend.heads[0].split(b"\r\n")[0] == f"GET {target} HTTP/1.1".encode()


@pytest.mark.parametrize("method", ["HEAD", "DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_every_method_passes(front: Front, method: str) -> None:
    await front.backend.says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + (b"" if method == "HEAD" else b"abc")
    )
    head, body = parts(await front.ask(front.get("/api/tags", method=method)))
    assert front.backend.heads[0].startswith(f"{method} /api/tags".encode())
    assert b"content-length: 3" in head.lower()
    assert body == (b"" if method == "HEAD" else b"abc")


async def test_a_chunked_request_arrives_whole(front: Front) -> None:
    backend = front.backend

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend.bodies.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    backend.talk = talk
    head = front.get("/api/blobs/sha256:1", b"Transfer-Encoding: chunked\r\nConnection: close\r\n", "POST")
    assert (await front.ask(head + chunk(b'{"a"') + chunk(b":1}") + b"0\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert backend.bodies[0].replace(b"\r\n", b"").count(b'{"a"') == 1


# -- headers ------------------------------------------------------------------------------------


async def test_headers_about_the_connection_stay_here(front: Front) -> None:
    await front.backend.says(
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        b"Date: D\r\nContent-Length: 0\r\n\r\n"
    )
    extra = (
        b"Connection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\n"
        b"Origin: http://localhost:3\r\nX-Kept: 2\r\n"
    )
    head, _ = parts(await front.ask(front.post(extra=extra)))
    asked = front.backend.heads[0].lower()
    assert not any(name in asked for name in (b"x-mine", b"te:", b"origin", b"connection: close"))
    assert b"x-kept: 2" in asked
    assert asked.count(b"host:") == 1
    assert f"host: 127.0.0.1:{front.port}".encode() not in asked
    assert b"x-hop" not in head.lower()
    assert b"keep-alive" not in head.lower()
    assert head.lower().count(b"date:") == 1
    assert b"access-control-allow-origin: http://localhost:3" in head.lower()


async def test_streams_ask_web_servers_not_to_gather(front: Front) -> None:
    await front.backend.says(CHUNKED + chunk(b"x") + b"0\r\n\r\n")
    head, _ = parts(await front.ask(front.post()))
    assert b"x-accel-buffering: no" in head.lower()


async def test_two_framings_are_refused(front: Front) -> None:
    request = front.post(extra=b"Transfer-Encoding: chunked\r\n", body=b"0\r\n\r\n")
    head, body = parts(await front.ask(request))
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "not both" in json.loads(body)["error"]
    assert front.backend.heads == []


@pytest.mark.parametrize("extra", [b"Origin: https://evil.example\r\n", b"Origin: null\r\n"])
async def test_pages_of_others_are_refused(front: Front, extra: bytes) -> None:
    assert (await front.ask(front.post(extra=extra + b"Connection: close\r\n"))).startswith(b"HTTP/1.1 403 ")
    assert front.backend.heads == []


async def test_a_name_made_to_point_here_is_refused(front: Front) -> None:
    told = await front.ask(b"GET /api/tags HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 403 ")


async def test_a_local_page_may_ask_first(front: Front) -> None:
    extra = b"Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\nConnection: close\r\n"
    head, _ = parts(await front.ask(front.get("/api/chat", extra, "OPTIONS")))
    assert head.startswith(b"HTTP/1.1 204 ")
    assert b"access-control-allow-origin: http://localhost:3000" in head.lower()
    assert front.backend.heads == []


# -- ends ---------------------------------------------------------------------------------------


def watching(backend: Backend, first: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await reader.read()  # until the proxy closes
        backend.left.set()

    return talk


@pytest.mark.parametrize(
    ("begun", "path", "body"),
    [
        (True, "/api/generate", b"{}"),
        (False, "/api/generate", b'{"stream":false}'),
        (False, "/v1/chat/completions", b"{}"),
        (False, "/api/embed", b"{}"),
        (False, "/api/pull", b"{}"),
    ],
)
async def test_a_client_that_leaves_closes_the_backend(
    front: Front, begun: bool, path: str, body: bytes
) -> None:
    front.backend.talk = watching(front.backend, CHUNKED + chunk(b"x") if begun else b"")
    reader, writer = await front.open(front.post(path, body))
    if begun:
        await reader.readuntil(b"x\r\n")
    else:
        while not front.backend.heads:
            await asyncio.sleep(0.01)
    writer.close()
    await soon(front.backend.left)


async def test_a_client_that_leaves_in_its_body_closes_the_backend(front: Front) -> None:
    backend = front.backend

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        backend.bodies.append(await reader.read())  # until the proxy closes
        backend.left.set()

    backend.talk = talk
    _, writer = await front.open(front.post("/api/blobs/sha256:1", b"{}" * 50)[:-20])
    while not backend.heads:
        await asyncio.sleep(0.01)
    writer.close()
    await soon(backend.left)
    assert len(backend.bodies[0]) <= 80  # never made whole


@pytest.mark.parametrize(
    "answer",
    [CHUNKED + chunk(b"half"), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"],
)
async def test_a_backend_that_breaks_off_has_the_client_cut(front: Front, answer: bytes) -> None:
    await front.backend.says(answer)
    told = await front.ask(front.post(extra=b""))  # keep-alive: only a cut ends this read
    assert b"half" in told
    assert not told.endswith(b"0\r\n\r\n")


async def test_a_backend_that_says_nothing_is_502(front: Front) -> None:
    await front.backend.says(b"")
    head, body = parts(await front.ask(front.post()))
    assert head.startswith(b"HTTP/1.1 502 ")
    assert "broke off" in json.loads(body)["error"]


async def test_no_backend_is_502_and_503() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        dead = f"http://127.0.0.1:{gone.getsockname()[1]}"
    async with standing(dead, alive=False) as rooms:
        front = Front(int(rooms.url.rpartition(":")[2]), Backend())
        head, body = parts(await front.ask(front.post()))
        assert head.startswith(b"HTTP/1.1 502 ")
        assert "/_health" in json.loads(body)["error"]
        head, body = parts(await front.ask(front.get("/api/tags")))
        assert head.startswith(b"HTTP/1.1 502 ")
        head, body = parts(await front.ask(front.get("/_health")))
        assert head.startswith(b"HTTP/1.1 503 ")
        assert json.loads(body)["status"] == "down"


# -- routes of its own ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/docs", "/openapi.json", "/redoc", "/metrics/x", "/apix", "/_health/x", "//api/tags"]
)
async def test_other_paths_are_not_there(front: Front, path: str) -> None:
    head, body = parts(await front.ask(front.get(path)))
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"content-type: text/plain" in head.lower()
    assert body == b"404 page not found"
    assert front.backend.heads == []
