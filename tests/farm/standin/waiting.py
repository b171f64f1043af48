"""Waiting for one thing unless another comes first. The clients that leave and the runners that die both
end whatever is waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Gone(Exception):
    """What was watched for came first."""


async def unless(gone: asyncio.Event, wanted: Awaitable[T]) -> T:
    """The result of `wanted`, or Gone as soon as `gone` is set; `wanted` is then cancelled."""
    task = asyncio.ensure_future(wanted)
    watch = asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Gone
    finally:
        for each in (task, watch):
            each.cancel()


class Places:
    """So many places, given out first come first served."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return sum(not place.done() for place in self._queue)

    async def take(self) -> None:
        if self._free and not self.waiting:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give()  # it had just been given to the one who leaves
            raise

    def give(self) -> None:
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
