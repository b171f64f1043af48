"""One address kept registered at whichever node is responsible for it, for ever.

Finds the node (the hint of a wrong-node answer, then bridge nodes, then RPC seeds), registers, and does
it again after every loss with jittered back-off; the very first failure is treated as any later one.
On a wrong-node push the new socket is opened first and the old one serves for sending only.
What is sent waits in its `outbox` until there is a socket. An asyncio shell over `nodesocket` and `rpc`;
owned by a client.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from relay.nkn import envelope
from relay.nkn.dispatch import Dispatch
from relay.nkn.identity import Identity
from relay.nkn.nodesocket import MovedError, NodeError, NodeSocket
from relay.nkn.outbox import Outbox
from relay.nkn.rpc import SeedRpc
from relay.nkn.session import NodeInfo
from wire import limits

_REDIRECTS_MAX = 8
"""Wrong-node answers followed in a row, before the nodes are taken for confused."""
_STEADY_S = 10.0
"""A connection that lived for less is no success: the pause before the next goes on growing."""


COUNTERS = (
    "connects", "losses", "lost_closed", "lost_silent", "lost_refused", "lost_error", "lost_renewed",
    "moves", "redirects", "failures", "renewed_unacknowledged",
    "sent", "received", "first", "acks", "receipts", "malformed",
    "outbox_full", "unsendable", "expired", "written_again",
)  # fmt: skip
"""What is counted of one part."""


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How a link finds its node.

    Attributes:
        rpc_server_addr: RPC seeds, tried in turn.
        seed_ws_addr: `ws://` or `wss://host:port` nodes tried before any RPC.
        tls: use wss nodes.
        ssl: an SSLContext for wss, None for the default one.
        reconnect_interval_min: seconds, first back-off.
        reconnect_interval_max: seconds, longest back-off.
    """

    rpc_server_addr: Sequence[str]
    seed_ws_addr: Sequence[str] = ()
    tls: bool = False
    ssl: Any = None
    reconnect_interval_min: float = limits.RECONNECT_MIN_S
    reconnect_interval_max: float = limits.RECONNECT_MAX_S


