"""Bytes in, whole lines out; the same lines however the bytes were cut.

A line is what stood before a line feed; the last one may lack it, and `finish` tells. A carriage return
stays part of its line, so lines joined by line feeds are the original bytes.
Called by the relay's exchange; knows nothing of JSON.
"""

from __future__ import annotations

from itertools import takewhile

from wire.errors import UpstreamFault, line_too_long


class LineTooLong(UpstreamFault):
    """A line that is longer than allowed.

    Attributes:
        before: the complete lines in front of it that were not given yet.
    """

    def __init__(self, size: int, limit: int, before: list[bytes]) -> None:
        fault = line_too_long(f"a line of {size} bytes or more fits no message; the limit is {limit}")
        super().__init__(fault.code, fault.detail, status=fault.status)
        self.before = before


class LineSplitter:
    """Collects bytes and gives back complete lines without their line feed.

    Args:
        max_line_b: longest line in bytes.
    """

    __slots__ = ("_held", "_held_b", "_max_line_b")

    def __init__(self, max_line_b: int) -> None:
        self._held: list[bytes] = []
        self._held_b = 0
        self._max_line_b = max_line_b

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the lines they complete, maybe none.

        Raises:
            LineTooLong: from here on `finish` gives what followed the lines in it, line feeds included.
        """
        head, feed_found, rest = data.partition(b"\n")
        self._hold(head)
        lines = []
        if feed_found:
            lines.append(b"".join(self._held))
            *more, rest = rest.split(b"\n")
            lines += more
            self._held, self._held_b = [], 0
            self._hold(rest)
        if max(map(len, lines), default=0) > self._max_line_b or self._held_b > self._max_line_b:
            raise self._too_long(lines)
        return lines

    def finish(self) -> bytes | None:
        """The bytes behind the last line feed, or None if there are none."""
        rest, self._held, self._held_b = b"".join(self._held), [], 0
        return rest or None

    def _hold(self, data: bytes) -> None:
        if data:
            # A list, joined once per line: appending to bytes would copy them again at each piece.
            self._held.append(data)
            self._held_b += len(data)

    def _too_long(self, lines: list[bytes]) -> LineTooLong:
        before = list(takewhile(lambda line: len(line) <= self._max_line_b, lines))
        others = lines[len(before) :]
        size = len(others[0]) if others else self._held_b
        self._held[:0] = [line + b"\n" for line in others]
        return LineTooLong(size, self._max_line_b, before)
