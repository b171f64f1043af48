"""One HTTP/1.1 request to a backend, and its answer as it comes: chunk by chunk, nothing lost at a break.

The parser is llhttp by `httptools`; client libraries gather chunks, drop what had arrived when a connection
breaks, or cost more than the rest of the front. Called by `passage`.

A connection that `spares` kept may have been closed by the backend at that very moment: what then breaks
off at once, before a byte of an answer, is asked again on a new one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from urllib.parse import urlsplit

from farm import limits
from farm.backline import BrokeError, Line
from farm.spares import Spares

Headers = Sequence[tuple[bytes, bytes]]
_LENGTH = b"Content-Length: %d\r\n\r\n"


class RefusedError(Exception):
    """Nobody listens there, or it does not take connections."""


class Answer:
    """An answer as it comes. Close it, whatever happens.

    Attributes:
        status: its status.
        headers: as the backend wrote them.
    """

    def __init__(self, line: Line, sending: asyncio.Task[None] | None, spares: Spares | None) -> None:
        self.status = line.status
        self.headers: list[tuple[bytes, bytes]] = line.headers
        self._line = line
        self._sending = sending
        self._spares = spares

    def header(self, name: bytes) -> bytes | None:
        """The first header of that lower-case name."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    async def more(self) -> list[bytes]:
        """What has come of the body since: chunks, or what has come of a large one; none at the end.

        Raises:
            BrokeError: it broke off; whatever had come was given before.
        """
        line = self._line
        while not line.pieces:
            if line.complete:
                return []
            if line.broken is not None:
                raise BrokeError(line.broken)
            await line.news()
        return line.take()

    def close(self) -> None:
        """Be done with it: an answer that is not whole is cut off, and the backend notices at once."""
        sent = self._sending is None or self._sending.done()
        spares, self._spares = self._spares, None
        if spares is not None and sent and self._line.reusable:
            spares.give(self._line)
            return
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
    spares: Spares | None = None,
) -> Answer:
    """Send a request; its answer, once status and headers are there.

    Args:
        url: of the backend, http://host:port.
        method: of the request.
        target: path and query as they are to stand in the request line.
        headers: without Host and those about the body's length and the connection.
        content: the body: whole, in pieces, or none.
        length: bytes of a body in pieces, when that is known.
        spares: connections to that backend that may be used again.

    Raises:
        RefusedError: nobody listens there.
        BrokeError: it broke off before it answered.
        Exception: whatever `content` raises.
    """
    parts = urlsplit(url)
    assert parts.hostname and parts.port  # noqa: S101,PT018 - the farm's own URLs name both
    head = [f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n".encode("latin-1")]
    head += [b"%s: %s\r\n" % pair for pair in headers]
    bodyless = method == "HEAD"
    # A body in pieces cannot be sent a second time.
    again = content is None or isinstance(content, bytes)
    kept = spares.take() if spares is not None and again else None
    if kept is not None:
        kept.renew(bodyless=bodyless)
        answer = await _ask(kept, head, content, length, spares)
        if answer is not None:
            return answer
    try:
        async with asyncio.timeout(limits.CONNECT_S):
            _, line = await asyncio.get_running_loop().create_connection(
                lambda: Line(bodyless=bodyless), parts.hostname, parts.port
            )
    except (OSError, TimeoutError) as error:
        raise RefusedError(url) from error
    fresh = await _ask(line, head, content, length, spares, fresh=True)
    assert fresh is not None  # noqa: S101 - a new connection that breaks off raises
    return fresh


async def _ask(
    line: Line,
    head: list[bytes],
    content: bytes | AsyncIterable[bytes] | None,
    length: int | None,
    spares: Spares | None,
    *,
    fresh: bool = False,
) -> Answer | None:
    """The answer on that connection; None where a kept one turns out to be closed."""
    began = time.monotonic()
    sending = _begin(line, [*head], content, length)
    try:
        await _headed(line)
    except BaseException as error:
        if sending is not None:
            sending.cancel()
        line.close()
        stale = not fresh and line.untouched and time.monotonic() - began < limits.STALE_S
        if stale and isinstance(error, BrokeError):
            return None
        raise
    return Answer(line, sending, spares)


def _begin(
    line: Line, head: list[bytes], content: bytes | AsyncIterable[bytes] | None, length: int | None
) -> asyncio.Task[None] | None:
    """Send the head and a short body; the task that sends a long one."""
    if content is None:
        line.write(b"".join([*head, b"\r\n"]))
        return None
    if isinstance(content, bytes):
        length = len(content)
    head.append(b"Transfer-Encoding: chunked\r\n\r\n" if length is None else _LENGTH % length)
    if isinstance(content, bytes) and len(content) <= limits.COURIER_SLICE_B:
        line.write(b"".join([*head, content]))
        return None
    line.write(b"".join(head))
    pieces = _slices(content) if isinstance(content, bytes) else content
    sending = asyncio.create_task(_send(line, pieces, chunked=length is None))
    sending.add_done_callback(line.sent)
    return sending


async def _headed(line: Line) -> None:
    """Wait for the answer's head."""
    while not line.headed:
        if line.error is not None:
            raise line.error  # the client's own failure counts before the backend's silence
        if line.broken is not None:
            raise BrokeError(line.broken)
        await line.news()


async def _send(line: Line, content: AsyncIterable[bytes], *, chunked: bool) -> None:
    async for piece in content:
        if piece:
            line.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            await line.drained()
        if line.gone:
            return  # the answer says why, or that it broke off
    if chunked:
        line.write(b"0\r\n\r\n")


async def _slices(content: bytes) -> AsyncIterator[bytes]:
    """A large body bit by bit, so that no second copy of it lies about."""
    for at in range(0, len(content), limits.COURIER_SLICE_B):
        yield content[at : at + limits.COURIER_SLICE_B]


__all__ = ["Answer", "BrokeError", "RefusedError", "ask"]
