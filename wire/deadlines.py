"""Who wants to be asked when: many times that mostly move later, and the earliest of them at any moment.

A time that only moves later costs a dictionary entry; the heap is put right when its turn comes. Pure;
used by whatever has a `due_at`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Generic, TypeVar

_Key = TypeVar("_Key")


class Deadlines(Generic[_Key]):
    """One time for each key, in seconds."""

    __slots__ = ("_due", "_heap", "_numbers", "_queued")

    def __init__(self) -> None:
        self._due: dict[_Key, float] = {}
        self._queued: dict[_Key, float] = {}
        self._heap: list[tuple[float, int, _Key]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: _Key, at: float) -> None:
        """`key` wants to be asked at `at`, whatever it wanted before."""
        self._due[key] = at
        queued = self._queued.get(key)
        if queued is None or at < queued:
            self._queue(key, at)

    def drop(self, key: _Key) -> None:
        """`key` wants nothing any more."""
        self._due.pop(key, None)

    def at(self, key: _Key) -> float | None:
        """When `key` wants to be asked."""
        return self._due.get(key)

    def earliest(self) -> float | None:
        """The first of all times; None if nobody wants anything."""
        heap = self._heap
        while heap:
            at, _, key = heap[0]
            due = self._due.get(key)
            if due == at:
                return at
            heapq.heappop(heap)
            if self._queued.get(key) != at:
                continue  # an earlier entry took its place
            del self._queued[key]
            if due is not None:
                self._queue(key, due)
        return None

    def take(self, now: float) -> Iterator[_Key]:
        """Each key whose time has come, earliest first; it wants nothing until it is set again."""
        while (at := self.earliest()) is not None and at <= now:
            key = heapq.heappop(self._heap)[2]
            self._queued.pop(key, None)
            del self._due[key]
            yield key

    def _queue(self, key: _Key, at: float) -> None:
        self._queued[key] = at
        heapq.heappush(self._heap, (at, next(self._numbers), key))
