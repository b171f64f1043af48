"""Connections to a backend that wait for their next request: a new one costs more than the rest of the front.

Owned by a `Backend`, filled and emptied by the `courier`.
"""

from __future__ import annotations

import asyncio
from collections import deque

from farm import limits
from farm.backline import Line


class Spares:
    """The newest is taken first, so that those that are not needed grow old and are closed."""

    def __init__(self) -> None:
        self._lines: deque[tuple[float, Line]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._lines)

    def take(self) -> Line | None:
        """One that is open, or None."""
        while self._lines:
            _, line = self._lines.pop()
            if line.reusable:
                return line
            line.close()
        return None

    def give(self, line: Line) -> None:
        """Keep one whose answer was whole."""
        loop = asyncio.get_running_loop()
        self._lines.append((loop.time() + limits.SPARE_S, line))
        if len(self._lines) > limits.SPARES:
            self._lines.popleft()[1].close()
        if self._timer is None:
            self._timer = loop.call_at(self._lines[0][0], self._look)

    def close(self) -> None:
        """Close all: the backend is another one from now on."""
        while self._lines:
            self._lines.pop()[1].close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Close those that are old, or that the backend has closed."""
        loop = asyncio.get_running_loop()
        kept = [(until, line) for until, line in self._lines if until > loop.time() and line.reusable]
        for one in self._lines:
            if one not in kept:
                one[1].close()
        self._lines = deque(kept)
        self._timer = loop.call_at(kept[0][0], self._look) if kept else None
