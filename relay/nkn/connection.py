"""A websocket as `nodesocket` needs it: the library's, without its queues.

Bytes are heard below the protocol, whole binary frames go up and down at once. Knows nothing of nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from wire import limits


class Connection(ClientConnection):
    """A connection that notes when bytes came, and passes whole binary frames up and down without a queue.

    It saves a queue and a task's turn for each message. The first frames of a turn of the loop are written
    at once, those of a crowd together at its end: two that are written together may change places in a node.

    Attributes:
        soon_b: bytes that are written at the end of this turn.
    """

    on_bytes: Callable[[], None] | None = None
    on_frame: Callable[[bytes], None] | None = None
    soon_b = 0
    _writes = 0

    def write_soon(self, frame: bytes) -> None:
        """Send a binary frame in this turn; the connection is open, nothing half sent."""
        self.protocol.send_binary(frame)
        self._writes += 1
        if self._writes == 1:
            self.loop.call_soon(self._end_turn)
        if self._writes <= limits.WRITES_AT_ONCE:
            self.send_data()
        else:
            self.soon_b += len(frame)

    def _end_turn(self) -> None:
        self._writes = 0
        if self.soon_b:
            self.send_data()

    def send_data(self) -> None:
        """Write what waits, in one piece."""
        self.soon_b = 0
        if self.protocol.state is not State.OPEN:
            super().send_data()  # which also ends the connection
        elif data := b"".join(self.protocol.data_to_send()):
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.on_bytes is not None:
            self.on_bytes()
        super().data_received(data)

    def process_event(self, event: Any) -> None:
        """A frame came; a whole binary one goes up at once."""
        # Before the handshake is through, events are no frames; parts of a message are put together above.
        whole = isinstance(event, Frame) and event.opcode is Opcode.BINARY and event.fin
        if whole and self.on_frame is not None:
            self.on_frame(bytes(event.data))
        else:
            super().process_event(event)
