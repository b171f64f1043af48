"""Messages on their way that must arrive: first on one path, again on all of them until acknowledged.

    sent on one path or all ─┬─ acknowledged in time ─▶ forgotten; the path's pace is known better
                             └─ not ─▶ sent again on all paths, after pauses that double; given up at last

The same id travels each time, so every SDK delivers it once. A peer that never acknowledges costs a few
attempts in all. Pure: `now` is an argument; owned by `links`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from relay.nkn.multi import Recent
from relay.nkn.pace import Paces
from wire import limits
from wire.budget import Budget
from wire.deadlines import Deadlines


@dataclass(slots=True)
class Flight:
    """One message under way.

    Attributes:
        dest: the address it goes to, without a part's prefix.
        body: it, sealed.
        holding: seconds that nodes hold it.
        paths: our parts that its first copies took.
        sent_at: when they left.
        patience_s: an acknowledgement is not missed before.
        tries: attempts made.
        hurried: a path changed; the next attempt is not counted as one.
        resent: it was sent more than once, so nobody knows which copy was answered.
    """

    dest: str
    body: bytes
    holding: int
    paths: tuple[int, ...]
    sent_at: float
    patience_s: float = 0.0
    tries: int = 1
    hurried: bool = False
    resent: bool = False


Name = tuple[bytes, bytes]
"""A message: the receiver's public key and the message id."""


class Flights:
    """All messages that wait to be acknowledged.

    Args:
        counts: gets "copied", "resent", "resend_given_up", "resend_no_room" and "resend_unproven".
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._flights: dict[Name, Flight] = {}
        self._due: Deadlines[Name] = Deadlines()
        self._peers: Recent[str, Paces] = Recent()
        self._held_b = 0
        self._extra = Budget(limits.EXTRA_COPIES, limits.EXTRA_COPIES)

    def __len__(self) -> int:
        return len(self._flights)

    def choose(self, dest: str, indices: Sequence[int], now: float) -> list[int]:
        """Our parts that the first copy takes: the best one, or all if that is not known."""
        paces = self._peers.get(dest)
        if paces is None or not paces.proven or len(indices) < 2 or self._is_full:
            return list(indices)
        if paces.is_lossy(now) and self._extra.allows(now):
            self._extra.spend(len(indices) - 1)
            self._counts["copied"] += 1
            return list(indices)
        return paces.choose(indices, now)

    def sent(self, name: Name, flight: Flight) -> None:
        """Its first copies were queued."""
        if known := self._flights.get(name):
            self._forget(name, known)
        paces = self._paces(flight.dest)
        if self._is_full:
            self._counts["resend_no_room"] += 1
            return
        if not paces.proven:
            if paces.unproven >= limits.RESEND_UNPROVEN:
                self._counts["resend_unproven"] += 1
                return
            paces.unproven += 1
        self._held_b += len(flight.body)
        paces.held_b += len(flight.body)
        self._flights[name] = flight
        self._due.set(name, flight.sent_at + self._patience(flight, paces))

    def acknowledged(self, name: Name, dest: str, index: int, now: float) -> None:
        """The peer at `dest` has it; the word came to our part `index`."""
        flight = self._flights.get(name)
        paces = self._paces(flight.dest) if flight else self._peers.get(dest)
        if paces is None:
            return  # a stranger's
        paces.proven, paces.unproven, paces.acked_at = True, 0, now
        if flight is None:
            return
        self._forget(name, flight)
        if flight.resent:
            return  # nobody knows which attempt was answered (Karn)
        if len(flight.paths) == 1:
            # Official SDKs acknowledge on every path: the way of the copy counts, not that of the word.
            paces.sample(flight.paths[0], now - flight.sent_at, now)
            paces.kept(flight.paths[0])
        elif index in flight.paths:
            paces.sample(index, now - flight.sent_at, now)

    def path_changed(self, index: int, now: float) -> None:
        """Our part `index` lost its socket or has a new one: what went there may be lost with the old."""
        for paces in self._peers.values():
            paces.forget(index)
        soon = now + limits.RESEND_SPREAD_MIN_S
        for name, flight in self._flights.items():
            if flight.resent or index in flight.paths:
                flight.hurried = True
                self._due.set(name, min(soon, self._due.at(name) or soon))

    def due_at(self) -> float | None:
        """When `overdue` has something; None if nothing is under way."""
        return self._due.earliest()

    def overdue(self, now: float) -> list[Flight]:
        """What is to be sent again now, on all paths; oldest first, not too much at once for one peer."""
        again: list[Flight] = []
        burst: Counter[str] = Counter()
        lossy: dict[str, set[int]] = {}
        missed: Counter[str] = Counter()
        for name in list(self._due.take(now)):
            flight = self._flights[name]
            paces = self._paces(flight.dest)
            if not flight.hurried and self._is_over(flight, paces):
                self._give_up(name, flight, paces)
                continue
            burst[flight.dest] += 1
            if burst[flight.dest] > limits.RESEND_BURST:
                self._due.set(name, now + limits.RESEND_SPREAD_MIN_S)
                continue
            if not flight.hurried:
                lossy.setdefault(flight.dest, set()).update(() if flight.resent else flight.paths)
                missed[flight.dest] += not flight.resent
                flight.tries += 1
            flight.hurried, flight.resent = False, True
            self._due.set(name, now + self._patience(flight, paces))
            again.append(flight)
        for dest, paths in lossy.items():
            self._paces(dest).lost(sorted(paths), now, missed[dest])
        self._counts["resent"] += len(again)
        return again

    # -- inside -------------------------------------------------------------------------

    @property
    def _is_full(self) -> bool:
        return self._held_b >= limits.RESEND_MAX_B

    def _paces(self, dest: str) -> Paces:
        paces = self._peers.get(dest)
        if paces is None:
            paces = Paces()
            self._peers.remember(dest, paces)
        return paces

    def _patience(self, flight: Flight, paces: Paces) -> float:
        """What is before it on the way, and itself, takes time to arrive too."""
        on_the_way = paces.held_b / limits.RESEND_B_PER_S
        return max(flight.patience_s, paces.patience(flight.paths, flight.tries)) + on_the_way

    def _is_over(self, flight: Flight, paces: Paces) -> bool:
        return flight.tries >= (limits.RESEND_TRIES if paces.proven else limits.RESEND_UNPROVEN_TRIES)

    def _give_up(self, name: Name, flight: Flight, paces: Paces) -> None:
        self._counts["resend_given_up"] += 1
        self._forget(name, flight)
        if paces.acked_at < flight.sent_at:
            paces.proven = False  # it is gone, or does not acknowledge any more

    def _forget(self, name: Name, flight: Flight) -> None:
        del self._flights[name]
        self._due.drop(name)
        self._held_b -= len(flight.body)
        if paces := self._peers.get(flight.dest):
            paces.held_b = max(0, paces.held_b - len(flight.body))
