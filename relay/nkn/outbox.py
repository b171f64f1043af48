"""Messages on their way to one node: signed when they are written, at once if nothing is before them.

What is not known to have left goes again on the next socket; a message's id sorts out copies. Bounded: who
puts too much in is told. Runs on one asyncio loop; owned by one `link`, writes to its `nodesocket`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque

from relay.nkn import envelope, sigchain
from relay.nkn.dispatch import Dispatch
from relay.nkn.identity import Identity
from relay.nkn.nodesocket import NodeError, NodeSocket
from wire import limits

_RETRY_S = 0.01
_FRAME_B = 256
"""What a frame has beside its messages: block hash, nonce, lengths."""


class OutboxFull(Exception):
    """More waits for this node's socket than the limits allow; nothing was queued."""


class Outbox:
    """One link's queue.

    Args:
        address: the sender's, with its part's prefix.
        counts: gets "sent", "receipts", "outbox_full", "unsendable", "expired", "written_again".

    Attributes:
        queued_b: bytes of messages that wait.
    """

    def __init__(self, identity: Identity, address: str, counts: Counter[str]) -> None:
        self.queued_b = 0
        self._identity = identity
        self._address = address
        self._counts = counts
        self._queue: deque[Dispatch | bytes] = deque()
        self._socket: NodeSocket | None = None
        self._writing = False
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._write())

    def use(self, socket: NodeSocket | None) -> None:
        """Write to this socket from now on, or wait for one."""
        self._socket = socket
        self._wake.set()

    def put(self, dispatch: Dispatch) -> None:
        """Write or queue a message; OutboxFull if there is no room."""
        size = dispatch.size
        if self.queued_b + size > limits.OUTBOX_MAX_B:
            self._counts["outbox_full"] += 1
            raise OutboxFull(f"{self.queued_b} bytes wait for the node of {self._address[:16]}…")
        if self._write_now(dispatch, size):
            return
        self.queued_b += size
        self._queue.append(dispatch)
        self._wake.set()

    def put_receipt(self, prev_hash: bytes) -> None:
        """Tell the network that a message arrived, before everything else; not while too much waits."""
        if len(self._queue) >= limits.RECEIPTS_MAX:
            return
        self._counts["receipts"] += 1
        self._queue.appendleft(envelope.receipt(self._identity, prev_hash))
        self._wake.set()

    async def close(self) -> None:
        """Write nothing more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _write_now(self, dispatch: Dispatch, size: int) -> bool:
        """Write without a task's turn; False if something is before it or the socket has no room."""
        socket = self._socket
        if self._queue or self._writing or socket is None or not socket.ready:
            return False
        if not socket.takes(size + _FRAME_B):
            return False
        frame = self._frame(socket, dispatch)
        if frame is not None:
            socket.send_now(frame)
            self._counts["sent"] += 1
        return True

    async def _write(self) -> None:
        while True:
            socket = self._socket
            if not self._queue or socket is None or not socket.ready:
                self._wake.clear()
                await self._wake.wait()
                continue
            item = self._queue.popleft()
            self._writing = True
            try:
                frame = item if isinstance(item, bytes) else self._fresh_frame(socket, item)
                if frame is not None:
                    await socket.send(frame)
                    self._counts["sent"] += isinstance(item, Dispatch)
            except NodeError:
                self._counts["written_again"] += 1
                self._queue.appendleft(item)
                await asyncio.sleep(_RETRY_S)
                continue
            finally:
                self._writing = False
            if isinstance(item, Dispatch):
                self.queued_b -= item.size

    def _fresh_frame(self, socket: NodeSocket, item: Dispatch) -> bytes | None:
        """The frame of what waited, unless it waited too long."""
        if time.monotonic() < item.expires_at:
            return self._frame(socket, item)
        self._counts["expired"] += 1
        return None

    def _frame(self, socket: NodeSocket, item: Dispatch) -> bytes | None:
        """The signed frame; None for a message that cannot be encoded, which must not end the writer."""
        head = sigchain.Head(
            nonce=random.getrandbits(32),
            block_hash=socket.session.block_hash,
            source=self._address,
            node_key=socket.session.node_key,
        )
        try:
            return envelope.outbound(
                self._identity, head, item.dests, item.payloads, item.max_holding_seconds
            )
        except ValueError:
            self._counts["unsendable"] += 1
            return None
