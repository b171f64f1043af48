"""Connections: taken, looked at, answered, bounded. The only module with a loop.

Called by `server` with a bound socket, a TLS context and what answers; knows neither files nor names.
The first byte is looked at before TLS takes the socket, so that whoever speaks plain HTTP is told where to
go.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import itertools
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import cast

import bounds
from answers import Reply, hint, refused
from asked import Asked, Refusal, take
from bounds import Patience

_HANDSHAKE = b"\x16"
"""The first byte of every TLS connection (RFC 8446 §5.1)."""


class Doorman:
    """Serves one listening socket.

    Args:
        answer: what a request is answered with; raises nothing.
        url: the https URL for an address of ours and a port, for those who come without TLS.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        answer: Callable[[Asked], Reply],
        url: Callable[[str, int], str],
        patience: Patience | None = None,
    ) -> None:
        self._listener = listener
        self._context = context
        self._answer = answer
        self._url = url
        self._patience = patience or Patience()
        self._open: dict[asyncio.Task[None], None] = {}
        """Connections; the one without progress for longest first."""
        self._bare: set[socket.socket] = set()
        """Those TLS has not taken yet; the others are closed by their transports alone."""
        self._taken = self._evicted = 0

    def statistics(self) -> dict[str, int]:
        """Connections open now, taken so far, and closed to make room."""
        return {"open": len(self._open), "taken": self._taken, "evicted": self._evicted}

    async def run(self) -> None:
        """Serve until cancelled; then every connection ends at once."""
        try:
            while True:
                connection = await self._accept()
                task = asyncio.create_task(self._connection(connection))
                self._taken += 1
                self._make_room()
                self._open[task] = None
                self._bare.add(connection)
                task.add_done_callback(functools.partial(self._ended, connection))
                await asyncio.sleep(0)  # those that are open come first
        finally:
            left = list(self._open)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _accept(self) -> socket.socket:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                await _readable(self._listener)
            except (ConnectionAbortedError, InterruptedError):
                continue
            except OSError:  # no descriptors left
                await asyncio.sleep(bounds.ACCEPT_PAUSE_S)
            else:
                connection.setblocking(False)
                return connection

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._open.pop(task, None)
        if connection in self._bare:  # also where the task was cancelled before it began
            self._bare.remove(connection)
            connection.close()

    def _make_room(self) -> None:
        while len(self._open) >= self._patience.connections:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
            self._evicted += 1

    def _progress(self) -> None:
        """This connection got on: it goes to the end of those that may be closed."""
        task = asyncio.current_task()
        if task in self._open:
            del self._open[task]
            self._open[task] = None

    async def _connection(self, connection: socket.socket) -> None:
        # A handshake that fails, a reset, a deadline: the connection ends, and that is all there is to do.
        with contextlib.suppress(OSError):
            async with asyncio.timeout(self._patience.handshake_s):
                if await _first_byte(connection) == _HANDSHAKE:
                    reader, writer = await self._secure(connection)
                else:
                    return await self._tell(connection)
            try:
                await self._talk(reader, writer)
                writer.close()
                await writer.wait_closed()
            finally:
                writer.transport.abort()

    async def _secure(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(bounds.READ_B)
        protocol = _Protocol(reader)
        self._bare.remove(connection)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._patience.handshake_s,
                ssl_shutdown_timeout=self._patience.close_s,
            )
        except BaseException:
            protocol.give_up()
            raise
        transport.set_write_buffer_limits(bounds.PIECE_B)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests and answers until one of the two ends it."""
        data = b""
        while True:
            try:
                found = await self._head(reader, data)
            except Refusal as refusal:
                await self._send(writer, refused(refusal))
                return await _linger(lambda: reader.read(bounds.READ_B))
            if found is None:
                return None
            asked, data = found
            self._progress()
            reply = self._answer(asked)
            await self._send(writer, reply, headless=asked.method == "HEAD")
            if reply.close:
                return await _linger(lambda: reader.read(bounds.READ_B)) if asked.body or data else None

    async def _head(self, reader: asyncio.StreamReader, data: bytes) -> tuple[Asked, bytes] | None:
        """The next request, and what came behind it; None when the other side has had enough.

        Raises:
            Refusal: it is no request, or it does not come to an end.
        """
        if not data:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience.idle_s):
                    data = await reader.read(bounds.READ_B)
        try:
            async with asyncio.timeout(self._patience.head_s):
                while data and (found := take(data)) is None:
                    more = await reader.read(bounds.READ_B)
                    data = data + more if more else b""
                return found if data else None
        except TimeoutError as error:
            raise Refusal(408, "The request did not come to an end in time.") from error

    async def _send(self, writer: asyncio.StreamWriter, reply: Reply, *, headless: bool = False) -> None:
        body = b"" if headless else reply.body
        starts = range(0, len(body), bounds.PIECE_B)
        for piece in itertools.chain([reply.head(_now())], (body[at : at + bounds.PIECE_B] for at in starts)):
            writer.write(piece)
            async with asyncio.timeout(self._patience.piece_s):
                await writer.drain()
            self._progress()

    async def _tell(self, connection: socket.socket) -> None:
        """Say where the site is to whoever came without TLS; never by a name they sent."""
        loop = asyncio.get_running_loop()
        data = await loop.sock_recv(connection, bounds.READ_B)
        if data:
            reply = hint(self._url(*connection.getsockname()[:2]))
            body = b"" if data.startswith(b"HEAD ") else reply.body
            await loop.sock_sendall(connection, reply.head(_now()) + body)
            connection.shutdown(socket.SHUT_WR)
            await _linger(lambda: loop.sock_recv(connection, bounds.READ_B))


class _Protocol(asyncio.StreamReaderProtocol):
    """Lets go of a connection that nobody waits for any more.

    When the wait for a handshake is cancelled, asyncio says goodbye in order if it was just done, and lets it
    go on if it had not begun; either way the other side would be kept for long.
    """

    _made: asyncio.WriteTransport | None = None
    _given_up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._made = cast("asyncio.WriteTransport", transport)
        if self._given_up:
            self._made.abort()

    def give_up(self) -> None:
        """Abort, now or as soon as there is something to abort."""
        self._given_up = True
        if self._made is not None:
            self._made.abort()


async def _first_byte(connection: socket.socket) -> bytes:
    """Look at it without taking it; empty when the other side closed."""
    while True:
        await _readable(connection)
        with contextlib.suppress(BlockingIOError, InterruptedError):
            return connection.recv(1, socket.MSG_PEEK)


async def _readable(waited: socket.socket) -> None:
    """Wait until a socket has something; nothing is taken that a cancellation could lose."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(waited, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(waited)


async def _linger(read: Callable[[], Awaitable[bytes]]) -> None:
    """Drop what still comes, for a moment, so that a refusal is not lost in a reset."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(bounds.LINGER_MAX_S):
            while True:
                async with asyncio.timeout(bounds.LINGER_S):
                    if not await read():
                        return


def _now() -> str:
    return email.utils.formatdate(usegmt=True)
