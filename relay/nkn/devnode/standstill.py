"""A node that stands still: what was to be done waits, in order, until all it waits for has come.

Shell: waits; owned by `switchboard`, which stands still when a block comes while a client does not take what
is written to it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable


class Standstill:
    """None at first; one at a time."""

    def __init__(self) -> None:
        self._waiting: asyncio.Task[None] | None = None
        self._backlog: deque[Callable[[], None]] = deque()
        self._over = asyncio.Event()
        self._over.set()

    def begin(self, reasons: Iterable[Awaitable[None]]) -> None:
        """Stand still until all these are done; goes on as before if there are none or it stands already."""
        waited_for = list(reasons)
        if waited_for and self._waiting is None:
            self._over.clear()
            self._waiting = asyncio.ensure_future(self._wait(waited_for))

    def later(self, action: Callable[[], None]) -> None:
        """Do something now, or as soon as the node moves again."""
        if self._waiting is None:
            action()
        else:
            self._backlog.append(action)

    async def over(self) -> None:
        """Wait until the node moves."""
        await self._over.wait()

    def end(self) -> None:
        """Wait no longer and forget what was to be done."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._backlog.clear()
        self._over.set()

    async def _wait(self, reasons: list[Awaitable[None]]) -> None:
        for reason in reasons:
            await reason
        self._waiting = None
        self._over.set()
        while self._backlog:
            self._backlog.popleft()()
