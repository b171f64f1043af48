"""The ports of a node: JSON-RPC, websocket, websocket with TLS. Opened first, served when all are open.

Shell; used by `life` and by the control port.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable

from relay.nkn.devnode.httpserver import Conversation, Listener


class PortTaken(OSError):
    """A port that cannot be listened on.

    Attributes:
        option: which it was: rpc_port, ws_port, wss_port or control_port.
    """

    def __init__(self, option: str, host: str, port: int, error: OSError) -> None:
        super().__init__(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno) if error.errno else error}"
        )
        self.option = option


class Ports:
    """What is listened on, all on the same host; port 0 takes a free one."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._listeners: list[Listener] = []

    async def open(
        self,
        option: str,
        port: int,
        serve: Callable[[Conversation], Awaitable[None]],
        context: ssl.SSLContext | None = None,
    ) -> int:
        """Open a port; return its number. PortTaken if that cannot be."""
        try:
            listener = await Listener(serve).open(self._host, port, context)
        except OSError as error:
            raise PortTaken(option, self._host, port, error) from error
        self._listeners.append(listener)
        return listener.port

    async def start(self) -> None:
        """Accept connections from now on."""
        for listener in self._listeners:
            await listener.start()

    async def stop(self) -> None:
        """Close all ports and what is still connected."""
        await asyncio.gather(*(listener.stop() for listener in self._listeners))
        self._listeners = []
