"""Messages kept for clients that are away: in the order in which they came, bounded, purged now and then.

As a real node does it: between two purges a message over its time is still delivered, and there may be more
than there is room for.
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
    """The store of one node, shared by all clients; the oldest messages go first.

    Args:
        max_b: bytes that outlast a purge.
        hard_b: bytes that are never exceeded.
        purge_s: seconds between two purges.
    """

    def __init__(
        self, max_b: int = own.HOLD_MAX_B, hard_b: int = own.HOLD_HARD_B, purge_s: float = own.HOLD_PURGE_S
    ) -> None:
        self._max_b = max_b
        self._hard_b = hard_b
        self._purge_s = purge_s
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
        return self._shrink(self._hard_b)

    def pop(self, client_id: bytes) -> list[bytes]:
        """Give out what is kept for a client, oldest first."""
        return [held.frame for held in self._split(lambda held: held.client_id == client_id)]

    def purge(self, now: float) -> tuple[int, int]:
        """If it is time, throw away what is over its time and what is too much; return how many of each."""
        if now < self._purged_at + self._purge_s:
            return 0, 0
        self._purged_at = now
        expired = len(self._split(lambda held: held.until <= now))
        return expired, self._shrink(self._max_b)

    def _shrink(self, most_b: int) -> int:
        gone = 0
        while self._held_b > most_b:
            self._held_b -= len(self._held.popleft().frame)
            gone += 1
        return gone

    def _split(self, taken: Callable[[_Held], bool]) -> list[_Held]:
        if not self._held:
            return []
        out = [held for held in self._held if taken(held)]
        if out:
            self._held = deque(held for held in self._held if not taken(held))
            self._held_b -= sum(len(held.frame) for held in out)
        return out
