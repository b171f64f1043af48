"""Where requests wait for a slot, and the book of those that wait and run.

The shell around `pool`: a request is a coroutine that sleeps until its turn. Lives on one event loop; made
by `rooms`, used by the front.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from farm import limits
from farm.pool import Full, Grant, NobodyThereError, Pool
from farm.routes import Work


class State(enum.Enum):
    """How far a request is; the names that /_requests shows."""

    QUEUED = "queued"
    LOADING = "loading"
    PREFILL = "prefill"
    GENERATING = "generating"


@dataclass(slots=True)
class Ticket:
    """One request that needs a runner.

    Attributes:
        number: unique in this farm's life.
        name: what the client calls it (X-Request-Id), or "".
        path: of its route.
        model: as it was asked for.
        work: what it does to the model.
        state: how far it is.
        place: index of its backend, or −1 while it waits.
        since: when it came, on the monotonic clock.
    """

    number: int
    name: str
    path: str
    model: str
    work: Work
    state: State = State.QUEUED
    place: int = -1
    since: float = field(default_factory=time.monotonic)


class Desk:
    """Gives out the slots of `pool`.

    Attributes:
        pool: the places and the queue; whoever changes a place calls `advance`.
        tickets: requests that wait or run, by number.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.tickets: dict[int, Ticket] = {}
        self._numbers = itertools.count(1)
        self._turns: dict[int, asyncio.Future[int]] = {}
        self._held_s = 5.0  # smoothed time that a slot is held
        self._ghosts: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def enter(self, path: str, model: str, name: str, work: Work) -> Iterator[Ticket]:
        """Write a request into the book while it waits and runs."""
        ticket = Ticket(next(self._numbers), name, path, model[: limits.SHOWN_NAME_MAX], work)
        self.tickets[ticket.number] = ticket
        try:
            yield ticket
        finally:
            del self.tickets[ticket.number]

    @contextlib.asynccontextmanager
    async def seat(self, ticket: Ticket, model: str, avoid: frozenset[int]) -> AsyncIterator[Seat]:
        """Wait for a slot and hold it; one that some backend has failed waits in front of all others.

        Raises:
            Full: too many wait.
            NobodyThereError: there is no backend.
        """
        seat = Seat(self, await self._turn(ticket, model, avoid))
        ticket.place = seat.place
        begun = time.monotonic()
        try:
            yield seat
        finally:
            self._held_s += (time.monotonic() - begun - self._held_s) / 8
            ticket.place = -1
            if not seat.kept:
                self._release(seat.place)

    def advance(self) -> None:
        """Something about the places has changed."""
        self._serve(self.pool.advance())
        for number in self.pool.abandon():
            if number in self._turns and not self._turns[number].done():
                self._turns[number].set_exception(NobodyThereError())

    def retry_after_s(self) -> int:
        """When asking again makes sense: about the time in which the queue moves up by one."""
        step = self._held_s / max(1, self.pool.slots)
        return max(limits.RETRY_AFTER_MIN_S, min(limits.RETRY_AFTER_MAX_S, math.ceil(step)))

    def book(self) -> list[dict[str, Any]]:
        """The requests that wait and run, for people and for the relay."""
        now = time.monotonic()
        positions = self.pool.positions()
        return [
            {
                "id": ticket.name,
                "path": ticket.path,
                "model": ticket.model,
                "state": ticket.state.value,
                "position": positions.get(ticket.number, 0),
                "backend": None if ticket.place < 0 else ticket.place,
                "age_ms": round(1000 * (now - ticket.since)),
            }
            for ticket in list(self.tickets.values())
        ]

    @property
    def ghosts(self) -> int:
        """Slots held for runners that still work for clients that left."""
        return len(self._ghosts)

    async def close(self) -> None:
        """Give up whatever is still waited for."""
        for task in self._ghosts:
            task.cancel()
        await asyncio.gather(*self._ghosts, return_exceptions=True)

    async def _turn(self, ticket: Ticket, model: str, avoid: frozenset[int]) -> int:
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._turns[ticket.number] = turn
        try:
            self._serve(self.pool.join(ticket.number, model, avoid, again=bool(avoid)))
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release(turn.result())
            raise
        finally:
            self.pool.leave(ticket.number)
            del self._turns[ticket.number]

    def _serve(self, grants: Iterable[Grant]) -> None:
        for grant in grants:
            turn = self._turns.get(grant.number)
            if turn is None or turn.done():
                self._release(grant.place)  # it left between its grant and this
            else:
                turn.set_result(grant.place)

    def _release(self, place: int) -> None:
        self._serve(self.pool.release(place))

    def _keep(self, place: int, until: asyncio.Task[None]) -> None:
        self._ghosts.add(until)

        def over(_: object) -> None:
            self._ghosts.discard(until)
            self._release(place)

        until.add_done_callback(over)


class Seat:
    """A slot that is held.

    Attributes:
        place: index of the backend.
        kept: whether it stays taken after its request has ended.
    """

    def __init__(self, desk: Desk, place: int) -> None:
        self.place = place
        self.kept = False
        self._desk = desk

    def keep(self, until: asyncio.Task[None]) -> None:
        """Stay taken until that task is done: the client left, the runner still works for it."""
        self.kept = True
        self._desk._keep(self.place, until)  # noqa: SLF001 - one class in two parts


__all__ = ["Desk", "Full", "NobodyThereError", "Seat", "State", "Ticket"]
