"""What happened in a world, as one hash and as its last words."""

from __future__ import annotations

import hashlib
from collections import deque

KEPT = 30


class Violation(Exception):
    """A promise was broken.

    Attributes:
        check: its name.
        why: what was seen.
    """

    def __init__(self, check: str, why: str) -> None:
        super().__init__(f"{check}: {why}")
        self.check = check
        self.why = why


class Trace:
    """Everything that goes into a relay and comes out of it, in order.

    Attributes:
        last: the last events, in words.
        every: all of them, where they are wanted.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.last: deque[tuple[float, str, object]] = deque(maxlen=None if whole else KEPT)
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, now: float, what: str, more: object) -> None:
        """One event."""
        self.last.append((now, what, more))
        self._hash.update(f"{now!r} {what} {more}\n".encode())

    def digest(self) -> str:
        """The hash of all events."""
        return self._hash.hexdigest()

    def words(self) -> list[str]:
        """The last events, a line each."""
        return [f"{now - 1000:10.4f}  {what:<9} {str(more)[:180]}" for now, what, more in self.last]
