"""Who runs now and who waits: a bounded queue in which no key holds every worker.

First come, first served, but a key that already runs its share is passed over. Refusals are faults with
`retry_after_ms`. Pure; owned by `engine`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from relay.rights import Rights
from wire import limits
from wire.errors import busy


@dataclass(frozen=True, slots=True)
class Shares:
    """Bounds.

    Attributes:
        workers: requests that run at once.
        per_peer: of one key.
        queue: requests that wait, of all keys; half of it of one key.
    """

    workers: int = limits.WORKERS
    per_peer: int = limits.WORKERS - 1
    queue: int = limits.QUEUE


class Admission:
    """Requests by tag, running and waiting; one that waits has its key's share beside it."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._running: dict[int, bytes] = {}
        self._waiting: dict[int, tuple[bytes, int]] = {}
        self._per_key: Counter[bytes] = Counter()
        self.peak_waiting = 0

    @property
    def running(self) -> int:
        """Requests that hold a worker."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def admit(self, tag: int, key: bytes, rights: Rights = Rights()) -> bool:  # noqa: B008 - a frozen value
        """True: start it now; False: it waits.

        Args:
            tag: of the request.
            key: of its peer.
            rights: the peer's; of its share and the common one the smaller counts.

        Raises:
            PeerFault: "busy", if there is no room to wait either.
        """
        common = self._shares.per_peer
        share = common if rights.running is None else min(common, rights.running)
        if not self._waiting_before(key) and self._fits(key, share):
            self._start(tag, key)
            return True
        mine = sum(1 for other, _ in self._waiting.values() if other == key)
        if len(self._waiting) >= self._shares.queue:
            raise busy("the relay's queue is full; ask again later", limits.RETRY_AFTER_MS, scope="queue")
        most = max(1, self._shares.queue // 2)
        if mine >= (most if rights.queued is None else min(most, rights.queued)):
            raise busy(
                "too many requests of this key wait already", limits.RETRY_AFTER_MS, scope="peer_queue"
            )
        self._waiting[tag] = key, share
        self.peak_waiting = max(self.peak_waiting, len(self._waiting))
        return False

    def position(self, tag: int) -> int | None:
        """Place in the queue from 1, or None if it does not wait."""
        if tag not in self._waiting:
            return None
        return list(self._waiting).index(tag) + 1

    def withdraw(self, tag: int) -> None:
        """It waits no longer."""
        self._waiting.pop(tag, None)

    def release(self, tag: int) -> None:
        """Its worker is free again."""
        key = self._running.pop(tag, None)
        if key is not None:
            self._per_key[key] -= 1
            if not self._per_key[key]:
                del self._per_key[key]

    def next(self) -> int | None:
        """The tag that runs next, already counted as running; None if none may."""
        for tag, (key, share) in self._waiting.items():
            if self._fits(key, share):
                del self._waiting[tag]
                self._start(tag, key)
                return tag
        return None

    def _waiting_before(self, key: bytes) -> bool:
        return any(other == key or self._per_key[other] < share for other, share in self._waiting.values())

    def _fits(self, key: bytes, share: int) -> bool:
        return len(self._running) < self._shares.workers and self._per_key[key] < share

    def _start(self, tag: int, key: bytes) -> None:
        self._running[tag] = key
        self._per_key[key] += 1