class Pauses:
    """Seconds between attempts: doubled each time, jittered over the upper half."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._now = first
        self._longest = longest

    def after_loss(self, *, moved: bool) -> float:
        """The pause before the first attempt after a connection.

        None for a wrong-node push, a short one after a steady connection: all clients of a node that
        dies lose it at once and must not come back at once. A node that drops or pushes everybody
        at once is asked ever more seldom.
        """
        if self._now > self._first:
            return self.next()
        if moved:
            self.next()
            return 0.0
        return self.next() / 4

    def next(self) -> float:
        """The next pause."""
        pause, self._now = self._now, min(self._now * 2, self._longest)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def reset(self) -> None:
        """Something steady was reached."""
        self._now = self._first


class Link:
    """An address at its node.

    Args:
        index: which part of a MultiClient it is, −1 for the original.
        address: what is registered.
        on_inbound: takes (index, message) for each message that comes.
        on_change: takes (index, event, text) for "connect", "disconnect", "connect_failed", "moved".

    Attributes:
        node: where it is registered, or was last.
        counts: see COUNTERS.
        last_reason: of the last loss or failure.
    """

    def __init__(
        self,
        index: int,
        address: str,
        identity: Identity,
        options: LinkOptions,
        *,
        on_inbound: Callable[[int, envelope.Inbound], None],
        on_change: Callable[[int, str, str], None],
    ) -> None:
        self.index = index
        self.address = address
        self.node: NodeInfo | None = None
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self.last_reason = ""
        self._away_s, self._away_since = 0.0, time.monotonic()
        self._identity = identity
        self._options = options
        self._rpc = SeedRpc(options.rpc_server_addr, tls=options.tls)
        self._on_inbound = on_inbound
        self._on_change = on_change
        self._socket: NodeSocket | None = None
        self._leaving: list[NodeSocket] = []
        self._secure = options.tls
        self._outbox = Outbox(identity, address, self.counts)
        self._task = asyncio.create_task(self._stay())

    @property
    def ready(self) -> bool:
        """Whether a message queued now leaves at once."""
        return self._socket is not None and self._socket.ready

    @property
    def away_s(self) -> float:
        """Seconds without a registered socket, all together."""
        return self._away_s + (time.monotonic() - self._away_since if self._socket is None else 0.0)

    @property
    def queued_b(self) -> int:
        """Bytes of messages that wait for the socket."""
        return self._outbox.queued_b

    def send(self, dispatch: Dispatch) -> None:
        """Write or queue a message; OutboxFull if there is no room."""
        self._outbox.put(dispatch)

    def renew(self, reason: str) -> None:
        """Drop the socket and find the node again."""
        if self._socket is not None:
            self._socket.close(reason)

    async def close(self) -> None:
        """Stop for good."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._outbox.close()
        for socket in (*self._leaving, *([self._socket] if self._socket else [])):
            socket.close()
            await socket.closed.wait()

    async def _stay(self) -> None:
        hint: NodeInfo | None = None
        pauses = Pauses(self._options.reconnect_interval_min, self._options.reconnect_interval_max)
        while True:
            fresh = await self._register(hint, pauses)
            born = time.monotonic()
            old, self._socket = self._socket, fresh
            self._away_s += born - self._away_since if old is None else 0.0
            if old is not None:
                old.close("replaced")
                self._leaving.append(old)
                self._leaving = [one for one in self._leaving if not one.closed.is_set()]
            self.counts["connects"] += 1
            self._outbox.use(fresh)
            self._on_change(self.index, "connect", fresh.uri)
            hint = await self._until_gone(fresh)
            if time.monotonic() - born >= _STEADY_S:
                pauses.reset()
            await asyncio.sleep(pauses.after_loss(moved=hint is not None))

    async def _until_gone(self, socket: NodeSocket) -> NodeInfo | None:
        """Wait for loss or a push; the hint where to go next."""
        gone = asyncio.create_task(socket.closed.wait())
        either: set[asyncio.Future[Any]] = {gone, socket.moved}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if socket.closed.is_set():
            self._socket, self._away_since = None, time.monotonic()
            self.last_reason = socket.reason
            self._outbox.use(None)
            self.counts["losses"] += 1
            self.counts[f"lost_{socket.cause}"] += 1
            self._on_change(self.index, "disconnect", socket.reason)
            return None
        self.counts["moves"] += 1
        self._on_change(self.index, "moved", socket.uri)
        return socket.moved.result()

    async def _register(self, hint: NodeInfo | None, pauses: Pauses) -> NodeSocket:
        """A registered socket, however long it takes."""
        while True:
            try:
                return await self._attempt(hint)
            except NodeError as error:
                self.counts["failures"] += 1
                self.last_reason = str(error)
                self._on_change(self.index, "connect_failed", str(error))
            hint = None
            await asyncio.sleep(pauses.next())

    async def _attempt(self, hint: NodeInfo | None) -> NodeSocket:
        """Register by the hint, else a bridge node, else RPC; NodeError with the reason of each."""
        bridges = [uri.partition("://") for uri in self._options.seed_ws_addr]
        ways = [(NodeInfo(addr), scheme == "wss") for scheme, _, addr in bridges]
        if hint is not None:
            ways.insert(0, (hint, self._secure))
        reasons: list[str] = []
        for node, secure in ways:
            try:
                return await self._follow(node, tls=secure)
            except NodeError as error:
                reasons.append(str(error))
        async with contextlib.aclosing(self._rpc.candidates(self.address, reasons)) as found:
            async for seed, node in found:
                try:
                    socket = await self._follow(node, tls=self._options.tls)
                except NodeError as error:
                    reasons.append(str(error))
                    continue
                self._rpc.prefer(seed)
                return socket
        raise NodeError("; ".join(reasons) or "no RPC server is configured")

    async def _follow(self, node: NodeInfo, *, tls: bool) -> NodeSocket:
        """Register at a node or at the one it sends us to."""
        for _ in range(_REDIRECTS_MAX):
            socket = NodeSocket.to(
                node, self._identity, self.address, self._take, tls=tls, ssl=self._options.ssl
            )
            try:
                await socket.registered
            except MovedError as error:
                self.counts["redirects"] += 1
                if error.node is None:
                    raise
                # A node asked over wss names the other's wss address, one asked over ws its ws address.
                node = error.node
                continue
            except asyncio.CancelledError:
                socket.close()
                self._leaving.append(socket)
                raise
            self.node, self._secure = node, tls
            return socket
        raise NodeError("the nodes send us from one to the other")

    def _take(self, frame: bytes) -> None:
        try:
            message = envelope.read(frame)
        except envelope.EnvelopeError:
            self.counts["malformed"] += 1
            return
        if not isinstance(message, envelope.Inbound):
            self.counts["malformed"] += 1
            return
        if message.prev_hash:
            self._outbox.put_receipt(message.prev_hash)
        self.counts["received"] += 1
        self._on_inbound(self.index, message)
