"""One address kept registered at whichever node is responsible for it, for ever.

Finds the node (the hint of a wrong-node answer, then bridge nodes, then RPC seeds), registers, and does
it again after every loss with jittered back-off; the very first failure is treated as any later one.
On a wrong-node push the new socket is opened first and the old one serves for sending only.
Messages wait in a bounded outbox and are signed when they are written, with that node's key and block
hash. An asyncio shell over `nodesocket` and `rpc`; owned by a client.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from relay.nkn import envelope, sigchain
from relay.nkn.dispatch import Dispatch
from relay.nkn.identity import Identity
from relay.nkn.nodesocket import MovedError, NodeError, NodeSocket
from relay.nkn.rpc import RpcError, SeedRpc
from relay.nkn.session import NodeInfo
from wire import limits

_REDIRECTS_MAX = 8
"""Wrong-node answers followed in a row, before the nodes are taken for confused."""
_RETRY_S = 0.01
_STEADY_S = 10.0
"""A connection that lived for less is no success: the pause before the next goes on growing."""


class OutboxFull(Exception):
    """More waits for this node's socket than the limits allow; nothing was queued."""


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
        self.counts: Counter[str] = Counter()
        self.queued_b = 0
        self._identity = identity
        self._options = options
        self._rpc = SeedRpc(options.rpc_server_addr, tls=options.tls)
        self._on_inbound = on_inbound
        self._on_change = on_change
        self._socket: NodeSocket | None = None
        self._leaving: list[NodeSocket] = []
        self._secure = options.tls
        self._outbox: deque[Dispatch | bytes] = deque()
        self._wake = asyncio.Event()
        self._tasks = [asyncio.create_task(self._stay()), asyncio.create_task(self._write())]

    @property
    def ready(self) -> bool:
        """Whether a message queued now leaves at once."""
        return self._socket is not None and self._socket.ready

    def send(self, dispatch: Dispatch) -> None:
        """Queue a message; OutboxFull if there is no room."""
        if self.queued_b + dispatch.size > limits.OUTBOX_MAX_B:
            self.counts["outbox_full"] += 1
            raise OutboxFull(f"{self.queued_b} bytes wait for the node of {self.address[:16]}…")
        self.queued_b += dispatch.size
        self._outbox.append(dispatch)
        self._wake.set()

    def renew(self, reason: str) -> None:
        """Drop the socket and find the node again."""
        if self._socket is not None:
            self._socket.close(reason)

    async def close(self) -> None:
        """Stop for good."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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
            if old is not None:
                old.close("replaced")
                self._leaving.append(old)
                self._leaving = [one for one in self._leaving if not one.closed.is_set()]
            self.counts["connects"] += 1
            self._wake.set()
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
            self._socket = None
            self.counts["losses"] += 1
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
        try:
            return await self._follow(await self._rpc.locate(self.address), tls=self._options.tls)
        except (NodeError, RpcError) as error:
            raise NodeError("; ".join([*reasons, str(error)])) from error

    async def _follow(self, node: NodeInfo, *, tls: bool) -> NodeSocket:
        """Register at a node or at the one it sends us to."""
        for _ in range(_REDIRECTS_MAX):
            socket = NodeSocket.to(
                node, self._identity, self.address, self._take, tls=tls, ssl=self._options.ssl
            )
            try:
                await socket.registered
            except MovedError as error:
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
        if message.prev_hash and len(self._outbox) < limits.RECEIPTS_MAX:
            self.counts["receipts"] += 1
            self._outbox.appendleft(envelope.receipt(self._identity, message.prev_hash))
            self._wake.set()
        self.counts["received"] += 1
        self._on_inbound(self.index, message)

    async def _write(self) -> None:
        while True:
            socket = self._socket
            if not self._outbox or socket is None or not socket.ready:
                self._wake.clear()
                if not self._outbox or not self.ready:
                    await self._wake.wait()
                continue
            item = self._outbox.popleft()
            try:
                await self._write_one(socket, item)
            except NodeError:
                # Not known to have left: it goes again on the next socket, and its id sorts out copies.
                self._outbox.appendleft(item)
                await asyncio.sleep(_RETRY_S)
                continue
            if isinstance(item, Dispatch):
                self.queued_b -= item.size

    async def _write_one(self, socket: NodeSocket, item: Dispatch | bytes) -> None:
        if isinstance(item, bytes):
            await socket.send(item)
            return
        try:
            frame = self._frame(socket, item)
        except ValueError:  # one message that cannot be encoded must not end the writer
            self.counts["unsendable"] += 1
            return
        await socket.send(frame)
        self.counts["sent"] += 1

    def _frame(self, socket: NodeSocket, item: Dispatch) -> bytes:
        head = sigchain.Head(
            nonce=random.getrandbits(32),
            block_hash=socket.session.block_hash,
            source=self.address,
            node_key=socket.session.node_key,
        )
        return envelope.outbound(self._identity, head, item.dests, item.payloads, item.max_holding_seconds)
