"""What is sent again until it is acknowledged, on the virtual clock: `Flights` as `Links` drives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from relay.nkn.flights import Flight, Flights, Name
from simulator.clock import Clock


class Resending:
    """One end's.

    Args:
        clock: the world's.
        again: sends a flight once more.
        here: whether anybody is there to send.

    Attributes:
        flights: what is under way.
    """

    def __init__(
        self, clock: Clock, again: Callable[[Flight], None], here: Callable[[], bool] = lambda: True
    ) -> None:
        self.flights = Flights(Counter())
        self._clock, self._again, self._here = clock, again, here
        self._at = float("inf")

    def sent(self, name: Name, flight: Flight) -> None:
        """Its first copies left."""
        self.flights.sent(name, flight)
        self._set()

    def path_changed(self, path: int) -> None:
        """A link is there again."""
        self.flights.path_changed(path, self._clock.now)
        self._set()

    def _set(self) -> None:
        due = self.flights.due_at()
        if due is not None and due < self._at:
            self._at = due
            self._clock.at(due, self._look, due)

    def _look(self, due: float) -> None:
        if due != self._at:
            return
        self._at = float("inf")
        if self._here():
            for flight in self.flights.overdue(self._clock.now):
                self._again(flight)
            self._set()
