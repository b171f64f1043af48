"""Hundreds of clients that come and leave at random: no slot is lost, and none is given out twice."""

from __future__ import annotations

import asyncio
import collections
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from holes import TEXTS, VECTORS, Call, ask, asked, body, farm_of, get, idle, post, quicken, until
from standin import runner
from standin.ollama import Model, Standin

from farm import limits
from farm.desk import State
from farm.rooms import Rooms

CLIENTS = 300
SLOTS = 4
PASSING = 8
"""Looks in a row, 1 ms apart: what is seen so often is no close that is still under way."""


class Told(asyncio.Queue[Any]):
    """Knows whether a sequence has brought a token."""

    begun = False

    def put_nowait(self, item: Any) -> None:
        self.begun = True
        super().put_nowait(item)


@dataclass(eq=False)
class Sequence(runner.Sequence):
    """A sequence whose queue is a `Told`."""

    out: Told = field(default_factory=Told)


def works(sequence: runner.Sequence) -> bool:
    """Not of a client that left while tokens came: such a one ends with its next token."""
    assert isinstance(sequence.out, Told)
    return not (sequence.left.is_set() and sequence.out.begun)


@asynccontextmanager
async def watched(*ollamas: Standin) -> AsyncIterator[list[int]]:
    """Looks all the time how many requests a backend works on; gives those that are too many for it."""
    found: list[int] = []

    async def look(ollama: Standin) -> None:
        row = 0
        while True:
            runners = [one.runner for one in ollama.scheduler.loaded.values()]
            count = sum(map(works, (s for one in runners for s in (*one.running, *one.waiting))))
            row = row + 1 if count > SLOTS else 0
            if row >= PASSING:
                found.append(count)
            await asyncio.sleep(0.001)

    looking = [asyncio.create_task(look(ollama)) for ollama in ollamas]
    try:
        yield found
    finally:
        for task in looking:
            task.cancel()
        for outcome in await asyncio.gather(*looking, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome


PLANS = ("stay", "stay", "at once", "later", "in the prompt", "in the prompt", "in the stream")


async def client(rooms: Rooms, name: str, chance: random.Random, models: str) -> str:
    """One client's life; when it left, or that it stayed."""
    plan = chance.choice(PLANS)
    path = chance.choice(TEXTS if plan == "in the prompt" else [*TEXTS, *TEXTS, *VECTORS])
    words = f"tokens={chance.randrange(1, 9)} gap=0.002"
    if plan == "in the prompt" or (path in TEXTS and chance.random() < 0.2):
        words += f" prefill={chance.uniform(0.03, 0.05)}"
    more: dict[str, Any] = {"model": chance.choice(models)}
    if path in TEXTS and chance.random() < 0.3:
        more["stream"] = False
    await asyncio.sleep(chance.uniform(0, 1.0))
    call = await Call.to(rooms.url, post(path, body(path, words, **more), f"X-Request-Id: {name}"))
    if plan == "stay":
        told = await call.whole()
        assert (told.status, told.end) in {(200, "last chunk"), (200, "length")}, told
        return plan
    if plan == "later":
        await asyncio.sleep(chance.uniform(0, 0.3))
    elif plan == "in the prompt":
        await until(lambda: state(rooms, name) in {State.PREFILL, State.GENERATING})
        await asyncio.sleep(chance.uniform(0, 0.01))
    elif plan == "in the stream":
        await call.head()
    call.leave()
    return plan


def state(rooms: Rooms, name: str) -> State | None:
    return next((ticket.state for ticket in rooms.desk.tickets.values() if ticket.name == name), None)


@pytest.mark.parametrize(("seed", "backends", "models"), [(1, 1, "a"), (2, 1, "ab"), (3, 2, "ab")])
async def test_a_storm(monkeypatch: pytest.MonkeyPatch, seed: int, backends: int, models: str) -> None:
    quicken(monkeypatch)
    # A guess where others use the runner as well: 100 bytes are then 60 ms, more than any prompt here takes.
    monkeypatch.setattr(limits, "PROMPT_RATE", 500.0)
    monkeypatch.setattr(limits, "PROMPT_TOKENS", 10**9)
    monkeypatch.setattr(runner, "Sequence", Sequence)
    made = [
        Standin({"a": Model(), "b": Model(load_s=0.05)}, parallel=64, pausing=False) for _ in range(backends)
    ]
    async with opened(*made), farm_of(*made, ours=True, slots=SLOTS) as rooms:
        async with watched(*made) as excess:
            ends = await asyncio.gather(
                *(client(rooms, str(at), random.Random(seed * CLIENTS + at), models) for at in range(CLIENTS))
            )
            await idle(rooms, *made)
        assert excess == []
        assert min(collections.Counter(ends).values()) > CLIENTS // 15, "every kind of client was there"
        assert sum(ollama.aborted_loads for ollama in made) == 0
        pool = rooms.desk.pool
        assert [place.used for place in pool.places] == [0] * backends
        full = [
            asyncio.create_task(asked(rooms.url, ask("/api/chat", "tokens=2 gap=0.05"))) for _ in range(9)
        ]
        assert [(await task).status for task in full] == [200] * 9
        assert b"farm_ghosts 0.0" in (await asked(rooms.url, get("/metrics"))).body


@asynccontextmanager
async def opened(*ollamas: Standin) -> AsyncIterator[None]:
    for ollama in ollamas:
        await ollama.open()
    try:
        yield
    finally:
        for ollama in ollamas:
            await ollama.close()
