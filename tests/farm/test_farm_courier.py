"""The way to a backend alone: every framing, every break, back-pressure, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talking import CHUNKED, LAST, OK, Backend, chunk, reset, talking

from farm.backline import Line
from farm.courier import Answer, BrokeError, ask

MB = 1024 * 1024


@contextlib.asynccontextmanager
async def asked(
    backend: Backend, method: str = "GET", content: bytes | AsyncIterator[bytes] | None = None
) -> AsyncIterator[Answer]:
    answer = await ask(backend.url, method, "/api/x", [(b"X-A", b"1")], content)
    try:
        yield answer
    finally:
        answer.close()


async def everything(answer: Answer) -> list[bytes]:
    pieces: list[bytes] = []
    while some := await answer.more():
        pieces += some
    return pieces


# -- framings -------------------------------------------------------------------------------------

NEXT = b"HTTP/1.1 500 Not Yours\r\nX-Next: 1\r\nContent-Length: 4\r\n\r\nevil"
FRAMINGS: list[tuple[str, str, bytes, int, list[bytes]]] = [
    ("length", "GET", OK + b"Content-Length: 3\r\n\r\nabc", 200, [b"abc"]),
    ("no bytes", "GET", OK + b"Content-Length: 0\r\n\r\n", 200, []),
    ("chunks", "GET", CHUNKED + chunk(b"a") + chunk(b"bc") + LAST, 200, [b"a", b"bc"]),
    ("no chunks", "GET", CHUNKED + LAST, 200, []),
    ("extensions", "GET", CHUNKED + chunk(b"a", b";x=y") + chunk(b"b", b';q="1"') + LAST, 200, [b"a", b"b"]),
    ("trailers", "GET", CHUNKED + chunk(b"a") + b"0\r\nX-Late: 1\r\nContent-Type: evil\r\n\r\n", 200, [b"a"]),
    ("until the end", "GET", OK + b"\r\nabc", 200, [b"abc"]),
    ("HTTP/1.0", "GET", b"HTTP/1.0 200 OK\r\n\r\nabc", 200, [b"abc"]),
    ("HTTP/1.0 with length", "GET", b"HTTP/1.0 201 Made\r\nContent-Length: 3\r\n\r\nabc", 201, [b"abc"]),
    ("HEAD", "HEAD", OK + b"Content-Length: 3\r\n\r\n", 200, []),
    ("HEAD of chunks", "HEAD", CHUNKED, 200, []),
    ("HEAD with a body", "HEAD", OK + b"Content-Length: 3\r\n\r\nabc", 200, []),
    ("204", "DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", 204, []),
    ("204 with a body", "DELETE", b"HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\na", 204, []),
    ("304", "GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, []),
    ("100", "GET", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", 200, [b"a"]),
    ("103", "GET", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + CHUNKED + LAST, 200, []),
    ("many 1xx", "GET", b"HTTP/1.1 102 Processing\r\n\r\n" * 50 + b"HTTP/1.1 404 No\r\n\r\nx", 404, [b"x"]),
    ("no reason", "GET", b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", 200, [b"a"]),
    ("another behind it", "GET", OK + b"Content-Length: 3\r\n\r\nabc" + NEXT, 200, [b"abc"]),
    ("another behind chunks", "GET", CHUNKED + chunk(b"abc") + LAST + NEXT, 200, [b"abc"]),
    ("another behind HEAD", "HEAD", OK + b"Content-Length: 3\r\n\r\n" + NEXT, 200, []),
    ("garbage behind it", "GET", OK + b"Content-Length: 3\r\n\r\nabc\0\xff\r\n\r\n", 200, [b"abc"]),
    ("garbage behind a close", "GET", OK + b"Connection: close\r\nContent-Length: 1\r\n\r\na!", 200, [b"a"]),
]


@pytest.mark.parametrize(("method", "said", "status", "pieces"), [row[1:] for row in FRAMINGS],
                         ids=[row[0] for row in FRAMINGS])  # fmt: skip
async def test_every_framing_is_read(method: str, said: bytes, status: int, pieces: list[bytes]) -> None:
    async with talking(said) as backend:
        async with asked(backend, method) as answer:
            assert answer.status == status
            assert await everything(answer) == pieces
            told = [name.lower() for name, _ in answer.headers]
            assert not {b"x-next", b"x-late", b"link"} & set(told)
            assert answer.header(b"content-type") in {None, b"application/x-ndjson"}
        await backend.until_left()


@pytest.mark.parametrize("cut", range(1, 140, 3))
async def test_heads_come_in_any_pieces(cut: int) -> None:
    told = b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + CHUNKED + chunk(b"abc") + chunk(b"de") + LAST

    async def talk(_: object, writer: asyncio.StreamWriter) -> None:
        writer.write(told[:cut])
        await asyncio.sleep(0.001)
        writer.write(told[cut:])

    async with talking(talk) as backend, asked(backend) as answer:
        assert (answer.status, len(answer.headers)) == (200, 2)
        assert b"".join(await everything(answer)) == b"abcde"


class Wall:
    """A transport that is there and does nothing."""

    closed = False

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


def line_fed(pieces: list[bytes]) -> Line:
    line = Line(bodyless=False)
    line._transport = Wall()  # type: ignore[assignment]
    for piece in pieces:
        line.data_received(piece)
    return line


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=8))
    extensions = draw(st.lists(st.sampled_from([b"", b";a", b";a=b", b';a="b"']), min_size=8, max_size=8))
    trailers = draw(st.sampled_from([b"", b"X-T: 1\r\n", b"X-T: 1\r\nX-U: 2\r\n"]))
    body = b"".join(chunk(*both) for both in zip(chunks, extensions, strict=False))
    said = CHUNKED + body + b"0\r\n" + trailers + b"\r\n" + draw(st.sampled_from([b"", NEXT, b"\0\0"]))
    cuts = sorted(draw(st.sets(st.integers(0, len(said)), max_size=12)))
    return chunks, [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]


def in_order(pieces: list[bytes], chunks: list[bytes]) -> bool:
    """Whether each piece lies in one chunk and nothing is missing."""
    left = [*pieces]
    for whole in chunks:
        got = b""
        while left and len(got) < len(whole):
            got += left.pop(0)
        if got != whole:
            return False
    return not left


@settings(max_examples=400, deadline=None)
@given(streams())
def test_chunks_are_read_wherever_they_are_cut(stream: tuple[list[bytes], list[bytes]]) -> None:
    async def read() -> None:
        line = line_fed(stream[1])
        assert line.complete
        assert line.broken is None
        assert in_order(line.take(), stream[0])
        assert len(line.headers) == 2

    asyncio.run(read())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_what_came_before_a_break_is_given(chunks: list[bytes], data: st.DataObject) -> None:
    body = b"".join(map(chunk, chunks))
    arrived = body[: data.draw(st.integers(0, len(body)))]

    async def read() -> None:
        line = line_fed([CHUNKED + arrived])
        line.connection_lost(None)
        got = b"".join(line.take())
        assert line.broken == "connection lost"
        assert b"".join(chunks).startswith(got)
        assert len(got) >= len(arrived) - 6 * len(chunks)  # all but the framing

    asyncio.run(read())


@settings(max_examples=300, deadline=None)
@given(streams(), st.data())
def test_no_bytes_upset_it(stream: tuple[list[bytes], list[bytes]], data: st.DataObject) -> None:
    said = bytearray(b"".join(stream[1]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(said)))
        junk = data.draw(
            st.sampled_from([b"", b"\0", b"\r", b"\n", b"\r\n\r\n", b":", b"9", b"\xff", b"HTTP/1.1 "])
        )
        said[at : at + data.draw(st.integers(0, 3))] = junk

    async def read() -> None:
        line = line_fed([bytes(said)])
        line.connection_lost(None)
        assert line.complete is (line.broken is None)
        assert line.status in {0, *range(200, 600)}

    asyncio.run(read())


# -- breaks ---------------------------------------------------------------------------------------

NO_ANSWERS = [
    b"",
    b"HTT",
    b"HTTP/1.1 200 OK\r\nX: 1\r\n",
    b"hello\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"ICY 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 1\n\na",
    b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    OK + b"X: a\r\n b\r\n\r\n",
    OK + b"X: a\0b\r\n\r\n",
    OK + b"X: a\rb\r\n\r\n",
    OK + b"X : a\r\n\r\n",
    OK + b"Content-Length: -1\r\n\r\n",
    OK + b"Content-Length: 1 1\r\n\r\na",
    OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
    OK + b"Transfer-Encoding: identity\r\n\r\nabc",
]


@pytest.mark.parametrize("said", NO_ANSWERS)
async def test_what_is_no_answer_breaks(said: bytes) -> None:
    async with talking(said) as backend:
        with pytest.raises(BrokeError):
            await ask(backend.url, "POST", "/", [], b"{}")
        await backend.until_left()


HALVES = [
    (OK + b"Content-Length: 9\r\n\r\nhalf", [b"half"]),
    (CHUNKED + chunk(b"half"), [b"half"]),
    (CHUNKED + chunk(b"half") + b"9\r\nmore", [b"half", b"more"]),
    (CHUNKED + chunk(b"half") + b"0\r\n", [b"half"]),
    (CHUNKED + chunk(b"half") + b"zz\r\n", [b"half"]),
    (CHUNKED + chunk(b"half") + b"2\r\nabc\r\n", [b"half", b"ab"]),
    (CHUNKED + chunk(b"half") + b"0x1\r\na\r\n", [b"half"]),
    (CHUNKED + chunk(b"half") + b"10000000000000000\r\n", [b"half"]),
]


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize(("said", "pieces"), HALVES)
async def test_what_came_is_given_before_the_break(said: bytes, pieces: list[bytes], how: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        if how == "reset":
            await asyncio.sleep(0.005)  # it lies in the other's buffer before the reset comes
            reset(writer)

    async with talking(talk) as backend, asked(backend) as answer:
        await backend.until_left()
        assert await answer.more() == pieces
        with pytest.raises(BrokeError):
            await answer.more()


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**17),
        (OK, b"X-Many: y\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"),
        (CHUNKED + chunk(b"a"), b"5;" + b"e" * 2**17),
        (CHUNKED + b"0\r\n", b"X-Trailer: y\r\n"),
    ],
)
async def test_what_is_no_body_is_bounded(first: bytes, rest: bytes) -> None:
    sent = 0

    async def talk(_: object, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(first)
        while not writer.is_closing():
            writer.write(rest)
            sent += len(rest)
            await writer.drain()

    async with talking(talk) as backend:
        with pytest.raises(BrokeError, match=r"no (body|HTTP)"):
            async with asked(backend) as answer:
                await everything(answer)
        await backend.until_left()
    assert sent < 16 * MB  # what systems' buffers hold, and not for ever
