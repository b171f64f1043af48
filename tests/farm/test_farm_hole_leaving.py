"""A client that leaves: what it asked for ends where it can be ended, and its slot is counted until then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from holes import (
    TEXTS,
    VECTORS,
    Call,
    Kept,
    ask,
    asked,
    book,
    farm_of,
    idle,
    post,
    quicken,
    standin,
    states,
    until,
)  # fmt: skip
from standin.ollama import Model, Standin

from farm.rooms import Rooms

NATIVE = ("/api/generate", "/api/chat")
Farm = tuple[Rooms, Standin]


@pytest.fixture
async def farm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Farm]:
    """One slot, so that whoever is next shows when it is free."""
    quicken(monkeypatch)
    async with standin(1, b=Model(load_s=0.1)) as ollama, farm_of(ollama, ours=True, slots=1) as rooms:
        yield rooms, ollama


def texts(ollama: Standin) -> int:
    """Requests for text that reached the backend."""
    return sum(request.path in TEXTS for request in ollama.seen)


async def begun(rooms: Rooms, path: str, words: str, state: str, **more: object) -> Call:
    """A request that has come so far."""
    call = await Call.to(rooms.url, ask(path, words, **more))
    await until(lambda: [t for t in rooms.desk.tickets.values() if t.path == path and t.state.value == state])
    return call


# -- in the queue ----------------------------------------------------------------------------------------


async def test_in_the_queue_the_others_move_up(farm: Farm) -> None:
    rooms, ollama = farm
    first = await begun(rooms, "/api/generate", "tokens=999 gap=0.01", "generating")
    waiting = []
    for at in range(4):
        waiting.append(await Call.to(rooms.url, ask("/api/chat", "tokens=1", stream=False)))
        await until(lambda at=at: rooms.desk.pool.waiting == at + 1)
    assert await states(rooms) == [("generating", 0), *(("queued", at) for at in (1, 2, 3, 4))]
    waiting[1].leave()
    await until(lambda: rooms.desk.pool.waiting == 3)
    assert await states(rooms) == [("generating", 0), *(("queued", at) for at in (1, 2, 3))]
    waiting[0].leave()
    await until(lambda: rooms.desk.pool.waiting == 2)
    assert [one["position"] for one in await book(rooms)] == [0, 1, 2]
    first.leave()
    assert [(await call.whole()).status for call in waiting[2:]] == [200, 200]
    assert texts(ollama) == 3, "those that left never reached the backend"
    await idle(*farm)


async def test_all_leave_the_queue_at_once(farm: Farm) -> None:
    rooms, ollama = farm
    first = await begun(rooms, "/api/generate", "tokens=999 gap=0.01", "generating")
    waiting = [await Call.to(rooms.url, ask("/api/chat", "tokens=1")) for _ in range(20)]
    await until(lambda: rooms.desk.pool.waiting == 20)
    for call in [first, *waiting]:
        call.leave()
    await idle(*farm)
    assert (await asked(rooms.url, ask("/api/chat", "tokens=1"))).status == 200
    assert texts(ollama) == 2


# -- in a load -------------------------------------------------------------------------------------------


async def test_in_a_load_the_load_goes_on(farm: Farm) -> None:
    rooms, ollama = farm
    call = await begun(rooms, "/api/generate", "tokens=1", "loading", model="b")
    await ollama.until(lambda o: o.loading == ["b"])
    call.leave()
    await until(lambda: rooms.desk.pool.used == 0)
    assert ollama.loading == ["b"], "its slot is free again, and the load goes on"
    assert (await asked(rooms.url, ask("/api/generate", "tokens=1", model="b"))).status == 200
    assert [load.model for load in ollama.loads] == ["a", "b"]
    assert ollama.aborted_loads == 0
    assert texts(ollama) == 1


@pytest.mark.parametrize("path", [*TEXTS, *VECTORS])
async def test_the_first_of_two_leaves_and_the_second_is_served(path: str) -> None:
    async with standin(4, b=Model(load_s=0.1)) as ollama, farm_of(ollama) as rooms:
        first = await begun(rooms, "/api/generate", "tokens=1", "loading", model="b")
        await ollama.until(lambda o: o.loading == ["b"])
        second = await Call.to(rooms.url, ask(path, "tokens=1", model="b"))
        await until(lambda: rooms.desk.pool.used == 2)
        first.leave()
        assert (await second.whole()).status == 200
        assert [load.model for load in ollama.loads] == ["a", "b"]
        assert ollama.aborted_loads == 0


# -- in prefill ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS)
async def test_in_prefill_a_stream_keeps_its_slot_until_the_first_token(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    call = await begun(rooms, path, "tokens=999 gap=0.01 prefill=0.25", "prefill")
    await ollama.until(lambda o: o.running == 1)
    call.leave()
    await until(lambda: rooms.desk.ghosts == 1)
    assert (rooms.desk.pool.used, ollama.running) == (1, 1)
    next_one = asyncio.create_task(asked(rooms.url, ask("/api/chat", "tokens=1")))
    await until(lambda: rooms.desk.pool.waiting == 1)
    assert await states(rooms) == [("queued", 1)], "the ghost is no request any more, but the slot is taken"
    assert texts(ollama) == 1
    assert (await next_one).status == 200
    assert ollama.most_running == 1
    await idle(*farm)


async def test_its_stream_is_closed_at_its_first_token(farm: Farm) -> None:
    rooms, ollama = farm
    call = await begun(rooms, "/api/generate", "tokens=999 gap=0.02 prefill=0.1", "prefill")
    await ollama.until(lambda o: o.running == 1)
    call.leave()
    await idle(*farm)
    assert ollama.told <= 3, "not one token more than it takes to be told"


@pytest.mark.parametrize("path", TEXTS)
async def test_in_prefill_without_a_stream_the_slot_waits_for_the_runner(farm: Farm, path: str) -> None:
    """No token tells the end of the prompt: the runner's own use of the processor does."""
    rooms, ollama = farm
    call = await begun(rooms, path, "tokens=999 gap=0.01 prefill=0.2", "prefill", stream=False)
    await ollama.until(lambda o: o.running == 1)
    call.leave()
    await ollama.until(lambda o: o.ghosts == 1), "the backend is told at once"
    await asyncio.sleep(0.05)
    assert (rooms.desk.pool.used, rooms.desk.ghosts) == (1, 1)
    assert (await asked(rooms.url, ask("/api/chat", "tokens=1"))).status == 200
    assert ollama.most_running == 1
    await idle(*farm)


