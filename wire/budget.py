"""A sum that is spent at once and refills with time: how often, or how much, something may be done. Pure."""

from __future__ import annotations

import math


class Budget:
    """Full at first; whoever takes last may overdraw it.

    Args:
        most: what it holds.
        per_s: what comes back in a second.
    """

    __slots__ = ("_at", "_left", "_most", "_per_s")

    def __init__(self, most: float, per_s: float) -> None:
        self._most = self._left = most
        self._per_s = per_s
        self._at = -math.inf

    def allows(self, now: float) -> bool:
        """Whether something is left."""
        return self.left(now) > 0

    def left(self, now: float) -> float:
        """How much is left; below nothing once it was overdrawn."""
        if now > self._at:
            if self._at > -math.inf:
                self._left = min(self._most, self._left + (now - self._at) * self._per_s)
            self._at = now
        return self._left

    def spend(self, amount: float) -> None:
        """Take that much."""
        self._left -= amount

    def wait_s(self, now: float, amount: float = 0.0) -> float:
        """Seconds until more than `amount` is left."""
        lacking = amount - self.left(now)
        return 0.0 if lacking < 0 else lacking / self._per_s
