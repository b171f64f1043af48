"""A slow line: how long each portion of bytes takes when only so many a second go through.

Pure: time is an argument; each `link` has one for each direction.
"""

from __future__ import annotations


class Lane:
    """One direction; what is sent while it is busy waits its turn."""

    __slots__ = ("_free_at",)

    def __init__(self) -> None:
        self._free_at = 0.0

    def carry(self, size: int, rate: float, now: float) -> float:
        """Seconds from now until `size` bytes are through.

        Args:
            rate: bytes a second.
        """
        self._free_at = max(self._free_at, now) + size / rate
        return self._free_at - now
