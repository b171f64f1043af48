"""Websocket frames as a real node reads and writes them: RFC 6455 without extensions, masked one way.

Says with which code and words a node closes, and what it answers; who it is for is not known here.
Pure: bytes in, events out; used by `link`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_CONTROL_MAX_B = 125
_TOO_LARGE = 1009
_PROTOCOL_ERROR = 1002
_CLOSE_CODES = {*range(1000, 1004), *range(1007, 1014), *range(3000, 5000)}


@dataclass(frozen=True, slots=True)
class Message:
    """A complete message of one or more frames."""

    data: bytes
    is_text: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping, to be answered with the same payload."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong, asked for or not."""


@dataclass(frozen=True, slots=True)
class End:
    """Nothing after this is read: answer with `frame` and close the connection.

    Attributes:
        reset: end TCP with RST, as happens when a close leaves bytes unread.
    """

    frame: bytes
    reset: bool = False


Event = Message | Ping | Pong | End
Unmask = Callable[[bytearray, bytearray], bytes]


class FrameReader:
    """Reads what one client sends.

    Args:
        max_b: the largest message, all its frames together.
        unmask: data and its four bytes of mask → what was meant; a faster one than the one here, if there is.
    """

    def __init__(self, max_b: int, unmask: Unmask | None = None) -> None:
        self._max_b = max_b
        self._unmask = unmask or unmasked
        self._buffer = bytearray()
        self._message: bytearray | None = None
        self._is_text = False
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; return what they complete."""
        self._buffer += data
        events: list[Event] = []
        at = 0
        while not self._ended:
            taken, event = self._frame(at)
            at += taken
            if event is not None:
                events.append(event)
                self._ended = isinstance(event, End)
            elif not taken:
                break
        del self._buffer[:at]
        return events

    def _frame(self, at: int) -> tuple[int, Event | None]:
        """Read the frame that begins at `at`: how many bytes it takes, 0 if it is not complete."""
        head = self._head(at)
        if isinstance(head, End):
            return 2, head
        mask_at, size = head
        end = mask_at + 4 + size
        if not mask_at or len(self._buffer) < end:
            return 0, None
        data = self._unmask(self._buffer[mask_at + 4 : end], self._buffer[mask_at : mask_at + 4])
        first = self._buffer[at]
        return end - at, self._take(first & 0x0F, data, final=bool(first & 0x80))

    def _head(self, at: int) -> tuple[int, int] | End:
        """Where the mask of a frame is, 0 if that is not known yet, and the size of its payload."""
        if len(self._buffer) - at < 2:
            return 0, 0
        first, second = self._buffer[at], self._buffer[at + 1]
        opcode, size = first & 0x0F, second & 0x7F
        if wrong := self._wrong(first, opcode, size):
            return closing(_PROTOCOL_ERROR, wrong)
        mask_at = at + 2 + {126: 2, 127: 8}.get(size, 0)
        if len(self._buffer) < mask_at:
            return 0, 0
        if not second & 0x80:
            return closing(_PROTOCOL_ERROR, "incorrect mask flag")
        if size > _CONTROL_MAX_B:
            size = int.from_bytes(self._buffer[at + 2 : mask_at])
        if opcode < CLOSE and len(self._message or b"") + size > self._max_b:
            return End(closing(_TOO_LARGE).frame, reset=True)
        return mask_at, size

    def _wrong(self, first: int, opcode: int, size: int) -> str:
        """What is wrong with the first two bytes, in a node's words."""
        if reserved := first & 0x70:
            return f"unexpected reserved bits 0x{reserved:x}"
        if opcode in {CLOSE, PING, PONG}:
            if size > _CONTROL_MAX_B:
                return "control frame length > 125"
            return "" if first & 0x80 else "control frame not final"
        if opcode > BINARY:
            return f"unknown opcode {opcode}"
        if opcode == CONTINUATION:
            return "continuation after final message frame" if self._message is None else ""
        return "" if self._message is None else "message start before final message frame"

    def _take(self, opcode: int, data: bytes, *, final: bool) -> Event | None:
        if opcode == PING:
            return Ping(data)
        if opcode == PONG:
            return Pong()
        if opcode == CLOSE:
            return _closed(data)
        if self._message is None:
            self._is_text = opcode == TEXT
            if final:
                return Message(data, self._is_text)
            self._message = bytearray()
        self._message += data
        if not final:
            return None
        whole, self._message = bytes(self._message), None
        return Message(whole, self._is_text)


def frame(opcode: int, data: bytes) -> bytes:
    """One whole frame of the node."""
    size = len(data)
    if size <= _CONTROL_MAX_B:
        head = bytes((0x80 | opcode, size))
    elif size < 0x10000:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2)
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8)
    return head + data


def closing(code: int, reason: str = "") -> End:
    """An end on the node's part."""
    return End(frame(CLOSE, code.to_bytes(2) + reason.encode()))


def _closed(data: bytes) -> End:
    """The answer to a client's close: its code without its reason."""
    if len(data) < 2:
        return End(frame(CLOSE, b""))
    if int.from_bytes(data[:2]) not in _CLOSE_CODES:
        return closing(_PROTOCOL_ERROR, "invalid close code")
    try:
        data[2:].decode()
    except UnicodeDecodeError:
        return closing(_PROTOCOL_ERROR, "invalid utf8 payload in close frame")
    return End(frame(CLOSE, data[:2]))


def unmasked(data: bytearray, mask: bytearray) -> bytes:
    """What a client meant with masked bytes."""
    size = len(data)
    key = int.from_bytes((mask * (size // 4 + 1))[:size])
    return (int.from_bytes(data) ^ key).to_bytes(size)
