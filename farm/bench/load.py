"""The load of one step: clients that wait for their answers, or arrivals that wait for nothing.

Knows no HTTP: what a request is, it is told. Called by `run`, which may cancel it at any time; what was
answered until then stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from farm.bench import answer, limits
from farm.bench.answer import Answer, Failure
from farm.bench.arrivals import arrivals
from farm.bench.plan import Bounds, Kind, Step


class Load:
    """One step under way.

    Args:
        step: closed or open, and how much.
        bounds: when it is over.
        ask: makes the request of a number, due at a time.
        uniform: chance for the arrivals, 0 to 1.
        clock: seconds, monotonic.

    Attributes:
        answers: those that ended, in that order.
        failed: how many of them are failures.
        in_flight: requests sent and not ended.
    """

    def __init__(
        self,
        step: Step,
        bounds: Bounds,
        ask: Callable[[int, float], Awaitable[Answer]],
        uniform: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self.answers: list[Answer] = []
        self.failed = 0
        self.in_flight = 0
        self._step = step
        self._bounds = bounds
        self._ask = ask
        self._uniform = uniform
        self._clock = clock
        self._sent = 0
        self._begun = 0.0

    def done(self) -> float:
        """How much of the step is over, 0 to 1."""
        if self._bounds.requests is not None:
            return min(1.0, len(self.answers) / self._bounds.requests)
        return min(1.0, self.elapsed_s() / (self._bounds.duration_s or 1.0))

    def elapsed_s(self) -> float:
        """Seconds since the step began."""
        return self._clock() - self._begun if self._begun else 0.0

    async def run(self) -> None:
        """Make the whole load and wait for its last answer."""
        self._begun = self._clock()
        async with asyncio.TaskGroup() as group:
            if self._step.kind is Kind.OPEN:
                await self._arrive(group)
            else:
                for _ in range(int(self._step.level)):
                    group.create_task(self._client())

    async def _client(self) -> None:
        """Ask, wait for the answer, ask again."""
        while self._may_send(now := self._clock()):
            number, self._sent = self._sent, self._sent + 1
            self.in_flight += 1
            answered = await self._one(number, now)
            if not answered.whole:
                await asyncio.sleep(limits.PAUSE_S)

    def _may_send(self, now: float) -> bool:
        if self._bounds.requests is not None:
            return self._sent < self._bounds.requests
        return now - self._begun < (self._bounds.duration_s or 0.0)

    async def _arrive(self, group: asyncio.TaskGroup) -> None:
        """Send at each arrival, whatever the answers do; beyond the bound an arrival is lost and counted."""
        for number, at in enumerate(arrivals(self._step.level, self._bounds, self._uniform)):
            due = self._begun + at
            # Also when late: the answers need their turn.
            await asyncio.sleep(max(0.0, due - self._clock()))
            if self.in_flight >= limits.CONCURRENCY_MAX:
                full = Failure(answer.OVERFLOW, f"{self.in_flight} requests were in flight")
                self._keep(Answer(due=due, sent=due, end=due, failure=full))
            else:
                self.in_flight += 1
                group.create_task(self._one(number, due))

    async def _one(self, number: int, due: float) -> Answer:
        try:
            answered = await self._ask(number, due)
        finally:
            self.in_flight -= 1
        self._keep(answered)
        return answered

    def _keep(self, answered: Answer) -> None:
        self.answers.append(answered)
        self.failed += not answered.whole