async def test_a_ghost_ends_with_its_backend(farm: Farm) -> None:
    rooms, ollama = farm
    call = await begun(rooms, "/api/generate", "tokens=9 prefill=9", "prefill")
    await ollama.until(lambda o: o.running == 1)
    call.leave()
    await until(lambda: rooms.desk.ghosts == 1)
    kept = rooms.backends[0].service
    assert isinstance(kept, Kept)
    await kept.die()
    assert (await asked(rooms.url, ask("/api/chat", "tokens=1"))).status == 200


async def test_one_that_stops_reading_a_prompt_keeps_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded engine ends a prompt where its client left: nothing is kept for it."""
    quicken(monkeypatch)
    monkeypatch.setattr(Kept, "prefill_goes_on", False)
    async with standin(1) as ollama, farm_of(ollama, ours=True, slots=1) as rooms:
        call = await begun(rooms, "/api/generate", "tokens=9 prefill=9", "prefill")
        call.leave()
        await until(lambda: not rooms.desk.pool.used)
        assert rooms.desk.ghosts == 0


# -- in generation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS)
async def test_in_generation_the_backend_is_told_at_once(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    call = await begun(rooms, path, "tokens=9999 gap=0.005", "generating")
    assert await call.chunk()
    call.leave()
    await idle(*farm)
    assert ollama.told < 200


@pytest.mark.parametrize("path", TEXTS)
async def test_in_generation_without_a_stream(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    call = await begun(rooms, path, "tokens=9999 gap=0.005", "prefill", stream=False)
    await ollama.until(lambda o: o.told > 3)
    call.leave()
    await idle(*farm)
    assert ollama.told < 200
    assert (await asked(rooms.url, ask("/api/chat", "tokens=1"))).status == 200


@pytest.mark.parametrize("path", VECTORS)
async def test_vectors(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    call = await begun(rooms, path, "prefill=0.2", "prefill")
    await ollama.until(lambda o: o.running == 1)
    call.leave()
    await ollama.until(lambda o: o.ghosts == 1)
    await until(lambda: not rooms.desk.pool.used)
    await idle(*farm)


async def test_requests_that_need_no_runner_end_too(farm: Farm) -> None:
    rooms, ollama = farm
    ollama.routes.registry["c"] = Model()
    ollama.routes.pull_s = 9.0
    call = await Call.to(rooms.url, post("/api/pull", {"model": "c"}))
    assert await call.chunk()
    call.leave()
    await ollama.until(lambda o: not [c for c in o._open if c.chunks])


# -- at its side of the line -----------------------------------------------------------------------------


async def test_a_half_close_counts_as_leaving(farm: Farm) -> None:
    """As with Ollama itself: who ends its own side does not wait for an answer."""
    rooms, _ = farm
    call = await begun(rooms, "/api/generate", "tokens=9999 gap=0.005", "generating")
    call.writer.write_eof()
    await idle(*farm)
    await call.close()


async def test_who_leaves_in_the_middle_of_its_body_reaches_nobody(farm: Farm) -> None:
    rooms, ollama = farm
    call = await Call.to(rooms.url, ask("/api/generate", "tokens=1")[:-5])
    await asyncio.sleep(0.02)
    call.leave()
    await idle(*farm)
    assert texts(ollama) == 0
