"""One client's websocket as the node holds it: a queue of frames with one writer, pings behind the data.

The queue has no length limit one would notice, as in a real node, but a bound in bytes: a client that lets it
fill is dropped. Shell: owns the socket; judged by `liveness`, fed by `server`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from relay.nkn.devnode import limits as own
from relay.nkn.devnode.liveness import Due, Liveness
from relay.nkn.devnode.registry import Session


class NodeConnection(ServerConnection):
    """A server connection that tells its link about pongs, and that can fall silent for good."""

    link: Link | None = None
    silenced = False

    def process_event(self, event: Event) -> None:
        """Take one event of the protocol; a pong shows that the client lives, asked for or not."""
        if isinstance(event, Frame) and event.opcode is Opcode.PONG and self.link is not None:
            self.link.heard()
        super().process_event(event)

    def send_data(self) -> None:
        """Write what the protocol has to say, unless this socket is a zombie."""
        if self.silenced:
            self.protocol.data_to_send()
        else:
            super().send_data()


class Link:
    """One socket.

    Args:
        session: what the core knows about it.
        thawed: cleared while the whole node is frozen.

    Attributes:
        born_at: when it was upgraded, in seconds of the loop's clock.
        frames: binary frames read and queued, counted by the switchboard.
    """

    def __init__(self, connection: NodeConnection, session: Session, thawed: asyncio.Event) -> None:
        self._connection = connection
        self._thawed = thawed
        self._loop = asyncio.get_running_loop()
        self._queue: deque[str | bytes | None] = deque()
        self._queued_b = 0
        self._wake = asyncio.Event()
        self._writing_since: float | None = None
        self.session = session
        self.born_at = self._loop.time()
        self.frames = 0
        self._liveness = Liveness(self.born_at)
        connection.link = self

    @property
    def queued_b(self) -> int:
        """Bytes that wait for the writer."""
        return self._queued_b

    def heard(self) -> None:
        """A message or a pong was read."""
        self._liveness.heard(self._loop.time())

    def put(self, frame: str | bytes) -> bool:
        """Queue a frame; False if the client was dropped because it does not read."""
        if self._connection.silenced:
            return True
        self._queued_b += len(frame)
        if self._queued_b > own.QUEUE_MAX_B:
            self.cut()
            return False
        self._queue.append(frame)
        self._wake.set()
        return True

    async def write(self) -> None:
        """Send what is queued, until the socket is gone."""
        try:
            while True:
                while self._queue:
                    if not self._thawed.is_set():
                        await self._thawed.wait()
                        continue
                    item = self._queue.popleft()
                    self._writing_since = self._loop.time()
                    await self._send(item)
                    self._writing_since = None
                self._wake.clear()
                await self._wake.wait()
        except ConnectionClosed:
            return

    def look(self, now: float) -> Due:
        """Ping if it is time; DROP if the client said nothing for too long."""
        if self._writing_since is not None and now > self._writing_since + own.WRITE_STALL_S:
            self.silence()
        due = self._liveness.advance(now)
        if due is Due.PING:
            self._queue.append(None)
            self._wake.set()
        return due

    def silence(self) -> None:
        """Never write to this socket again, as a real node does after a write that took too long."""
        self._connection.silenced = True
        self._queue.clear()
        self._queued_b = 0

    def freeze(self, *, frozen: bool) -> None:
        """Stop reading, or go on."""
        transport: Any = self._connection.transport
        if frozen:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def cut(self) -> None:
        """End the TCP connection without a close frame."""
        transport: Any = self._connection.transport
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()

    async def _send(self, item: str | bytes | None) -> None:
        if item is None:
            async with self._connection.send_context():
                self._connection.protocol.send_ping(b"")
            return
        self._queued_b -= len(item)
        await self._connection.send(item)
