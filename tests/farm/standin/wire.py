"""HTTP/1.1 over one connection as Go's server speaks it. Each chunk, header, half close and cut is ours.

It knows no routes. Content-Length beside Transfer-Encoding: the latter counts and the connection is kept,
which makes the stand-in a victim that shows whether something before it lets requests be smuggled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus

HEAD_MAX_B = 1_052_672
"""Go reads 1 MiB of headers and a page more."""
WHOLE_MAX_B = 2048
"""A body up to this size has a length, a longer one comes as one chunk."""
Headers = Iterable[tuple[str, str]]


class Malformed(Exception):
    """A request that Go's server refuses before any route: status and text of the answer."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(status, text)
        self.status, self.text = status, text


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are as sent; `cut`: the client stopped within the body."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    cut: bool
    connection: int

    def every(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def header(self, name: str) -> str | None:
        return next(iter(self.every(name)), None)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def last(self) -> bool:
        """Whether the connection ends with it."""
        told = (self.header("connection") or "").lower()
        return "close" in told or (self.version == "HTTP/1.0" and "keep-alive" not in told)


class Connection:
    """`awake` is awaited before anything is sent or read: a server that is stopped does neither."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
        awake: Callable[[], Awaitable[None]],
    ) -> None:
        self._reader, self._writer = reader, writer
        self.number = number
        self._awake = awake
        self._kept = bytearray()
        self.chunks = 0
        """Chunks sent."""

    # -- in ------------------------------------------------------------------------------------------

    async def request(self, refused: Callable[[Request], bool]) -> Request | None:
        """The next request; None at the end. A body that is `refused` is not asked for with 100."""
        head = await self._head()
        if head is None:
            return None
        request = _parsed(head, self.number)
        expected = request.header("expect")
        if expected is not None and expected.lower() != "100-continue":
            raise Malformed(417)
        if expected is not None:
            if refused(request):
                return replace(request, headers=(*request.headers, ("Connection", "close")))
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            return replace(request, body=await self._body(request))
        except EOFError:
            return replace(request, cut=True)

    async def watch(self, left: asyncio.Event) -> None:
        """Set `left` when the client ends its side. Go reads one byte ahead: bytes of a next request end
        the watch."""
        if not self._kept and not await self._more():
            left.set()

    async def _more(self) -> bool:
        await self._awake()
        try:
            data = await self._reader.read(65536)
        except OSError:
            data = b""
        self._kept += data
        return bool(data)

    async def _head(self) -> bytes | None:
        while (end := self._kept.find(b"\r\n\r\n")) < 0:
            if len(self._kept) > HEAD_MAX_B:
                raise Malformed(431)
            if not await self._more():
                return None
        head = bytes(self._kept[:end])
        del self._kept[: end + 4]
        if len(head) > HEAD_MAX_B:
            raise Malformed(431)
        return head

    async def _line(self) -> bytes:
        while (end := self._kept.find(b"\r\n")) < 0:
            if not await self._more():
                raise EOFError
        line = bytes(self._kept[:end])
        del self._kept[: end + 2]
        return line

    async def _exactly(self, size: int) -> bytes:
        while len(self._kept) < size:
            if not await self._more():
                raise EOFError
        data = bytes(self._kept[:size])
        del self._kept[:size]
        return data

    async def _body(self, request: Request) -> bytes:
        if request.header("transfer-encoding") is None:
            return await self._exactly(int(request.header("content-length") or 0))
        parts: list[bytes] = []
        try:
            while size := int((await self._line()).partition(b";")[0], 16):
                parts.append(await self._exactly(size))
                await self._line()
        except ValueError:
            raise Malformed(400) from None
        while await self._line():
            pass
        return b"".join(parts)

    # -- out -----------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        await self._awake()
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError:
            return  # the client is gone; the watch tells it

    async def refuse(self, malformed: Malformed) -> None:
        """Go's own refusal; the connection ends with it."""
        told = malformed.text or f"{malformed.status} {HTTPStatus(malformed.status).phrase}"
        lines = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")]
        if malformed.status == 417:
            told, lines = "", [("Connection", "close"), ("Content-Length", "0")]
        await self.send(f"{_status_line('HTTP/1.1', malformed.status)}{_lines(lines)}\r\n{told}".encode())

    def cut(self) -> None:
        """As the kernel ends the sockets of a killed process."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return


class Answer:
    """The answer to one request: whole, or a head and then chunks."""

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection, self._request = connection, request
        self.begun = False
        self.cors: list[tuple[str, str]] = []

    async def whole(self, status: int, headers: Headers, body: bytes, *, chunked: bool = False) -> None:
        if self._request.method != "HEAD" and (chunked or len(body) > WHOLE_MAX_B):
            await self.head(status, headers)
            await self.chunk(body)
            await self.end()
            return
        self.begun = True
        bare = status in {204, 304}
        framing = [] if bare else [("Content-Length", str(len(body)))]
        told = b"" if self._request.method == "HEAD" or bare else body
        await self._connection.send(self._head(status, [*headers, *framing]) + told)

    async def bare(self, status: int) -> None:
        """A head without any framing."""
        self.begun = True
        await self._connection.send(self._head(status, []))

    def cut(self) -> None:
        self._connection.cut()

    async def head(self, status: int, headers: Headers) -> None:
        self.begun = True
        framing = [("Transfer-Encoding", "chunked")] if self._chunked else []
        await self._connection.send(self._head(status, [*headers, *framing]))

    async def chunk(self, data: bytes) -> None:
        await self._connection.send(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)
        self._connection.chunks += 1

    async def end(self) -> None:
        if self._chunked:
            await self._connection.send(b"0\r\n\r\n")

    @property
    def _chunked(self) -> bool:
        return self._request.version != "HTTP/1.0"

    def _head(self, status: int, headers: Headers) -> bytes:
        told = [*headers, *self.cors, ("Date", formatdate(usegmt=True))]
        if self._request.last and self._chunked:
            told.append(("Connection", "close"))
        return f"{_status_line(self._request.version, status)}{_lines(told)}\r\n".encode("latin-1")


def _lines(headers: Headers) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers)


def _status_line(version: str, status: int) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = f"status code {status}"
    return f"{version} {status} {phrase}\r\n"


def _parsed(head: bytes, connection: int) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or parts[2] not in {"HTTP/1.1", "HTTP/1.0"}:
        raise Malformed(400)
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Malformed(400)
        headers.append((name, value.strip(" \t")))
    request = Request(parts[0], parts[1], parts[2], tuple(headers), b"", cut=False, connection=connection)
    if parts[2] == "HTTP/1.1" and not request.every("host"):
        raise Malformed(400, "400 Bad Request: missing required Host header")
    if any(value.lower() != "chunked" for value in request.every("transfer-encoding")):
        raise Malformed(501, "Unsupported transfer encoding")
    lengths = set(request.every("content-length"))
    if len(lengths) > 1 or any(not value.isdigit() for value in lengths):
        raise Malformed(400)
    return request
