"""The load itself, with requests that are only counted: who waits for whom, and from when time counts."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable

import pytest

from farm.bench import answer, limits
from farm.bench.answer import Answer, Failure
from farm.bench.arrivals import arrivals
from farm.bench.load import Load
from farm.bench.plan import Bounds, Kind, Step

Ask = Callable[[int, float], Awaitable[Answer]]


def load_of(kind: Kind, level: float, bounds: Bounds, ask: Ask) -> Load:
    return Load(Step(kind, level), bounds, ask, random.Random(1).random, time.perf_counter)


def answered(due: float, failure: Failure | None = None) -> Answer:
    now = time.perf_counter()
    return Answer(due=due, sent=now, end=now, failure=failure)


async def test_clients_wait_for_their_answers() -> None:
    numbers: list[int] = []
    most = 0

    async def ask(number: int, due: float) -> Answer:
        nonlocal most
        numbers.append(number)
        most = max(most, load.in_flight)
        await asyncio.sleep(0)
        return answered(due)

    load = load_of(Kind.CLOSED, 3, Bounds(10, None), ask)
    assert (load.done(), load.elapsed_s()) == (0.0, 0.0)
    await load.run()
    assert sorted(numbers) == list(range(10))
    assert most == 3
    assert (len(load.answers), load.in_flight, load.failed, load.done()) == (10, 0, 0, 1.0)


async def test_a_step_ends_by_its_duration() -> None:
    async def ask(_: int, due: float) -> Answer:
        await asyncio.sleep(0.005)
        return answered(due)

    load = load_of(Kind.CLOSED, 2, Bounds(None, 0.05), ask)
    await load.run()
    assert len(load.answers) >= 2
    assert load.done() == 1.0
    begun = min(one.due for one in load.answers)
    assert all(one.due - begun < 0.05 for one in load.answers)


async def test_a_client_that_failed_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAUSE_S", 0.01)
    dues: list[float] = []

    async def ask(_: int, due: float) -> Answer:
        dues.append(due)
        return answered(due, Failure(answer.REFUSED, "refused"))

    load = load_of(Kind.CLOSED, 1, Bounds(3, None), ask)
    await load.run()
    assert load.failed == 3
    assert all(second - first >= 0.01 for first, second in itertools.pairwise(dues))


async def test_arrivals_wait_for_no_answer() -> None:
    all_there = asyncio.Event()

    async def ask(number: int, due: float) -> Answer:
        if number == 9:
            all_there.set()
        await all_there.wait()
        return answered(due)

    load = load_of(Kind.OPEN, 500.0, Bounds(10, None), ask)
    async with asyncio.timeout(10):
        await load.run()
    assert (len(load.answers), load.failed) == (10, 0)


async def test_time_counts_from_the_arrival_however_late_it_was_sent() -> None:
    dues: list[float] = []

    async def ask(_: int, due: float) -> Answer:
        dues.append(due)
        sent = time.perf_counter()
        time.sleep(0.01)  # the whole bench is held up, as by a busy machine
        return Answer(due=due, sent=sent, end=time.perf_counter())

    load = load_of(Kind.OPEN, 1000.0, Bounds(12, None), ask)
    before = time.perf_counter()
    await load.run()
    after = time.perf_counter()
    planned = list(arrivals(1000.0, Bounds(12, None), random.Random(1).random))
    begun = dues[0] - planned[0]
    assert before <= begun <= after
    assert dues == pytest.approx([begun + at for at in planned])
    # Twelve requests of 10 ms in a row, all due within some 20 ms: the wait is in the latencies.
    last = load.answers[-1]
    assert last.sent - last.due > 0.05
    assert last.end - last.due > last.end - last.sent


async def test_arrivals_beyond_the_bound_are_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONCURRENCY_MAX", 3)
    go_on = asyncio.Event()

    async def ask(_: int, due: float) -> Answer:
        await go_on.wait()
        return answered(due)

    load = load_of(Kind.OPEN, 1000.0, Bounds(8, None), ask)
    running = asyncio.create_task(load.run())
    async with asyncio.timeout(10):
        while len(load.answers) < 5:
            await asyncio.sleep(0.005)
        assert (load.in_flight, load.failed) == (3, 5)
        go_on.set()
        await running
    kinds = [one.failure.kind for one in load.answers if one.failure]
    assert kinds == [answer.OVERFLOW] * 5
    assert len(load.answers) == 8


async def test_arrivals_end_by_the_duration() -> None:
    async def ask(_: int, due: float) -> Answer:
        return answered(due)

    load = load_of(Kind.OPEN, 400.0, Bounds(None, 0.05), ask)
    await load.run()
    assert len(load.answers) == len(list(arrivals(400.0, Bounds(None, 0.05), random.Random(1).random))) > 0


@pytest.mark.parametrize(("kind", "level"), [(Kind.CLOSED, 2), (Kind.OPEN, 1000.0)])
async def test_what_was_answered_stays_when_the_step_is_cancelled(kind: Kind, level: float) -> None:
    async def ask(number: int, due: float) -> Answer:
        if number >= 2:
            await asyncio.Event().wait()
        return answered(due)

    load = load_of(kind, level, Bounds(4, None), ask)
    running = asyncio.create_task(load.run())
    async with asyncio.timeout(10):
        while load.in_flight < 2 or len(load.answers) < 2:
            await asyncio.sleep(0.002)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert (len(load.answers), load.in_flight) == (2, 0)
