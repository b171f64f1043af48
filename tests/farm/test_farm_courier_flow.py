"""The way to a backend under load: slow readers, long bodies, early answers, and cancellation anywhere."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator

import pytest
from talking import CHUNKED, LAST, OK, chunk, reset, talking, until_closed

from farm import limits
from farm.courier import BrokeError, ask

KB = 1024
MB = 1024 * KB
PATIENCE_S = 10


async def body_of(answer: object) -> bytes:
    pieces: list[bytes] = []
    while some := await answer.more():  # type: ignore[attr-defined]
        pieces += some
    return b"".join(pieces)


async def still(count: list[int]) -> int:
    """A count when it grows no more."""
    before, same = -1, 0
    async with asyncio.timeout(PATIENCE_S):
        while same < 5:
            same = same + 1 if count[0] == before else 0
            before = count[0]
            await asyncio.sleep(0.02)
    return before


# -- answers --------------------------------------------------------------------------------------


async def test_a_slow_reader_stops_the_backend() -> None:
    sent = [0]
    block = b"x" * 64 * KB

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KB)
        writer.write(CHUNKED)
        for _ in range(800):
            writer.write(chunk(block))
            await writer.drain()
            sent[0] += len(block)
        writer.write(LAST)

    async with talking(talk) as backend:
        answer = await ask(backend.url, "GET", "/", [], None)
        stopped_at = await still(sent)
        assert stopped_at < 20 * MB  # of 50: what both systems and the stream's own buffers hold
        held = sum(map(len, answer._line.pieces))
        assert held <= limits.COURIER_HIGH_B + 256 * KB  # and one read of asyncio's
        assert await body_of(answer) == block * 800
        answer.close()


async def test_small_chunks_count_for_what_they_cost() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(b"x") * 300_000 + LAST)
        await writer.drain()

    async with talking(talk) as backend:
        answer = await ask(backend.url, "GET", "/", [], None)
        counted = [0]
        while counted[0] != len(answer._line.pieces) or not counted[0]:
            counted[0] = len(answer._line.pieces)
            await asyncio.sleep(0.05)
        assert (
            counted[0] * limits.COURIER_PIECE_B
            < limits.COURIER_HIGH_B + 256 * KB * limits.COURIER_PIECE_B // 6
        )
        assert await body_of(answer) == b"x" * 300_000
        answer.close()


async def test_an_answer_that_comes_before_the_body_is_sent() -> None:
    pulled = 0
    over = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        try:
            while True:
                pulled += 1
                yield b"x" * 100
                await asyncio.sleep(0.005)
        finally:
            over.set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 2\r\n\r\nno")
        await until_closed(reader)

    async with talking(talk) as backend:
        answer = await ask(backend.url, "POST", "/", [], endless())
        assert answer.status == 200
        assert await body_of(answer) == b"no"
        answer.close()
        await asyncio.wait_for(over.wait(), PATIENCE_S)
        await backend.until_left()
    assert pulled


REFUSAL = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge"


@pytest.mark.parametrize("whole", [True, False])
async def test_a_refusal_of_a_long_body_is_read(whole: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b"x" * 64 * KB

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        writer.write(REFUSAL)
        await writer.drain()
        reset(writer)

    async with talking(talk) as backend:
        content = b"x" * 25 * MB if whole else pieces()
        answer = await ask(backend.url, "POST", "/", [], content, length=25 * MB)
        assert answer.status == 413
        assert await body_of(answer) == b"large"
        answer.close()


async def test_a_refusal_is_read_though_a_reset_is_noticed_first() -> None:
    """A backend that closes with unread bytes has a reset sent behind its answer; sending then fails."""
    gone = threading.Event()

    def refuse(listener: socket.socket) -> None:
        line, _ = listener.accept()
        line.recv(1000)
        line.sendall(REFUSAL)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
        gone.set()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        gone.wait(PATIENCE_S)  # the loop stands still: nothing is read before more is sent
        while True:
            yield b"x" * 64 * KB

    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = threading.Thread(target=refuse, args=(listener,))
        refusing.start()
        port = listener.getsockname()[1]
        answer = await ask(f"http://127.0.0.1:{port}", "POST", "/", [], pieces())
        refusing.join()
    assert answer.status == 413
    assert await body_of(answer) == b"large"
    answer.close()


# -- requests -------------------------------------------------------------------------------------


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize(
    ("content", "length", "framing", "body"),
    [
        (None, None, b"", b""),
        (b"", None, b"Content-Length: 0\r\n", b""),
        (b"abc", None, b"Content-Length: 3\r\n", b"abc"),
        ((b"ab", b"", b"c"), 3, b"Content-Length: 3\r\n", b"abc"),
        ((b"ab", b"", b"c"), None, b"Transfer-Encoding: chunked\r\n", b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        ((), None, b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    ],
)
async def test_requests_as_they_stand_on_the_wire(
    content: bytes | tuple[bytes, ...] | None, length: int | None, framing: bytes, body: bytes
) -> None:
    got = b""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        got = await reader.readexactly(len(body))
        writer.write(OK + b"Content-Length: 0\r\n\r\n")

    async with talking(talk) as backend:
        given = pieces_of(*content) if isinstance(content, tuple) else content
        target = "/api/a%2Fb?x=%00&y='\"|{}\\^`"
        answer = await ask(backend.url, "PATCH", target, [(b"x-Odd", b"\xe4 \t!")], given, length=length)
        answer.close()
        host = backend.url.removeprefix("http://").encode()
        assert backend.heads == [
            b"PATCH %s HTTP/1.1\r\nHost: %s\r\nx-Odd: \xe4 \t!\r\n%s\r\n" % (target.encode(), host, framing)
        ]
    assert got == body


async def test_a_backend_that_does_not_read_stops_the_body() -> None:
    pulled = [0]
    go = asyncio.Event()
    block = b"x" * 64 * KB
    got = 0

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(800):
            pulled[0] += len(block)
            yield block

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await go.wait()
        while got < 800 * len(block):
            got += len(await reader.read(MB))
        writer.write(OK + b"Content-Length: 0\r\n\r\n")

    async with talking(talk, small=True) as backend:
        asking = asyncio.create_task(ask(backend.url, "POST", "/", [], blocks(), length=800 * len(block)))
        assert await still(pulled) < 20 * MB
        go.set()
        answer = await asyncio.wait_for(asking, PATIENCE_S)
        answer.close()
    assert got == 800 * len(block)


class ClientError(Exception):
    pass


async def test_a_body_that_fails_before_the_answer_is_its_own_error() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        raise ClientError

    async with talking(until_closed) as backend:
        with pytest.raises(ClientError):
            await ask(backend.url, "POST", "/", [], failing(), length=5)
        await backend.until_left()


async def test_a_body_that_fails_behind_the_answer_s_head_ends_the_answer() -> None:
    go = asyncio.Event()

    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        await go.wait()
        raise ClientError

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(b"a"))
        await until_closed(reader)

    async with talking(talk) as backend:
        answer = await ask(backend.url, "POST", "/", [], failing())
        assert await answer.more() == [b"a"]
        go.set()
        with pytest.raises(BrokeError, match="body"):
            await answer.more()
        answer.close()
        await backend.until_left()
