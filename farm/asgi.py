"""The little of ASGI that the proxy and the adapter share: one exchange, and noticing that the client left.

Raw ASGI instead of a framework's request and response: a chunk sent is a chunk flushed, and a client
that leaves is noticed while the answer is still being made, streamed or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any, Final

from farm import limits

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

PIECES: Final = "farm.response.pieces"
"""A message of ours beside ASGI's: several chunks of an answer, each to stay a chunk, sent at once. A server
that takes it names it in the scope's extensions."""


class ClientLeftError(Exception):
    """The client closed its connection before it had sent its whole request."""


class BodyTooSlowError(ClientLeftError):
    """The request's body comes so slowly that nobody waits for it."""


class BodyTooLargeError(Exception):
    """The request's body is longer than the limit."""


class Exchange:
    """One request and its answer.

    Args:
        scope: the ASGI scope.
        receive: ASGI's.
        send: ASGI's.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: Headers = list(scope["headers"])
        self.target = _target(scope)
        self.begun = False
        self._receive = receive
        self._send = send
        self._several = PIECES in scope.get("extensions", ())
        self._body_read = asyncio.Event()

    @property
    def bodied(self) -> bool:
        """Whether the request announces a body."""
        return any(self.header(name) is not None for name in (b"content-length", b"transfer-encoding"))

    def header(self, name: bytes) -> bytes | None:
        """The first header of that lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    async def body_chunks(self) -> AsyncIterator[bytes]:
        """The request's body as it comes.

        Raises:
            ClientLeftError: it will never be complete.
        """
        more = not self._body_read.is_set()
        left_s = limits.BODY_WAIT_S
        while more:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(left_s):
                    message = await self._receive()
            except TimeoutError:
                raise BodyTooSlowError from None
            # The time in which its reader does not ask for more is not the client's.
            left_s += len(message.get("body", b"")) / limits.BODY_RATE_B - (time.monotonic() - begun)
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            more = message.get("more_body", False)
            if not more:
                self._body_read.set()
            if message.get("body"):
                yield message["body"]

    async def body(self, limit_b: int) -> bytes:
        """The whole body.

        Raises:
            BodyTooLargeError: it is longer than `limit_b` bytes; the rest is not read.
            ClientLeftError: it will never be complete.
        """
        pieces: list[bytes] = []
        size = 0
        async for piece in self.body_chunks():
            size += len(piece)
            if size > limit_b:
                raise BodyTooLargeError
            pieces.append(piece)
        return b"".join(pieces)

    async def unless_left(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, which writes the answer; cancel it as soon as the client is gone."""
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self._left())
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError, ClientLeftError):
                await working

    async def begin(self, status: int, headers: Headers) -> None:
        """Send status line and headers."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, data: bytes) -> None:
        """Send one chunk, at once."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def pieces(self, data: Sequence[bytes]) -> None:
        """Send several chunks, at once."""
        if self._several:
            return await self._send({"type": PIECES, "pieces": data})
        for piece in data:
            await self.piece(piece)
        return None

    async def end(self, data: bytes = b"") -> None:
        """Send the last chunk and the end of the answer. Without it the connection is cut."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def whole(self, status: int, content_type: str, data: bytes, *extra: tuple[bytes, bytes]) -> None:
        """Send a complete answer; long ones without a Content-Length, as Go's server does it."""
        headers = [(b"content-type", content_type.encode()), *extra]
        if len(data) <= limits.WHOLE_MAX_B:
            headers.append((b"content-length", str(len(data)).encode()))
        await self.begin(status, headers)
        await self.end(data)

    async def _left(self) -> None:
        # Two readers of one `receive` would steal each other's messages: first the body, then the watch.
        await self._body_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _target(scope: Scope) -> str:
    """Path and query as the client wrote them."""
    if "target" in scope:
        return str(scope["target"])
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return (path + b"?" + query if query else path).decode("latin-1")
