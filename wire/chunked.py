"""The chunked transfer coding of HTTP/1.1, read: bytes as they arrive in, the body's bytes out.

Chunks may be cut anywhere and many may come at once; what has arrived comes out at once, in one piece.
Extensions and trailers are passed over. Source: RFC 9112, section 7.1. Pure; called by `relay.call`.
"""

from __future__ import annotations

import re

_SIZE_LINE_MAX_B = 1024
_TRAILERS_MAX_B = 32 * 1024
_BEGIN = re.compile(rb"([0-9a-fA-F]{1,15})\r\n")
_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?\Z", re.DOTALL)


class ChunkError(ValueError):
    """The bytes are no chunks; the message says what is wrong."""


class ChunkReader:
    """Takes the coding off.

    Attributes:
        done: the last chunk and its trailers were read; what follows is not the body's.
    """

    __slots__ = ("_buffer", "_left", "_trailers_b", "done")

    def __init__(self) -> None:
        self.done = False
        self._buffer = bytearray()
        self._left = -1  # bytes of the chunk and its line end still to come; −1: a size line comes first
        self._trailers_b = -1  # −1: not there yet

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; the bytes of the body in it.

        Raises:
            ChunkError: if this is not the coding.
        """
        self._buffer += data
        out = bytearray()
        at = 0
        while not self.done:
            if self._left < 0 and self._trailers_b < 0:
                at = self._whole(at, out)
            if self._left >= 0:
                taken = self._body(at, out)
            elif self._trailers_b >= 0:
                taken = self._trailer(at)
            else:
                taken = self._size(at)
            if not taken:
                break
            at += taken
        del self._buffer[:at]
        return bytes(out)

    def _whole(self, at: int, out: bytearray) -> int:
        """Move chunks that are there from end to end and plain: nearly all of a stream; where they end."""
        buffer = self._buffer
        while (found := _BEGIN.match(buffer, at)) is not None:
            begin = found.end()
            end = begin + int(found[1], 16)
            if end == begin or buffer[end : end + 2] != b"\r\n":
                break
            out += buffer[begin:end]
            at = end + 2
        return at

    def _body(self, at: int, out: bytearray) -> int:
        """Move what is there of a chunk; its line end belongs to it."""
        there = min(len(self._buffer) - at, self._left)
        if there == 0:
            return 0
        data = max(0, min(there, self._left - 2))
        if data:
            out += self._buffer[at : at + data]
            self._left -= data
            return data
        if there < 2:
            return 0
        if self._buffer[at : at + 2] != b"\r\n":
            raise ChunkError("a chunk is longer than it says")
        self._left = -1
        return 2

    def _size(self, at: int) -> int:
        line = self._line(at, _SIZE_LINE_MAX_B)
        if line is None:
            return 0
        found = _SIZE.match(line)
        if found is None:
            raise ChunkError("the size of a chunk is no number")
        size = int(found[1], 16)
        if size:
            self._left = size + 2
        else:
            self._trailers_b = 0
        return len(line) + 2

    def _trailer(self, at: int) -> int:
        line = self._line(at, _TRAILERS_MAX_B)
        if line is None:
            return 0
        self.done = not line
        self._trailers_b += len(line)
        if self._trailers_b > _TRAILERS_MAX_B:
            raise ChunkError("the trailers are too long")
        return len(line) + 2

    def _line(self, at: int, most: int) -> bytes | None:
        end = self._buffer.find(b"\r\n", at)
        if end < 0 and len(self._buffer) - at <= most:
            return None
        if end < 0 or end - at > most:
            raise ChunkError("the size line of a chunk, or a trailer, is too long")
        return bytes(self._buffer[at:end])
