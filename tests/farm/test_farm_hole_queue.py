"""The queue: bounded, in order, shown; full means 503 with Retry-After in the form of the route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from holes import (
    TEXTS,
    VECTORS,
    Call,
    ask,
    asked,
    body,
    book,
    farm_of,
    get,
    idle,
    post,
    quicken,
    standin,
    states,
    until,
)  # fmt: skip
from standin.ollama import Model, Standin

from farm import limits
from farm.desk import Desk
from farm.pool import Place, Pool
from farm.rooms import Rooms
from farm.routes import Work

BUSY = "server busy, please try again.  maximum pending requests exceeded"
Farm = tuple[Rooms, Standin]


@pytest.fixture
async def farm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Farm]:
    """Two slots, two places in the queue."""
    quicken(monkeypatch)
    ollama = standin(2, b=Model(load_s=0.15))
    async with ollama, farm_of(ollama, ours=True, slots=2, waiting_max=2) as rooms:
        yield rooms, ollama


async def filled(rooms: Rooms) -> list[Call]:
    """Requests in all slots and all places of the queue."""
    calls = []
    for at in range(1, 5):
        calls.append(await Call.to(rooms.url, ask("/api/generate", "tokens=999 gap=0.01")))
        await until(lambda at=at: rooms.desk.pool.used + rooms.desk.pool.waiting == at)
    return calls


# -- full ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*TEXTS, *VECTORS])
async def test_full_is_503_in_the_form_of_the_route(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    await filled(rooms)
    await ollama.until(lambda o: o.running == 2)
    before = len(ollama.seen)
    told = await asked(rooms.url, ask(path, "tokens=1"))
    assert (told.status, told.error) == (503, BUSY)
    assert limits.RETRY_AFTER_MIN_S <= int(told.headers["retry-after"]) <= limits.RETRY_AFTER_MAX_S
    shape = told.json
    if path == "/v1/messages":
        assert (shape["type"], shape["error"]["type"]) == ("error", "overloaded_error")
        assert shape["request_id"].startswith("req_")
    elif path.startswith("/v1/"):
        assert shape["error"] == {"message": BUSY, "type": "api_error", "param": None, "code": None}
    else:
        assert shape == {"error": BUSY}
    assert not [request for request in ollama.seen[before:] if request.path == path]


async def test_when_one_leaves_there_is_room_again(farm: Farm) -> None:
    rooms, _ = farm
    calls = await filled(rooms)
    calls[3].leave()
    await until(lambda: rooms.desk.pool.waiting == 1)
    last = await Call.to(rooms.url, ask("/api/chat", "tokens=1"))
    await until(lambda: rooms.desk.pool.waiting == 2)
    for call in calls:
        call.leave()
    assert (await last.whole()).status == 200
    await idle(*farm)


async def test_without_a_queue_whoever_finds_no_slot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)
    async with standin() as ollama, farm_of(ollama, slots=1, waiting_max=0) as rooms:
        call = await Call.to(rooms.url, ask("/api/generate", "tokens=99 gap=0.01"))
        assert await call.chunk()
        assert (await asked(rooms.url, ask("/api/generate", "tokens=1"))).status == 503
        call.leave()
        await idle(rooms, ollama)
        assert (await asked(rooms.url, ask("/api/generate", "tokens=1"))).status == 200


async def test_what_needs_no_slot_passes_a_full_queue(farm: Farm) -> None:
    rooms, _ = farm
    await filled(rooms)
    for path in ("/api/tags", "/api/ps", "/v1/models", "/", "/_health", "/_requests", "/metrics"):
        assert (await asked(rooms.url, get(path))).status == 200
    for empty in (b'{"model":"a"}', b'{"model":"a","keep_alive":"5m"}'):
        assert (await asked(rooms.url, post("/api/generate", empty))).json["done_reason"] == "load"


async def test_retry_after_follows_the_time_that_slots_are_held(farm: Farm) -> None:
    rooms, _ = farm
    rooms.desk._held_s = 31.0
    await filled(rooms)
    told = await asked(rooms.url, ask("/api/generate", "tokens=1"))
    assert told.headers["retry-after"] == "16", "two slots, each free every 31 s"


# -- order -----------------------------------------------------------------------------------------------


async def test_first_come_first_served(farm: Farm) -> None:
    rooms, _ = farm
    calls = await filled(rooms)
    names = [f"n{at}" for at in range(2)]
    for call in calls[2:]:
        call.leave()
    await until(lambda: not rooms.desk.pool.waiting)
    for at, name in enumerate(names):
        await Call.to(
            rooms.url, post("/api/chat", body("/api/chat", "tokens=99 gap=0.01"), f"X-Request-Id: {name}")
        )
        await until(lambda at=at: rooms.desk.pool.waiting == at + 1)
    calls[0].leave()
    await until(lambda: rooms.desk.pool.waiting == 1)
    assert [(one["id"], one["position"]) for one in await book(rooms) if one["id"]] == [("n0", 0), ("n1", 1)]


async def test_the_states_of_a_request(farm: Farm) -> None:
    rooms, _ = farm
    calls = await filled(rooms)
    assert [state for state, _ in await states(rooms)] == ["generating", "generating", "queued", "queued"]
    for call in calls[2:]:
        call.leave()
    words = "tokens=9 gap=0.02 prefill=0.1"
    head = ("X-Request-Id: mine",)
    call = await Call.to(rooms.url, post("/api/chat", body("/api/chat", words, model="b"), *head))
    seen = []

    async def look() -> None:
        for one in await book(rooms):
            if one["id"] == "mine" and (not seen or seen[-1] != one["state"]):
                seen.append(one["state"])
                assert one["path"] == "/api/chat"
                assert one["model"] == "b"
                assert (one["backend"] is None) == (one["state"] == "queued")
                assert (one["position"] > 0) == (one["state"] == "queued")
                assert one["age_ms"] >= 0

    await until(lambda: rooms.desk.pool.waiting == 1)
    await look()
    calls[0].leave()
    while rooms.desk.tickets and "generating" not in seen:
        await look()
    assert seen == ["queued", "loading", "prefill", "generating"]
    assert (await call.whole()).status == 200


async def test_no_word_of_what_is_asked_is_shown(farm: Farm) -> None:
    rooms, _ = farm
    await Call.to(rooms.url, ask("/api/chat", "secret tokens=99 gap=0.01"))
    await until(lambda: rooms.desk.pool.used)
    for path in ("/_requests", "/_health", "/metrics"):
        assert b"secret" not in (await asked(rooms.url, get(path))).body


async def test_a_long_request_id_is_cut(farm: Farm) -> None:
    rooms, _ = farm
    head = f"X-Request-Id: {'x' * 9999}"
    await Call.to(rooms.url, post("/api/chat", body("/api/chat", "tokens=99 gap=0.01"), head))
    await until(lambda: rooms.desk.pool.used)
    assert [one["id"] for one in await book(rooms)] == ["x" * 64]


# -- the moment between a slot and its request -----------------------------------------------------------


async def test_who_leaves_at_any_moment_of_its_turn_gives_it_back() -> None:
    for steps in range(8):
        desk = Desk(Pool([Place(1, up=True)], 9))
        end = asyncio.Event()

        async def sit(desk: Desk = desk, end: asyncio.Event = end) -> None:
            with desk.enter("/api/chat", "a", "", Work.TEXT) as ticket:
                async with desk.seat(ticket, "a", frozenset()):
                    await end.wait()

        tasks = [asyncio.create_task(sit()) for _ in range(2)]
        await asyncio.sleep(0)
        end.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        assert (desk.pool.used, desk.pool.waiting, desk.tickets, desk._turns) == (0, 0, {}, {})
