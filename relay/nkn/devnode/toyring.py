"""Several nodes in one process that share the addresses, as a small network.

Shell; used by `command` for `--nodes`, and by tests.
"""

from __future__ import annotations

import os
import random
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from relay.nkn.devnode.ring import Ring
from relay.nkn.devnode.server import DevNode

STEP = 10
"""Ports between two nodes: a node's own three lie together."""


class ToyRing:
    """Nodes at even distances on one ring.

    Args:
        count: how many.
        rpc_port, ws_port, wss_port: of the first node; each is STEP higher on the next one, 0 and None stay.
        seed: makes keys and chance the same in each run.
        options: further ones, the same for each node.

    Attributes:
        nodes: in the order of the ring.
    """

    def __init__(
        self,
        count: int,
        rpc_port: int = 0,
        ws_port: int = 0,
        wss_port: int | None = None,
        *,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        entropy = os.urandom if seed is None else random.Random(seed).randbytes  # noqa: S311 - as in DevNode
        ring = Ring(entropy)
        self.nodes = [
            DevNode(
                rpc_port=_higher(rpc_port, number),
                ws_port=_higher(ws_port, number),
                wss_port=None if wss_port is None else _higher(wss_port, number),
                seed=None if seed is None else seed + number,
                ring=ring,
                node_id=(number * 2**256 // count).to_bytes(32),
                **options,
            )
            for number in range(count)
        ]
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            for node in self.nodes:
                await starting.enter_async_context(node)
            self._running = starting.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()


def _higher(port: int, number: int) -> int:
    return port and port + STEP * number
