"""A backend that falls silent or dies: who waited is served by the next one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest
from fronts import standing
from holes import TEXTS, Call, Kept, Told, ask, asked, farm_of, idle, post, quicken, standin, until
from standin.ollama import Model, Standin

from farm import limits
from farm.rooms import Rooms
from farm.witness import BROKEN


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


def whole(told: Told) -> bool:
    return told.status == 200 and json.loads(told.lines[-1])["done"] is True


# -- health ----------------------------------------------------------------------------------------------


async def test_one_bad_answer_makes_nobody_ill_and_one_good_one_nobody_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HEALTH_S", 0.05)
    async with standin() as ollama, farm_of(ollama, ours=True) as rooms:
        place, health = rooms.backends[0].place, rooms.backends[0]._health
        for bad in range(limits.HEALTH_BAD):
            assert place.up
            assert health._run == bad
            ollama.freeze()
            await until(lambda bad=bad: health._run == bad + 1 or not place.up)
            if bad + 1 < limits.HEALTH_BAD:
                ollama.thaw()
                await until(lambda: health._run == 0)
                ollama.freeze()
                await until(lambda bad=bad: health._run == bad + 1)
        assert not place.up
        waiting = await Call.to(rooms.url, ask("/api/generate", "tokens=1"))
        await until(lambda: rooms.desk.pool.waiting == 1)
        ollama.thaw()
        await until(lambda: health._run == 1)
        assert not place.up, "one good answer is not enough"
        assert whole(await waiting.whole())


# -- dying and coming back -------------------------------------------------------------------------------


Ours = tuple[Rooms, Standin, Kept]


@pytest.fixture
async def ours() -> AsyncIterator[Ours]:
    async with standin(1, b=Model(load_s=0.1)) as ollama:
        kept = Kept(ollama)
        async with farm_of(ollama, services=[kept], slots=1) as rooms:
            yield rooms, ollama, kept


@pytest.mark.parametrize("path", TEXTS)
async def test_who_waited_is_served_by_the_next_one(ours: Ours, path: str) -> None:
    rooms, ollama, kept = ours
    running = await Call.to(rooms.url, ask(path, "tokens=999 gap=0.01"))
    assert await running.chunk()
    waiting = [await Call.to(rooms.url, ask(path, "tokens=2")) for _ in range(3)]
    await until(lambda: rooms.desk.pool.waiting == 3)
    await kept.die()
    cut = await running.whole()
    assert BROKEN.encode() in cut.body
    assert cut.end == "cut"
    assert [(await call.whole()).status for call in waiting] == [200] * 3
    assert (kept.starts, rooms.backends[0].restarts) == (2, 1)
    await idle(rooms, ollama)


@pytest.mark.parametrize("words", ["prefill=0.2", "prefill=9"])
async def test_who_was_in_its_prompt_is_asked_again(ours: Ours, words: str) -> None:
    rooms, ollama, kept = ours
    call = await Call.to(rooms.url, ask("/api/generate", f"tokens=2 {words}"))
    await ollama.until(lambda o: o.running == 1)
    await kept.die()
    await until(lambda: kept.starts == 2)
    if words == "prefill=9":
        await ollama.until(lambda o: o.running == 1)
        call.leave()
    else:
        assert whole(await call.whole())


async def test_who_waited_for_a_load_too(ours: Ours) -> None:
    rooms, ollama, kept = ours
    call = await Call.to(rooms.url, ask("/api/generate", "tokens=2", model="b"))
    await ollama.until(lambda o: o.loading == ["b"])
    await kept.die()
    assert whole(await call.whole())
    assert [load.model for load in ollama.loads if load.model == "b"] == ["b", "b"]


@pytest.mark.parametrize(("more", "reason"), [({}, "load"), ({"keep_alive": 0}, "unload")])
async def test_who_only_loads_or_unloads_too(ours: Ours, more: dict[str, int], reason: str) -> None:
    rooms, _, kept = ours
    await kept.die()
    await until(lambda: not rooms.backends[0].place.up)
    told = await asked(rooms.url, post("/api/generate", {"model": "a", **more}))
    assert told.json["done_reason"] == reason


async def test_again_and_again(ours: Ours) -> None:
    """Each life is a short one; whoever can wait is served in the end."""
    rooms, _, kept = ours
    asking = [asyncio.create_task(asked(rooms.url, ask("/api/chat", "tokens=2"))) for _ in range(5)]
    for life in range(1, 5):
        await kept.die()
        await until(lambda life=life: kept.starts == life + 1)
    assert {told.status for told in await asyncio.gather(*asking)} <= {200, 502}
    assert whole(await asked(rooms.url, ask("/api/generate", "tokens=1")))


async def test_a_port_that_was_never_there_is_no_backend() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    async with standing(url, alive=False) as rooms:
        told = await asked(rooms.url, ask("/v1/messages", "x"))
        assert (told.status, told.json["type"]) == (502, "error")
