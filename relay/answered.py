"""Requests that were answered already: their ids are kept a while, so that none is executed twice.

Bounded; the oldest are forgotten first. Pure; owned by `engine`.
"""

from __future__ import annotations

from collections import OrderedDict

from relay.frames import RequestId
from wire import limits


class Answered:
    """Names of ended requests, each a (peer's key, id)."""

    def __init__(self) -> None:
        self._ended: OrderedDict[tuple[bytes, RequestId], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ended)

    def remember(self, name: tuple[bytes, RequestId], now: float) -> None:
        """It has ended."""
        self._ended[name] = now

    def knows(self, name: tuple[bytes, RequestId], now: float) -> bool:
        """Whether it ended within the last minutes."""
        while self._ended:
            oldest = next(iter(self._ended.values()))
            if len(self._ended) < limits.ANSWERED_MAX and now - oldest < limits.ANSWERED_TTL_S:
                break
            self._ended.popitem(last=False)
        return name in self._ended
