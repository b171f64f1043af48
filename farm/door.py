"""A client's requests on one connection: parsed by llhttp, handed on one after the other, bounded.

What is no HTTP ends the connection, but never in the middle of an answer to an earlier request. Knows no
routes. Made by the server for each connection; hands each request to a `Reply`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import httptools
import uvicorn
from uvicorn.server import ServerState

from farm import head, limits
from farm.asgi import PIECES, App, Headers, Scope
from farm.head import BadHeadError, Head
from farm.porch import Porch
from farm.reply import Reply

_NO_HTTP = (
    400,
    "this is no valid HTTP/1.1 request; for one, it has either Content-Length or Transfer-Encoding, not both",
)
_TOO_LARGE = (431, f"the head of the request is larger than {limits.HEAD_MAX_B} bytes")


class Door(Porch):
    """One connection of a client.

    Args:
        config: the server's; names the application.
        server_state: the server's; its connections and tasks.
    """

    def __init__(self, config: uvicorn.Config, server_state: ServerState, **_: Any) -> None:
        super().__init__(server_state)
        self._app: App = config.loaded_app
        self._parser = httptools.HttpRequestParser(self)
        self._replies: deque[Reply] = deque()  # not yet answered; the first is being answered
        self._reading: Reply | None = None  # whose body is coming
        self._url = b""
        self._headers: Headers = []
        self._unframed_b = 0  # since the last byte of a body, or the last end of a request
        self._in_head = True
        self._over: Head | None = None  # read already; its offer of another protocol is being passed over
        self._fault = _NO_HTTP  # what it means that the parser stops
        self._refusal: tuple[int, str] | None = None  # to be said when all before it are answered

    # -- for asyncio ----------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        for reply in self._replies:
            reply.lose()

    def data_received(self, data: bytes) -> None:
        """It sent something."""
        if self.deaf:
            return
        self._unframed_b += len(data)
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError:
            if not self.deaf:  # else the parser complains of what stands behind the last request
                self._malformed(self._fault)
            return
        if self._unframed_b > limits.HEAD_MAX_B and not self.deaf:
            self._malformed(_TOO_LARGE)

    # -- for the replies ------------------------------------------------------------------

    def read_on(self) -> None:
        """More of the body is wanted."""
        if len(self._replies) == 1:
            self.transport.resume_reading()

    def answered(self, reply: Reply, *, whole: bool) -> None:
        """The first of the replies is out, or will never be complete."""
        self._replies.remove(reply)
        if not whole:
            self.cut(framed=reply.framed)
        elif not reply.keep_alive:
            self.farewell(heard_out=self._reading is not reply)
        elif self._replies:
            self._start()
        elif self._refusal is not None:
            self.refuse(*self._refusal)
        else:
            self.transport.resume_reading()
            self._wait_for_client()

    # -- for the parser -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._over is None:
            self._url, self._headers = b"", []
            self._in_head = True
            self._wait_for_client()

    def on_url(self, url: bytes) -> None:
        """Some of its target."""
        if self._over is None:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Behind a body it is a trailer, which could pass for what was checked before: dropped."""
        if self._in_head:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        if self._over is not None:
            return
        self._in_head = False
        self.give(None)
        size_b = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)
        if size_b > limits.HEAD_MAX_B:
            self._fault = _TOO_LARGE
            raise ValueError("too large")  # stops the parser
        version = self._parser.get_http_version()
        try:
            found = head.read(self._parser.get_method().decode("ascii"), version, self._url, self._headers)
        except BadHeadError as error:
            self._fault = (400, str(error))
            raise
        self._admit(found)

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        self._unframed_b = 0
        if self._reading is not None:
            self._reading.feed(body)
            if self._reading.held_b > limits.REQUEST_HIGH_B:
                self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """It is complete."""
        reply = self._reading
        if self._over is not None or reply is None:
            return
        self._unframed_b = 0
        self._reading = None
        reply.end()
        self.deaf |= not reply.keep_alive
        if not self._replies:
            self._wait_for_client()

    # -- requests -------------------------------------------------------------------------

    def _parse(self, data: memoryview) -> None:
        while data:
            try:
                return self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                data = data[stopped.args[0] :]
                self._pass_over()
        return None

    def _pass_over(self) -> None:
        """Go on behind a head that offers another protocol, as Java's client does with each first request.

        llhttp stops there and does not read the body. A new parser does, which is told of the body alone.
        """
        assert self._over is not None  # noqa: S101 - see `_admit`
        framing = self._over.framing
        self._parser = httptools.HttpRequestParser(self)
        if framing:
            lines = b"".join(b"%s: %s\r\n" % pair for pair in framing)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % lines)
        self._over = None
        if not framing:
            self.on_message_complete()

    def _admit(self, found: Head) -> None:
        reply = Reply(
            self,
            self._scope(found),
            keep_alive=self._parser.should_keep_alive(),
            expects=found.expects,
            default=self._state.default_headers,
        )
        self._over = found if self._parser.should_upgrade() else None
        self._reading = reply
        self._replies.append(reply)
        if len(self._replies) == 1:
            self._start()
        else:
            self.transport.pause_reading()  # goes on when those before it are answered

    def _start(self) -> None:
        """Have the first one answered."""
        task = self._loop.create_task(self._replies[0].run(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)
        self.read_on()

    def _malformed(self, fault: tuple[int, str]) -> None:
        """What came is no HTTP, and nobody knows what stands behind it."""
        self.deaf = True
        broken, self._reading = self._reading, None
        if broken is not None and broken in self._replies:
            self._replies.remove(broken)
            broken.lose()
            if broken.begun:
                return self.transport.abort()
        self._refusal = fault
        if not self._replies:
            self.refuse(*fault)
        return None

    def _wait_for_client(self) -> None:
        if self._replies:
            self.give(None)
        else:
            self.give(limits.HEAD_S if self._in_head or self._reading else limits.IDLE_S)

    def _end(self, which: str) -> tuple[str, int] | None:
        """Address and port of one end; None where the client is gone already."""
        known = self.transport.get_extra_info(which)
        return (known[0], known[1]) if known else None

    def _scope(self, found: Head) -> Scope:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": found.version,
            "method": found.method,
            "scheme": "http",
            "path": found.path,
            "raw_path": found.raw_path,
            "query_string": found.query,
            "target": found.target.decode("latin-1"),
            "root_path": "",
            "headers": found.headers,
            "client": self._end("peername"),
            "server": self._end("sockname"),
            "extensions": {PIECES: {}},
        }
