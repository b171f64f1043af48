"""One HTTP/1.1 request to a backend, and its answer as it comes: chunk by chunk, nothing lost at a break.

The parser is llhttp by `httptools`; client libraries gather chunks, drop what had arrived when a connection
breaks, or cost more than the rest of the front. One connection for each request: a backend closes idle
ones when it likes, and a request on such a connection would fail at random. Called by `passage`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from urllib.parse import urlsplit

import httptools

from farm import limits

Headers = Sequence[tuple[bytes, bytes]]


class RefusedError(Exception):
    """Nobody listens there, or it does not take connections."""


class BrokeError(Exception):
    """It broke off, or what it sent is no HTTP; says which."""


class Answer:
    """An answer as it comes. Close it, whatever happens.

    Attributes:
        status: its status.
        headers: as the backend wrote them.
    """

    def __init__(self, line: _Line, sending: asyncio.Task[None] | None) -> None:
        self.status = line.status
        self.headers: list[tuple[bytes, bytes]] = line.headers
        self._line = line
        self._sending = sending

    def header(self, name: bytes) -> bytes | None:
        """The first header of that lower-case name."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body: a chunk, or what has come of a large one, at a time.

        Raises:
            BrokeError: it broke off; whatever had come was given before.
        """
        line = self._line
        while True:
            while line.pieces:
                yield line.take()
            if line.complete:
                return
            if line.broken is not None:
                raise BrokeError(line.broken)
            await line.wait()

    def close(self) -> None:
        """Close the connection now; the backend notices at once."""
        if self._sending is not None:
            self._sending.cancel()
        self._line.close()


async def ask(
    url: str,
    method: str,
    target: str,
    headers: Headers,
    content: bytes | AsyncIterable[bytes] | None,
    *,
    length: int | None = None,
) -> Answer:
    """Send a request; its answer, once status and headers are there.

    Args:
        url: of the backend, http://host:port.
        method: of the request.
        target: path and query as they are to stand in the request line.
        headers: without Host and those about the body's length and the connection.
        content: the body: whole, in pieces, or none.
        length: bytes of a body in pieces, when that is known.

    Raises:
        RefusedError: nobody listens there.
        BrokeError: it broke off before it answered.
        Exception: whatever `content` raises.
    """
    parts = urlsplit(url)
    assert parts.hostname and parts.port  # noqa: S101,PT018 - the farm's own URLs name both
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limits.CONNECT_S):
            _, line = await loop.create_connection(lambda: _Line(method), parts.hostname, parts.port)
    except (OSError, TimeoutError) as error:
        raise RefusedError(url) from error
    sending: asyncio.Task[None] | None = None
    try:
        head = [f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n".encode("latin-1")]
        head += [b"%s: %s\r\n" % pair for pair in headers]
        if content is None or isinstance(content, bytes):
            if content is not None:
                head.append(b"Content-Length: %d\r\n" % len(content))
            line.write(b"".join([*head, b"\r\n", content or b""]))
        else:
            framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
            line.write(b"".join([*head, framing, b"\r\n\r\n"]))
            sending = asyncio.create_task(_send(line, content, chunked=length is None))
        await _headed(line, sending)
    except BaseException:
        if sending is not None:
            sending.cancel()
            with contextlib.suppress(BaseException):
                await sending
        line.close()
        raise
    return Answer(line, sending)


async def _headed(line: _Line, sending: asyncio.Task[None] | None) -> None:
    """Wait for the answer's head."""
    while not line.headed:
        if line.broken is not None:
            raise BrokeError(line.broken)
        if sending is not None and sending.done():
            sending.result()  # the client's own failure counts before the backend's silence
        if sending is None or sending.done():
            await line.wait()
        else:
            waiting = asyncio.ensure_future(line.wait())
            try:
                await asyncio.wait({waiting, sending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()


async def _send(line: _Line, content: AsyncIterable[bytes], *, chunked: bool) -> None:
    async for piece in content:
        if piece:
            line.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            await line.drain()
    if chunked:
        line.write(b"0\r\n\r\n")


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: deque[bytes] = deque()
        self.headed = self.complete = False
        self.broken: str | None = None
        self._bodyless = method == "HEAD"
        self._until_end = False
        self._held_b = 0
        self._paused = False
        self._parser = httptools.HttpResponseParser(self)
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._transport: asyncio.Transport | None = None

    # -- for `Answer` and `ask` -----------------------------------------------------------

    async def wait(self) -> None:
        """Until something has come."""
        await self._news.wait()
        self._news.clear()

    def take(self) -> bytes:
        """The next piece."""
        piece = self.pieces.popleft()
        self._held_b -= len(piece)
        if self._paused and self._held_b < limits.COURIER_LOW_B and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def write(self, data: bytes) -> None:
        """Send."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Until there is room to send more."""
        await self._room.wait()

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    # -- for asyncio ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Something came."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                self.broken = f"no HTTP: {type(error).__name__}"
                self.close()
        self._news.set()
        if self._held_b > limits.COURIER_HIGH_B and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """It will send no more."""
        if self._until_end and self.headed:
            self.complete = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if not self.complete and self.broken is None:
            self.broken = "connection lost" if exc is None else type(exc).__name__
        self._room.set()
        self._news.set()

    def pause_writing(self) -> None:
        """Its receive buffer is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._room.set()

    # -- for the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A status line begins."""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there; one with a status of 1xx is not yet the answer."""
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self.headed = True
            names = {name.lower() for name, _ in self.headers}
            self._until_end = not names & {b"content-length", b"transfer-encoding"}
            self.complete = self._bodyless or self.status in {204, 304}

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if not self.complete:
            self.pieces.append(body)
            self._held_b += len(body)

    def on_message_complete(self) -> None:
        """The end of the body."""
        self.complete = self.complete or self.headed
