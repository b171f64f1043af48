"""One request as ASGI sees it: its body comes in, its answer goes out framed for this client.

Knows no routes, no backends and nothing of other requests. Made by `door`, one for each request.
"""

from __future__ import annotations

import asyncio
import http
import logging
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from farm.asgi import PIECES, App, Headers, Message, Scope

_LOG = logging.getLogger(__name__)
_BAD_NAME = re.compile(rb'[\x00-\x20\x7f()<>@,;:\\"/\[\]?={}]')
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BODYLESS = frozenset({204, 304})
_NO_ANSWER = b"Internal Server Error"


class Line(Protocol):
    """What a reply needs of its connection.

    Attributes:
        room: set while the client takes what is sent.
    """

    room: asyncio.Event

    def write(self, data: bytes) -> None:
        """Send."""

    async def drained(self) -> None:
        """Until there is room to send more."""

    def read_on(self) -> None:
        """More of the body is wanted."""

    def answered(self, reply: Reply, *, whole: bool) -> None:
        """The answer is out, or will never be complete."""


class Reply:
    """One request and its answer.

    Args:
        line: the connection.
        scope: ASGI's.
        keep_alive: whether the client wants the connection kept.
        expects: whether it waits for 100 before it sends its body.
        default: headers of every answer.

    Attributes:
        held_b: bytes of its body that nobody has taken yet.
        lost: nobody is there any more to whom the answer could go.
        begun: the answer's head is out.
        complete: the answer is out.
        framed: whether the client can tell a whole answer from a cut one by its framing.
        keep_alive: whether the connection stays after the answer.
    """

    def __init__(
        self, line: Line, scope: Scope, *, keep_alive: bool, expects: bool, default: Headers
    ) -> None:
        self.held_b = 0
        self.lost = self.begun = self.complete = False
        self.framed = True
        self.keep_alive = keep_alive
        self._line = line
        self._scope = scope
        self._expects = expects
        self._default = default
        self._old = scope["http_version"] == "1.0"
        self._body: list[bytes] = []
        self._read = self._end_told = False
        self._news = asyncio.Event()
        self._chunked = self._bodyless = False
        self._left_b: int | None = None
        self._head = b""

    # -- for the door ---------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Some of the request's body; of no use once the answer is out."""
        if not self.complete:
            self._body.append(data)
            self.held_b += len(data)
            self._news.set()

    def end(self) -> None:
        """The request's body is complete."""
        self._read = True
        self._news.set()

    def lose(self) -> None:
        """Nobody waits for the answer any more."""
        self.lost = True
        self._news.set()

    async def run(self, app: App) -> None:
        """Have the application answer; what it leaves unfinished is cut."""
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:  # noqa: BLE001 - whatever an application raises ends its own request alone
            _LOG.exception("%s %s", self._scope["method"], self._scope["target"])
        finally:
            if not self.begun:
                await self._apologise()
            if not self.complete and not self.lost:
                self._flush()
                self.complete = True
                self._line.answered(self, whole=False)

    # -- for the application ----------------------------------------------------------------

    async def receive(self) -> Message:
        """ASGI's: some of the body, or that the client is gone (or has its answer)."""
        if self._expects and not self.begun and not self.lost:
            self._expects = False
            self._line.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.lost or self.complete):
            if self._body or (self._read and not self._end_told):
                self._end_told = self._read
                body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
                self._body, self.held_b = [], 0
                return {"type": "http.request", "body": body, "more_body": not self._read}
            self._line.read_on()
            self._news.clear()
            await self._news.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """ASGI's: the head of the answer, then its body; `PIECES` are several chunks at once."""
        if not self._line.room.is_set():
            await self._line.drained()
        if self.lost:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
        elif not self.begun or self.complete:
            raise RuntimeError(f"{kind} is out of order")
        elif kind == PIECES:
            self._write(message["pieces"], more=True)
        else:
            self._write((message.get("body", b""),), more=message.get("more_body", False))

    # -- framing ----------------------------------------------------------------------------

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self.begun:
            raise RuntimeError("the answer has begun already")
        lines = [_status_line(status, old=self._old)]
        told = None
        for name, value in [*self._default, *headers]:
            if not name or _BAD_NAME.search(name) or _BAD_VALUE.search(value):
                raise RuntimeError("no valid header")
            plain = name.lower()
            if plain == b"content-length":
                told = int(value)
            elif plain == b"connection":  # ours to say; the application can only end it
                self.keep_alive &= b"close" not in value.lower()
                continue
            lines.append(b"%s: %s\r\n" % (name, value))
        if self._expects and not self._read:
            self.keep_alive = False  # it may send its body or not, and what comes next could be either
        self._bodyless = self._scope["method"] == "HEAD" or status in _BODYLESS
        self._left_b = None if self._bodyless else told
        if not self._bodyless and told is None:
            self._chunked = not self._old
            self.framed = self._chunked
            self.keep_alive &= self._chunked
            lines.append(b"transfer-encoding: chunked\r\n" if self._chunked else b"")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif self._old:
            lines.append(b"connection: keep-alive\r\n")
        self.begun = True
        # It goes out with what is written next, or else at once, in this turn of the loop.
        self._head = b"".join([*lines, b"\r\n"])
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self.lost:
            self._line.write(head)

    def _write(self, pieces: Sequence[bytes], *, more: bool) -> None:
        if self._chunked:
            parts = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]
            if not more:
                parts.append(b"0\r\n\r\n")
        else:
            parts = [] if self._bodyless else list(pieces)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        head, self._head = self._head, b""
        if self._left_b is not None:
            self._left_b -= len(data)
            if self._left_b < 0 or (self._left_b and not more):
                self._line.write(head)
                raise RuntimeError("the answer is not as long as its Content-Length")
        if head or data:
            self._line.write(head + data)
        if not more:
            self.complete = True
            self._body, self.held_b = [], 0  # what is left of the request is of no use
            self._news.set()
            self._line.answered(self, whole=True)

    async def _apologise(self) -> None:
        told = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(_NO_ANSWER))]
        await self.send({"type": "http.response.start", "status": 500, "headers": told})
        await self.send({"type": "http.response.body", "body": _NO_ANSWER})


def _status_line(status: int, *, old: bool) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.{0 if old else 1} {status} {phrase}\r\n".encode()
