"""The TCP ports of a node and the HTTP on them: reads requests, writes answers, knows none of their meaning.

h11 reads HTTP/1.1 (it comes with uvicorn); a web framework would take longer to import than the rest of the
node to start. Shell: owns the connections; used by `ports` and `door`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Self

import h11

from relay.nkn.devnode import limits as own
from relay.nkn.devnode.answer import Answer, Asked, malformed
from wire import limits

Responder = Callable[[Asked], Awaitable[Answer | None]]
"""A request → its answer, or None to close without one."""


class Conversation:
    """One connection that speaks HTTP.

    Attributes:
        writer: for those who go on in another protocol.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._http = h11.Connection(h11.SERVER)
        self._rest = b""

    @property
    def rest(self) -> bytes:
        """What was read beyond the last request."""
        return self._http.trailing_data[0]

    async def head(self) -> Asked | None:
        """The next request without its body; None at the end.

        Raises:
            h11.RemoteProtocolError: if it is none; `refuse` tells them.
        """
        self._http, rest = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.READ_B), self.rest
        if rest:
            self._http.receive_data(rest)
        event = await self._next()
        if not isinstance(event, h11.Request):
            return None
        if self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self.writer.write(self._http.send(go_on) or b"")
        headers: dict[str, str] = {}
        for name, value in event.headers:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        peer = self.writer.get_extra_info("peername")
        return Asked(
            event.method.decode(),
            event.target.decode("latin-1"),
            event.http_version.decode(),
            headers,
            peer=peer[0] if peer else "",
        )

    async def body(self) -> bytes:
        """The body after that head; h11.RemoteProtocolError if it is broken or too large."""
        body = bytearray()
        while isinstance(part := await self._next(), h11.Data):
            body += part.data
            if len(body) > own.RPC_MAX_B:
                raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
        return bytes(body)

    async def say(self, asked: Asked, answer: Answer, *, close: bool) -> None:
        """Answer a request."""
        self.writer.write(answer.encode(asked, formatdate(usegmt=True), close=close))
        await self.writer.drain()

    async def refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no request in a real node's words; what is only too large gets no answer."""
        if error.error_status_hint == 400:
            detail = ": missing required Host header" if "Host" in str(error) else ""
            await self.say(Asked("GET"), malformed(detail), close=True)

    async def _next(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self.reader.read(own.READ_B))
        return event


async def answer_once(talk: Conversation, responder: Responder, read_s: float) -> None:
    """Read one request, answer it and be done, as a real node's RPC."""
    try:
        async with asyncio.timeout(read_s):
            asked = await talk.head()
        if asked is None:
            return
        try:
            async with asyncio.timeout(read_s):
                body = await talk.body()
        except TimeoutError:
            answer: Answer | None = Answer(200)
        else:
            answer = await responder(
                Asked(asked.method, asked.target, asked.version, asked.headers, body, asked.peer)
            )
        if answer is not None:
            await talk.say(asked, answer, close=True)
    except TimeoutError:
        return
    except h11.RemoteProtocolError as error:
        await talk.refuse(error)


class Listener:
    """One port; its connections end with it.

    Args:
        serve: what is done with a connection; it is closed afterwards.
    """

    def __init__(self, serve: Callable[[Conversation], Awaitable[None]]) -> None:
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int, context: ssl.SSLContext | None = None) -> Self:
        """Take the port, or a free one for 0; nobody is accepted yet. OSError if that cannot be."""
        self._server = await asyncio.start_server(
            self._accept, host, port, ssl=context, start_serving=False, limit=2 * own.READ_B
        )
        return self

    @property
    def port(self) -> int:
        """The number of the port."""
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def start(self) -> None:
        """Accept connections from now on."""
        await self._server.start_serving()

    async def stop(self) -> None:
        """Close the port, and what is still connected."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(own.STOP_S):
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._converse(Conversation(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, talk: Conversation) -> None:
        try:
            with contextlib.suppress(OSError):
                await self._serve(talk)
        finally:
            talk.writer.close()
            with contextlib.suppress(OSError):
                await talk.writer.wait_closed()
