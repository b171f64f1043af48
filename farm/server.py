"""One HTTP server on a socket we already hold, whose signals are ours and whose end is at once.

A thin subclass of uvicorn's server and of its protocol, which has no bound on a request's head. Made by
`rooms` and by the embedded backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from farm import limits
from farm.asgi import App

_NO_HTTP = (
    b'{"error":"this is no valid HTTP/1.1 request; for one, it has either Content-Length or '
    b'Transfer-Encoding, not both"}'
)


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 by llhttp, whose request heads are bounded in bytes and in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_b = 0
        self._in_head = True
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came; it has to say what it wants."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """It sent something."""
        if self._in_head:
            self._head_b += len(data)
        super().data_received(data)
        if self._in_head and self._head_b > limits.HEAD_MAX_B:
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if not self._in_head:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._in_head, self._head_b = False, 0
        self._stop_waiting()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """What llhttp does not take is answered in the API's own form."""
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json; charset=utf-8\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_NO_HTTP), _NO_HTTP)
        )
        self.transport.close()

    def _await_head(self) -> None:
        self._in_head, self._head_b = True, 0
        self._stop_waiting()
        self._patience = self.loop.call_later(limits.HEAD_S, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Serves `app` on `listener`.

    Args:
        app: an ASGI application.
        listener: a bound socket.
        dated: add a Date header; False for a proxy, which passes on the backend's.
        strict: the fast parser with bounded heads; False for the one that words errors as Go's server does.
    """

    def __init__(self, app: App, listener: socket.socket, *, dated: bool, strict: bool = True) -> None:
        self._listener = listener
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol if strict else "h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                date_header=dated,
                backlog=limits.BACKLOG,
                limit_concurrency=limits.CONNECTIONS_MAX,
                timeout_keep_alive=limits.IDLE_S,
                h11_max_incomplete_event_size=limits.HEAD_MAX_B,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: two servers share the process, and the farm ends them itself."""
        yield

    async def run_on_socket(self) -> None:
        """Serve until `cut`."""
        await self.serve([self._listener])

    async def run_until(self, over: asyncio.Event) -> None:
        """Serve until `over` is set, or this is cancelled."""
        serving = asyncio.create_task(self.run_on_socket())
        waiting = asyncio.create_task(over.wait())
        try:
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            self.cut()
            await serving

    def cut(self) -> None:
        """Stop listening and cut every connection now: a clean end would make half an answer look whole."""
        self.should_exit = True
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
