"""Virtual time: a heap of what happens next. Nothing here waits; an hour costs what happens in it."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from simulator.trace import Violation

EVENTS_MAX = 150_000
"""A world that does more than this does not come to rest."""


class Clock:
    """The time of one world.

    Attributes:
        now: seconds.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._count = 0

    def at(self, when: float, act: Callable[..., None], *args: object) -> None:
        """Call `act(*args)` at `when`; what is due together happens in the order it was asked for."""
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, act, args))

    def after(self, seconds: float, act: Callable[..., None], *args: object) -> None:
        """Call `act(*args)` in so many seconds."""
        self.at(self.now + seconds, act, *args)

    def run(self, until: float) -> None:
        """Let everything happen up to that time."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, act, args = heapq.heappop(heap)
            act(*args)
            if self._count > EVENTS_MAX:
                raise Violation("restless", f"more than {EVENTS_MAX} events")

    @property
    def idle(self) -> bool:
        """Whether nothing will ever happen."""
        return not self._heap
