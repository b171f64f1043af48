"""The control port: HTTP on loopback for tests in any language and for people with curl.

Shell; opened by `server` for one node, by `command` for all nodes of its process. What it does is `panel`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from relay.nkn.devnode import limits as own
from relay.nkn.devnode.httpserver import Conversation, answer_once
from relay.nkn.devnode.panel import Controlled, Panel
from relay.nkn.devnode.ports import Ports

LOOPBACK = "127.0.0.1"
"""There is no option for another host: whoever reaches this port stops nodes."""


class Remote:
    """A control port.

    Args:
        nodes: what it controls.
        port: 0 takes a free one.

    Attributes:
        url: `http://127.0.0.1:port` once it is open, else empty.
    """

    def __init__(self, nodes: Sequence[Controlled], port: int = 0) -> None:
        self._panel = Panel(nodes)
        self._port = port
        self._ports = Ports(LOOPBACK)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the port; PortTaken if that cannot be."""
        number = await self._ports.open("control_port", self._port, self._serve)
        await self._ports.start()
        self.url = f"http://{LOOPBACK}:{number}"

    async def stop(self) -> None:
        """Close it."""
        await self._ports.stop()
        self.url = ""

    async def _serve(self, talk: Conversation) -> None:
        await answer_once(talk, self._panel.answer, own.RPC_READ_S)
