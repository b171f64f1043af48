"""What nodes do to messages: lose, double, delay, reorder; and the places where peers are met.

A copy takes one path. A path that is down swallows what is sent; a peer that is clogged hears and says
nothing, and what was under way comes later in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from simulator.clock import Clock
from simulator.rates import Rates

LATE_S = 30.0


class Place:
    """An address of a peer.

    Attributes:
        addr: as the relay names it.
        key: its owner.
        paths: of how many parts it is made.
        clogged_until: nothing comes or goes before.
        gone: for ever.
        take: called with each frame that arrives, and the path it took.
        acked: called with the id of each message that the relay acknowledged, and the path.
    """

    def __init__(self, addr: str, key: bytes, paths: int) -> None:
        self.addr, self.key, self.paths = addr, key, paths
        self.clogged_until = 0.0
        self.gone = False
        self.take: Callable[[bytes, dict[str, object], int], None] = _nothing
        self.acked: Callable[[bytes, int], None] = _nothing


def _nothing(*_args: object) -> None:
    """Whoever is here does not listen yet."""


class Network:
    """Between one relay and all its peers."""

    def __init__(self, clock: Clock, rng: Random, rates: Rates, paths: int) -> None:
        self._clock, self._rng, self._rates = clock, rng, rates
        self._latency_s = [0.003 * 100 ** rng.random() for _ in range(paths)]
        self.down_until = [0.0] * paths

    def carry(self, place: Place, path: int, arrive: Callable[..., None], *args: object) -> None:
        """Bring one copy from or to `place`: `arrive(*args)` is called for each that gets there."""
        rng, rates, now = self._rng, self._rates, self._clock.now
        if place.gone or now < self.down_until[path] or rng.random() < rates.loss:
            return
        self._bring(place, path, arrive, args)
        if rates.doubled and rng.random() < rates.doubled:
            self._bring(place, path, arrive, args)

    def _bring(self, place: Place, path: int, arrive: Callable[..., None], args: tuple[object, ...]) -> None:
        rng, clock = self._rng, self._clock
        at = clock.now + self._latency_s[path] * (0.5 + rng.random())
        if self._rates.late and rng.random() < self._rates.late:
            at += LATE_S * rng.random() ** 3
        if at < place.clogged_until:
            at = place.clogged_until + 0.5 * rng.random()
        clock.at(at, arrive, *args)
