"""A connection to a backend: one answer parsed as it comes, bounded, and its end told from a break.

Knows nothing of what is asked. Made by the `courier`; carries another request only after an answer that was
whole, on a connection that both ends mean to keep (`spares`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os

import httptools

from farm import limits


class BrokeError(Exception):
    """It broke off, or what it sent is no HTTP; says which."""


class Line(asyncio.Protocol):
    """One connection.

    Args:
        bodyless: whether the answer has no body, whatever its headers say: the request's method is HEAD.

    Attributes:
        status: of the answer.
        headers: of the answer, as they were written.
        headed: status and headers are there.
        pieces: what has come of the body and was not taken yet.
        complete: the whole answer has come; what stands behind it is nobody's.
        broken: why it will never be complete, or None.
        error: what kept the request from being sent whole, or None.
        untouched: nothing has come since the request.
    """

    def __init__(self, *, bodyless: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._waiting: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._transport: asyncio.Transport | None = None
        self.renew(bodyless=bodyless)

    # -- for `courier` --------------------------------------------------------------------

    def renew(self, *, bodyless: bool) -> None:
        """Be ready for another answer."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.headed = self.complete = False
        self.untouched = True
        self.broken: str | None = None
        self.error: BaseException | None = None
        self._bodyless = bodyless
        self._until_end = False
        self._held_b = 0
        self._unframed_b = 0  # since the last byte of the body
        self._parser = httptools.HttpResponseParser(self)
        self._has_news = False
        self._kept = False
        self._soiled = False  # something came behind the answer

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: the answer is whole, read, and nothing stands behind it."""
        clean = self._kept and not self._soiled and not self.pieces and not self._paused
        return clean and self.error is None and not self.gone

    async def news(self) -> None:
        """Until something has happened since the last time. For one waiter."""
        if not self._has_news:
            self._waiting = self._loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        self._has_news = False

    def take(self) -> list[bytes]:
        """The pieces that have come."""
        pieces, self.pieces = self.pieces, []
        self._held_b = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return pieces

    def write(self, data: bytes) -> None:
        """Send."""
        if self._transport is not None and not self.gone:
            self._transport.write(data)

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport is None or self._transport.is_closing()

    async def drained(self) -> None:
        """Until there is room to send more."""
        await self._room.wait()

    def sent(self, sending: asyncio.Task[None]) -> None:
        """The request's body is sent, or never will be."""
        if not sending.cancelled() and sending.exception() is not None:
            self.error = sending.exception()
            self._fail("the request's body ended early")

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    # -- for asyncio ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._read(data)
        if self._held_b > limits.COURIER_HIGH_B and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """It will send no more."""
        if self._until_end and self.headed and self.broken is None:
            self.complete = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if exc is not None and not self.complete and self.broken is None:
            self._rescue()
        if not self.complete and self.broken is None:
            self.broken = "connection lost" if exc is None else type(exc).__name__
        self._room.set()
        self._tell()

    def pause_writing(self) -> None:
        """Its receive buffer is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._room.set()

    # -- for the parser -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A status line begins; one with a status of 1xx is not yet the answer."""
        if not self.headed:
            self.headers = []
        self._soiled |= self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Those behind a body are none: whoever is to read the head has done so."""
        if not self.headed:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A head is there."""
        status = self._parser.get_status_code()
        if self.headed or status < 200:
            return
        names = {name.lower(): value.strip().lower() for name, value in self.headers}
        if status > 599 or names.get(b"transfer-encoding", b"chunked") != b"chunked":
            raise ValueError("nothing that could be handed on")  # stops the parser
        self.status, self.headed = status, True
        self.complete = self._bodyless or status in {204, 304}
        self._until_end = not self.complete and not names.keys() & {b"content-length", b"transfer-encoding"}

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if not self.complete:
            self.pieces.append(body)
            self._held_b += len(body) + limits.COURIER_PIECE_B
            self._unframed_b = 0

    def on_message_complete(self) -> None:
        """The end of the body, or of an answer that is not yet the one."""
        if not self.headed:
            return
        self.complete = True
        self._kept = not (self._bodyless or self._until_end) and self._parser.should_keep_alive()

    # -- inside ---------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        self.untouched = False
        if self.complete or self.broken is not None:
            self._soiled = True
            return
        self._unframed_b += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                self._fail(f"no HTTP: {type(error).__name__}")
        if not self.complete and self._unframed_b > limits.HEAD_MAX_B:
            self._fail(f"more than {limits.HEAD_MAX_B} bytes that are no body")
        self._tell()

    def _fail(self, why: str) -> None:
        if not self.complete and self.broken is None:
            self.broken = why
        self.close()
        self._tell()

    def _tell(self) -> None:
        self._has_news = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _rescue(self) -> None:
        """Read what had come before a reset that was noticed while a request was being sent.

        asyncio drops it. A backend that refuses a long body answers, and closes before it has read all.
        """
        assert self._transport is not None  # noqa: S101 - it was made
        number = self._transport.get_extra_info("socket").fileno()
        with contextlib.suppress(OSError):  # also where sockets are no files
            while self.broken is None and not self.complete and self._held_b < limits.COURIER_HIGH_B:
                data = os.read(number, limits.COURIER_SLICE_B)
                if not data:
                    break
                self._read(data)
