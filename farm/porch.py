"""A client's connection as bytes and time: what is sent, how long is waited, and how it ends.

Knows nothing of requests. The `door` is built upon it.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import socket
import struct
import sys
from typing import Final

from uvicorn.server import ServerState

from farm import limits

_PRESENCE: Final = (
    ("TCP_KEEPIDLE", limits.PRESENCE_S),
    ("TCP_KEEPINTVL", limits.PRESENCE_S),
    ("TCP_KEEPCNT", limits.PRESENCE_TRIES),
)
_AT_ONCE: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER: a close is a reset."""


class Porch(asyncio.Protocol):
    """One connection of a client.

    Args:
        state: the server's; its connections and tasks.

    Attributes:
        transport: the connection.
        room: set while the client takes what is sent.
        deaf: what it still sends is nobody's.
        turned_away: there were too many; it is only told so.
    """

    def __init__(self, state: ServerState) -> None:
        self.transport: asyncio.Transport
        self.room = asyncio.Event()
        self.room.set()
        self.deaf = self.turned_away = False
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._patience: asyncio.TimerHandle | None = None
        self._unsent_b = -1

    # -- for asyncio ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came; it has to say what it wants."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket
        self.transport = transport
        self._state.connections.add(self)  # type: ignore[arg-type] # it knows only its own protocols
        _notice_the_vanished(transport.get_extra_info("socket"))
        self.turned_away = self._crowded()
        if self.turned_away:
            self.refuse(503, "too many connections, please try again")
        else:
            self.give(limits.HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it went
        """It is gone."""
        self._state.connections.discard(self)
        self.give(None)
        self.deaf = True
        self.room.set()

    def pause_writing(self) -> None:
        """It does not take its answer as fast as that comes."""
        self.room.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self.room.set()

    # -- for the server -------------------------------------------------------------------

    def shutdown(self) -> None:
        """The front ends: cut, for a clean end would make half an answer look whole."""
        self.transport.abort()

    # -- sending --------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send."""
        if not self.transport.is_closing():
            self.transport.write(data)

    async def drained(self) -> None:
        """Until there is room to send more; a client that takes nothing for too long is cut."""
        while not self.room.is_set():
            before_b = self.transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(limits.STALLED_S):
                    await self.room.wait()
            except TimeoutError:
                if self.transport.get_write_buffer_size() >= before_b:
                    self.transport.abort()
                    await self.room.wait()  # `connection_lost` sets it

    def _crowded(self) -> bool:
        """Whether there are too many. Those told so do not count: else many that try again keep all out."""
        known = self._state.connections
        return (
            len(known) > limits.CONNECTIONS_MAX < sum(not getattr(one, "turned_away", False) for one in known)
        )

    # -- ends -----------------------------------------------------------------------------

    def refuse(self, status: int, why: str) -> None:
        """The last answer: what came is not served."""
        body = json.dumps({"error": why})
        again = "retry-after: 1\r\n" if status == 503 else ""
        self.write(
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
            f"content-type: application/json; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
            f"{again}connection: close\r\n\r\n{body}".encode()
        )
        self.farewell(heard_out=False)

    def farewell(self, *, heard_out: bool) -> None:
        """End the connection behind the last answer.

        Args:
            heard_out: whether the client has sent all it wanted. Else a close now would make its system
                throw the answer away that it has not read yet: it is listened to a little longer.
        """
        self.deaf = True
        if self.transport.is_closing():
            return
        if heard_out:
            self.transport.close()
            self.give(limits.STALLED_S)
        else:
            self.transport.write_eof()
            self.transport.resume_reading()
            self.give(limits.LINGER_S)

    def cut(self, *, framed: bool) -> None:
        """End the connection in the middle of an answer, so that the client knows it is not whole.

        Args:
            framed: whether a missing end shows by itself. Else only a reset tells it.
        """
        self.deaf = True
        if not framed:
            with contextlib.suppress(OSError):
                told = self.transport.get_extra_info("socket")
                told.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.close()
        self.give(limits.STALLED_S)

    def give(self, patience_s: float | None) -> None:
        """Wait so long from now on; None: as long as it takes."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None if patience_s is None else self._loop.call_later(patience_s, self._late)

    def _late(self) -> None:
        """Time is over, unless the client still takes what was sent."""
        unsent_b = self.transport.get_write_buffer_size()
        if unsent_b and unsent_b != self._unsent_b:
            self._unsent_b = unsent_b
            self.give(limits.STALLED_S)
        else:
            self.transport.abort()


def _notice_the_vanished(line: socket.socket) -> None:
    """Have the system ask now and then whether the client's machine is still there, as Go's servers do."""
    with contextlib.suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PRESENCE:
            if hasattr(socket, name):
                line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
