"""Messages kept for clients that are away: in the order in which they came, bounded, purged now and then.

As a real node does it: a message over its time is still delivered until the next purge.
Pure; owned by `core`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from relay.nkn.devnode import limits as own


@dataclass(frozen=True, slots=True)
class _Held:
    client_id: bytes
    frame: bytes
    until: float


class Holding:
    """The store of one node; all clients share `max_b` bytes and the oldest messages go first."""

    def __init__(self, max_b: int = own.HOLD_MAX_B) -> None:
        self._max_b = max_b
        self._held: deque[_Held] = deque()
        self._held_b = 0
        self._purged_at = 0.0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_b(self) -> int:
        """Bytes kept."""
        return self._held_b

    def keep(self, client_id: bytes, frame: bytes, until: float) -> int:
        """Keep a frame; return how many old ones had to go, this one among them if it alone is too large."""
        self._held.append(_Held(client_id, frame, until))
        self._held_b += len(frame)
        gone = 0
        while self._held_b > self._max_b:
            self._held_b -= len(self._held.popleft().frame)
            gone += 1
        return gone

    def pop(self, client_id: bytes) -> list[bytes]:
        """Give out what is kept for a client, oldest first."""
        return [held.frame for held in self._split(lambda held: held.client_id == client_id)]

    def purge(self, now: float) -> int:
        """Throw away what is over its time, if it is time to look; return how many."""
        if now < self._purged_at + own.HOLD_PURGE_S:
            return 0
        self._purged_at = now
        return len(self._split(lambda held: held.until <= now))

    def _split(self, taken: Callable[[_Held], bool]) -> list[_Held]:
        if not self._held:
            return []
        out = [held for held in self._held if taken(held)]
        if out:
            self._held = deque(held for held in self._held if not taken(held))
            self._held_b -= sum(len(held.frame) for held in out)
        return out
