"""The relay's shells on paper: what `pump`, `messenger`, `links` and `upstream` do around the engine.

Frames go out by the real `Flights` over paths that lose them. Each word into the engine and out of it goes to
the `Book`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from relay.commands import Abort, Command, Effort, Hold, Send, Start
from relay.engine import Engine
from relay.nkn.flights import Flight
from relay.nkn.multi import Seen
from simulator.book import Book
from simulator.clock import Clock
from simulator.network import Network, Place
from simulator.rates import Rates
from simulator.resending import Resending
from simulator.upstreams import Plan, Worker, plan
from wire import limits
from wire.errors import Fault


class Shell:
    """One relay.

    Args:
        late_s: how late its timers may be.
    """

    def __init__(
        self,
        engine: Engine,
        book: Book,
        *,
        clock: Clock,
        rng: Random,
        rates: Rates,
        net: Network,
        late_s: float,
    ) -> None:
        self.places: dict[str, Place] = {}
        self.pace_s = 0.05
        self._engine, self._book, self._clock, self._rng, self._rates = engine, book, clock, rng, rates
        self._net, self._late_s = net, late_s
        self._resending, self._seen = Resending(clock, self._again), Seen()
        self._waiting: dict[bytes, tuple[int, int]] = {}
        self._frames: dict[bytes, dict[str, Any]] = {}
        self._workers: dict[int, Worker] = {}
        self._ids = 0
        self._tick_at = float("inf")

    # -- from the network ---------------------------------------------------------------

    def arrive(self, place: Place, path: int, message: bytes, text: str) -> None:
        """A copy of a peer's message."""
        _, first = self._seen.arrive(place.key, message, self._clock.now)
        if first:
            now = self._clock.now
            self._book.hears(place.addr, place.key, text, now)
            self._carry_out(self._engine.message(place.addr, place.key, text, now), now)
            self._turn()
        self._net.carry(place, path, place.acked, message, path)

    def acked(self, place: Place, path: int, message: bytes) -> None:
        """A peer's word that it has a frame."""
        now = self._clock.now
        self._resending.flights.acknowledged((place.key, message), place.addr, path, now)
        waiter = self._waiting.pop(message, None)
        if waiter is None:
            return
        self._book.acknowledged(*waiter, now)
        self._carry_out(self._engine.acknowledged(*waiter, now), now)
        self._turn()

    def stop(self) -> None:
        """The relay is told to stop: what runs is ended, what comes is refused."""
        now = self._clock.now
        self._book.stops(now)
        self._carry_out(self._engine.stop(now), now)
        self._turn()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way."""
        return not (self._workers or len(self._resending.flights))

    # -- from the workers ---------------------------------------------------------------

    def head(self, tag: int, status: int, headers: dict[str, str]) -> None:
        """See upstreams.Ears."""
        now = self._clock.now
        self._book.head(tag, status, headers, now)
        self._carry_out(self._engine.head(tag, status, headers, now), now)
        self._turn()

    def data(self, tag: int, data: bytes) -> None:
        """See upstreams.Ears."""
        now = self._clock.now
        self._book.data(tag, data, now)
        self._carry_out(self._engine.data(tag, data, now), now)
        self._turn()

    def eof(self, tag: int) -> None:
        """See upstreams.Ears."""
        now = self._clock.now
        self._book.eof(tag, now)
        self._carry_out(self._engine.eof(tag, now), now)
        self._turn()

    def failed(self, tag: int, fault: Fault) -> None:
        """See upstreams.Ears."""
        self._book.says("failed", (tag, fault.code), self._clock.now)
        self._carry_out(self._engine.failed(tag, fault, self._clock.now), self._clock.now)
        self._turn()

    def closed(self, tag: int) -> None:
        """See upstreams.Ears."""
        del self._workers[tag]
        self._book.closed(tag, self._clock.now)
        self._carry_out(self._engine.closed(tag, self._clock.now), self._clock.now)
        self._turn()

    # -- the loop -----------------------------------------------------------------------

    def _turn(self) -> None:
        """The end of a turn of the loop: the timer is set."""
        due = self._engine.due_at()
        if due is not None and due < self._tick_at:
            self._tick_at = due
            self._clock.at(due + self._late_s * self._rng.random(), self._tick, due)

    def _tick(self, due: float) -> None:
        if due != self._tick_at:
            return  # an earlier one took its place
        self._tick_at = float("inf")
        now = self._clock.now
        self._book.ticks(now, self._engine.due_at())
        self._carry_out(self._engine.advance(now), now)
        self._turn()

    def _carry_out(self, commands: Sequence[Command], at: float) -> None:
        for command in commands:
            frame = json.loads(command.text) if isinstance(command, Send) else None
            self._book.command(command, frame, at)
            match command:
                case Send():
                    self._send(command, frame)
                case Start(tag, request):
                    made: Plan = plan(self._rng, self._rates, request, self.pace_s)
                    worker = Worker(self._clock, self._rng, self._rates, ears=self, tag=tag, made=made)
                    self._workers[tag] = worker
                case Abort(tag):
                    self._workers[tag].abort()
                case Hold(tag, held):
                    if tag in self._workers:
                        self._workers[tag].hold(held=held)
        self._book.settled(at)

    # -- to the network -----------------------------------------------------------------

    def _send(self, command: Send, frame: dict[str, Any] | None) -> None:
        place = self.places[command.dest]
        self._ids += 1
        message, now = self._ids.to_bytes(8, "big"), self._clock.now
        self._frames[message] = frame or {}
        if command.tag is not None and command.number is not None:
            self._waiting[message] = command.tag, command.number
        paths: Sequence[int] = range(place.paths)
        if command.effort is Effort.LEAN and place.paths > 1:
            paths = self._resending.flights.choose(place.addr, paths, now)
        self._copies(place, paths, message)
        if command.effort in {Effort.SURE, Effort.LEAN}:
            body = message + command.text.encode()
            patience_s = limits.RESEND_PLAIN_S if place.paths == 1 else 0.0
            flight = Flight(place.addr, body, limits.HOLD_FRAMES_S, tuple(paths), now, patience_s)
            self._resending.sent((place.key, message), flight)

    def _again(self, flight: Flight) -> None:
        place = self.places[flight.dest]
        self._copies(place, range(place.paths), flight.body[:8])

    def _copies(self, place: Place, paths: Sequence[int], message: bytes) -> None:
        frame = self._frames[message]
        for path in paths:
            self._net.carry(place, path, place.take, message, frame, path)

    def path_changed(self, path: int) -> None:
        """A link is there again."""
        self._resending.path_changed(path)
