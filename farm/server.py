"""One HTTP server on a socket we already hold, whose signals are ours and whose end is at once.

A thin subclass of uvicorn's server, which accepts; what it accepts is a `Door`. Made by `rooms` and by the
embedded backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from farm import limits
from farm.asgi import App
from farm.door import Door


class Server(uvicorn.Server):
    """Serves `app` on `listener`.

    Args:
        app: an ASGI application.
        listener: a bound socket.
        dated: add a Date header; False for a proxy, which passes on the backend's.
        strict: our own door, fast and bounded; False for the one that words errors as Go's server does.
    """

    def __init__(self, app: App, listener: socket.socket, *, dated: bool, strict: bool = True) -> None:
        self._listener = listener
        super().__init__(
            uvicorn.Config(
                app,
                http=Door if strict else "h11",
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
