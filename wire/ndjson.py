"""Bytes in, whole lines out; the same lines however the bytes were cut.

A line is what stood before a line feed; the last one may lack it, and `finish` tells. A carriage return
stays part of its line, so lines joined by line feeds are the original bytes.
Called by the relay's exchange; knows nothing of JSON.
"""

from __future__ import annotations

from wire.errors import line_too_long


class LineSplitter:
    """Collects bytes and gives back complete lines without their line feed.

    Args:
        max_line_b: longest line in bytes; a longer one raises UpstreamFault "line_too_long".
    """

    __slots__ = ("_held", "_held_b", "_max_line_b")

    def __init__(self, max_line_b: int) -> None:
        self._held: list[bytes] = []
        self._held_b = 0
        self._max_line_b = max_line_b

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the lines they complete, maybe none."""
        head, feed_found, rest = data.partition(b"\n")
        if not feed_found:
            self._hold(data)
            return []
        self._hold(head)
        lines = [b"".join(self._held)]
        more = rest.split(b"\n")
        lines.extend(more[:-1])
        self._held, self._held_b = [], 0
        self._hold(more[-1])
        longest = max(map(len, lines))
        if longest > self._max_line_b:
            raise self._too_long(longest)
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
        if self._held_b > self._max_line_b:
            raise self._too_long(self._held_b)

    def _too_long(self, size: int) -> Exception:
        return line_too_long(
            f"a line of {size} bytes or more fits no message; the limit is {self._max_line_b}"
        )
