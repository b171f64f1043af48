"""The ports of a node: JSON-RPC, websocket, websocket with TLS. Opened first, served when all are open.

Shell; used by `server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.http11 import Request, Response

from relay.nkn.devnode import limits as own
from relay.nkn.devnode import rpcserver
from relay.nkn.devnode.link import NodeConnection
from wire import limits

Admit = Callable[[ServerConnection, Request], Awaitable[Response | None]]


class Serve(Protocol):
    """What takes a websocket."""

    async def __call__(self, connection: ServerConnection, *, tls: bool) -> None:
        """Serve it until it is gone."""
        ...


class PortTaken(OSError):
    """A port that cannot be listened on.

    Attributes:
        option: which it was: rpc_port, ws_port or wss_port.
    """

    def __init__(self, option: str, host: str, port: int, error: OSError) -> None:
        super().__init__(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno) if error.errno else error}"
        )
        self.option = option


class Ports:
    """What one node listens on, all on the same host; port 0 takes a free one."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._servers: list[Server | asyncio.Server] = []

    async def rpc(self, port: int, responder: rpcserver.Responder) -> int:
        """Open the JSON-RPC port; return its number."""
        return await self._open("rpc_port", port, rpcserver.serve(self._host, port, responder))

    async def websocket(
        self, port: int, serve: Serve, admit: Admit, context: ssl.SSLContext | None = None
    ) -> int:
        """Open a websocket port; return its number."""
        opening = serve_websocket(
            partial(serve, tls=context is not None),
            self._host,
            port,
            ssl=context,
            compression=None,
            max_size=limits.NODE_FRAME_MAX_B,
            ping_interval=None,
            close_timeout=own.STOP_S,
            process_request=admit,
            create_connection=NodeConnection,
            logger=_quiet(),
            start_serving=False,
        )
        return await self._open("wss_port" if context else "ws_port", port, opening)

    async def start(self) -> None:
        """Accept connections from now on."""
        for server in self._servers:
            await server.start_serving()

    async def stop(self) -> None:
        """Close all ports; wait a little for those who are still inside."""
        for server in self._servers:
            server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(own.STOP_S):
                await asyncio.gather(*(server.wait_closed() for server in self._servers))
        self._servers = []

    async def _open(self, option: str, port: int, opening: Awaitable[Server | asyncio.Server]) -> int:
        try:
            server = await opening
        except OSError as error:
            raise PortTaken(option, self._host, port, error) from error
        self._servers.append(server)
        number: int = next(iter(server.sockets)).getsockname()[1]
        return number


def _quiet() -> logging.Logger:
    # Handshakes that fail are clients' business; tracebacks about them would only frighten.
    logger = logging.getLogger("relay.nkn.devnode.websocket")
    logger.setLevel(logging.CRITICAL)
    return logger
