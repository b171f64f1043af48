"""One client's websocket as the node holds it: a queue of frames with one writer, pings behind the data.

The queue has no length limit one would notice, as in a real node, but a bound in bytes: a client that lets it
fill is dropped. Shell: owns the socket; read by `wsframes`, judged by `liveness`, fed by `switchboard`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable

from relay.nkn.devnode import limits as own
from relay.nkn.devnode import wsframes as ws
from relay.nkn.devnode.httpserver import Conversation
from relay.nkn.devnode.lane import Lane
from relay.nkn.devnode.liveness import Due, Liveness
from relay.nkn.devnode.registry import Session
from relay.nkn.devnode.times import Times
from wire import limits

_unmask: ws.Unmask = ws.unmasked
with contextlib.suppress(ImportError):  # a platform without its C part is only slower
    from websockets.speedups import apply_mask as _unmask

_RESET = struct.pack("ii", 1, 0)


class Link:
    """One socket.

    Args:
        talk: the connection, upgraded by now.
        session: what the core knows about it.
        thawed: cleared while the whole node is frozen.

    Attributes:
        born_at: when it was upgraded, in seconds of the loop's clock.
        frames: binary frames read and queued, counted by the switchboard.
        silenced: nothing is written any more, for good.
        queued_b: bytes that wait for the writer.
        uplink_bps, downlink_bps: bytes a second read and written; 0 is no limit.
    """

    def __init__(self, talk: Conversation, session: Session, thawed: asyncio.Event, times: Times) -> None:
        self._talk = talk
        self._transport = talk.writer.transport
        self._transport.set_write_buffer_limits(high=0)
        self._thawed = thawed
        self._times = times
        self._loop = asyncio.get_running_loop()
        self._reader = ws.FrameReader(limits.NODE_FRAME_MAX_B, _unmask)
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._writing_since: float | None = None
        self._up, self._down = Lane(), Lane()
        self._narrowed = False
        self.session = session
        self.born_at = self._loop.time()
        self.frames = 0
        self.silenced = False
        self.queued_b = 0
        self.uplink_bps = self.downlink_bps = 0.0
        self._liveness = Liveness(self.born_at, times.ping_s, times.pong_timeout_s)

    # -- the client speaks ------------------------------------------------------------------

    async def serve(self, take: Callable[[ws.Message], None]) -> None:
        """Read and write until the socket is gone."""
        writing = asyncio.create_task(self._write())
        try:
            await self._read(take)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            self._settled.set()

    async def _read(self, take: Callable[[ws.Message], None]) -> None:
        data = self._talk.rest or await self._portion()
        while data:
            for event in self._reader.feed(data):
                if not self._thawed.is_set():
                    await self._thawed.wait()
                match event:
                    case ws.Ping(payload):
                        self._put(ws.frame(ws.PONG, payload))
                    case ws.End():
                        self._end(event)
                        return
                    case _:
                        self._liveness.heard(self._loop.time())
                        if isinstance(event, ws.Message):
                            take(event)
            data = await self._portion()

    async def _portion(self) -> bytes:
        if self.uplink_bps:
            self._narrow()
        size = max(1, int(self.uplink_bps * own.PACE_S)) if self.uplink_bps else own.READ_B
        data = await self._talk.reader.read(size)
        if self.uplink_bps:
            await asyncio.sleep(self._up.carry(len(data), self.uplink_bps, self._loop.time()))
        return data

    def _narrow(self) -> None:
        """Take little ahead: the client shall feel its slow line."""
        if not self._narrowed:
            self._narrowed = True
            at = self._transport.get_extra_info("socket")
            at.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, own.PACE_BUFFER_B)

    # -- the node speaks --------------------------------------------------------------------

    def put(self, frame: str | bytes) -> bool:
        """Queue a frame; False if the client was dropped because it does not read."""
        if isinstance(frame, str):
            return self._put(ws.frame(ws.TEXT, frame.encode()))
        return self._put(ws.frame(ws.BINARY, frame))

    def _put(self, frame: bytes) -> bool:
        if self.silenced or self._transport.is_closing():
            return True
        busy = self._queue or self.writing or self.downlink_bps or not self._thawed.is_set()
        if busy or len(frame) > own.WRITE_B:
            self.queued_b += len(frame)
            self._queue.append(frame)
            self._wake.set()
        else:
            self._transport.write(frame)
            if self._transport.get_write_buffer_size():
                self._begin()
        if self.queued_b <= own.QUEUE_MAX_B:
            return True
        self.cut()
        return False

    @property
    def writing(self) -> bool:
        """Whether the client has not taken yet what is being written."""
        return self._writing_since is not None

    async def settled(self) -> None:
        """Wait until the write that is under way is done or given up."""
        await self._settled.wait()

    async def _write(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                if self.writing:
                    await self._talk.writer.drain()
                    self._written()
                elif not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                elif not self._thawed.is_set():
                    await self._thawed.wait()
                else:
                    await self._send(self._queue.popleft())

    async def _send(self, frame: bytes) -> None:
        self.queued_b -= len(frame)
        self._begin()
        rate = self.downlink_bps
        size = max(1, int(rate * own.PACE_S)) if rate else own.WRITE_B
        for at in range(0, len(frame), size):
            part = frame[at : at + size]
            self._transport.write(part)
            await self._talk.writer.drain()
            if rate:
                await asyncio.sleep(self._down.carry(len(part), rate, self._loop.time()))
            if self.silenced:
                return
        self._written()

    def _begin(self) -> None:
        self._writing_since = self._loop.time()
        self._settled.clear()
        self._wake.set()

    def _written(self) -> None:
        self._writing_since = None
        self._settled.set()

    # -- its life ---------------------------------------------------------------------------

    def look(self, now: float) -> Due:
        """Ping if it is time; DROP if the client said nothing for too long."""
        if self._writing_since is not None and now > self._writing_since + self._times.write_stall_s:
            self.silence()
        due = self._liveness.advance(now)
        if due is Due.PING:
            self._put(ws.frame(ws.PING, b""))
        return due

    def silence(self) -> None:
        """Never write to this socket again, as a real node does after a write that took too long."""
        self.silenced = True
        self._queue.clear()
        self.queued_b = 0
        self._written()

    def cut(self, *, reset: bool = False) -> None:
        """End the TCP connection without a close frame."""
        if reset:
            at = self._transport.get_extra_info("socket")
            at.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if reset or self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _end(self, end: ws.End) -> None:
        if not self.silenced:
            self._transport.write(end.frame)
        self.cut(reset=end.reset)
