"""A runner that hangs is noticed, told from one that loads or reads a long prompt, and replaced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from holes import TEXTS, Call, Kept, Told, ask, asked, farm_of, get, idle, quicken, standin, until
from standin.ollama import Model, Standin

from farm import limits
from farm.rooms import Rooms

Farm = tuple[Rooms, Standin, Kept]
WINDOW_S = 0.4


@pytest.fixture
async def farm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Farm]:
    quicken(monkeypatch)
    for name in ("WATCH_WINDOW_S", "WATCH_LOAD_S"):
        monkeypatch.setattr(limits, name, WINDOW_S)
    async with standin(b=Model(load_s=0.02)) as ollama:
        kept = Kept(ollama)
        async with farm_of(ollama, services=[kept]) as rooms:
            yield rooms, ollama, kept


async def hang(ollama: Standin, model: str) -> None:
    """Stop the runner of a model as soon as it is being loaded."""
    await ollama.until(lambda o: model in o.loading)
    ollama.hang_runner(model)


def whole(told: Told) -> bool:
    return told.status == 200 and json.loads(told.lines[-1])["done"] is True


# -- a load ----------------------------------------------------------------------------------------------


async def test_a_load_that_hangs_is_begun_again(farm: Farm) -> None:
    """The first answer of a runner never comes: Ollama itself waits without end."""
    rooms, ollama, kept = farm
    asking = asyncio.create_task(asked(rooms.url, ask("/api/generate", "tokens=2", model="b")))
    await hang(ollama, "b")
    assert whole(await asking)
    assert [load.model for load in ollama.loads] == ["a", "b", "b"]
    assert (ollama.aborted_loads, kept.kills, kept.starts) == (1, 0, 1)


async def test_all_that_wait_for_it_are_served(farm: Farm) -> None:
    rooms, ollama, _ = farm
    asking = [asyncio.create_task(asked(rooms.url, ask(path, "tokens=2", model="b"))) for path in TEXTS]
    await hang(ollama, "b")
    assert {told.status for told in await asyncio.gather(*asking)} == {200}
    assert [load.model for load in ollama.loads] == ["a", "b", "b"]


async def test_loads_behind_one_that_hangs_are_not_lost(farm: Farm) -> None:
    """One loader: what is to be loaded next waits behind the runner that hangs."""
    rooms, ollama, _ = farm
    ollama.models["c"] = Model(load_s=0.02)
    first = asyncio.create_task(asked(rooms.url, ask("/api/generate", "tokens=2", model="b")))
    await hang(ollama, "b")
    second = asyncio.create_task(asked(rooms.url, ask("/api/generate", "tokens=2", model="c")))
    assert whole(await first)
    assert whole(await second)


async def test_a_slow_load_is_not_taken_for_one(farm: Farm) -> None:
    rooms, ollama, kept = farm
    ollama.models["b"] = Model(load_s=4 * WINDOW_S)
    assert whole(await asked(rooms.url, ask("/api/generate", "tokens=2", model="b")))
    assert (ollama.aborted_loads, kept.kills, len(ollama.loads)) == (0, 0, 2)


async def test_the_state_is_shown_while_it_hangs(farm: Farm) -> None:
    rooms, _, _ = farm
    backend = rooms.backends[0]
    asking = asyncio.create_task(asked(rooms.url, ask("/api/generate", "tokens=999 gap=0.01 hang_at=3")))
    await until(lambda: backend.hangs)
    facts = (await asked(rooms.url, get("/_health"))).json
    assert facts["backends"][0]["phase"] == "hangs"
    assert "hangs" in facts["backends"][0]["error"]
    await asking
    await until(lambda: not backend.hangs)
    assert rooms.panel.facts()["backends"][0]["error"] is None


# -- a runner --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS)
async def test_a_runner_that_hangs_in_prefill_is_ended_and_the_request_served(farm: Farm, path: str) -> None:
    rooms, ollama, kept = farm
    asking = asyncio.create_task(asked(rooms.url, ask(path, "tokens=2 prefill=0.03")))
    await ollama.until(lambda o: o.running == 1)
    ollama.hang_runner("a")
    told = await asking
    assert (told.status, told.end, kept.kills, kept.starts) == (200, "last chunk", 1, 1)
    assert ollama.runner_starts == 2


async def test_a_request_that_comes_while_it_hangs_is_served(farm: Farm) -> None:
    rooms, ollama, kept = farm
    ollama.hang_runner("a")
    assert whole(await asked(rooms.url, ask("/api/generate", "tokens=2")))
    assert kept.kills == 1


async def test_nor_does_what_is_left_to_say_keep_it(farm: Farm) -> None:
    """How long the model stays is to be said again, to a runner that hangs."""
    rooms, ollama, kept = farm
    assert whole(await asked(rooms.url, ask("/api/generate", "tokens=1", keep_alive="2m")))
    ollama.hang_runner("a")
    assert (await asked(rooms.url, ask("/v1/chat/completions", "tokens=2"))).status == 200
    assert (ollama.runner_starts, kept.starts) == (2, 1)


async def test_a_stream_that_hangs_ends_with_an_error(farm: Farm) -> None:
    """Something of it was sent: it cannot be asked again."""
    rooms, _, kept = farm
    told = await asked(rooms.url, ask("/v1/chat/completions", "tokens=9 hang_at=3"))
    assert b"is not complete" in told.lines[-1]
    assert (told.end, kept.kills) == ("last chunk", 1)
    assert whole(await asked(rooms.url, ask("/api/generate", "tokens=2")))


async def test_a_slow_prefill_is_not_taken_for_one(farm: Farm) -> None:
    rooms, ollama, kept = farm
    told = await asked(rooms.url, ask("/api/generate", f"tokens=2 prefill={4 * WINDOW_S}"))
    assert whole(told)
    assert (kept.kills, ollama.runner_starts) == (0, 1)


async def test_an_idle_runner_is_not_taken_for_one(farm: Farm) -> None:
    _, ollama, kept = farm
    ollama.hang_runner("a")
    await asyncio.sleep(3 * WINDOW_S)
    assert kept.kills == 0, "nobody waits for it"
    ollama.resume_runner("a")


async def test_looks_at_lists_do_not_hide_it(farm: Farm) -> None:
    """Ollama goes on to answer /api/tags while a runner hangs; a page may ask for it all the time."""
    rooms, ollama, kept = farm
    ollama.hang_runner("a")
    asking = asyncio.create_task(asked(rooms.url, ask("/api/generate", "tokens=2")))

    async def look() -> None:
        while True:
            assert (await asked(rooms.url, get("/api/tags"))).status == 200

    looking = asyncio.create_task(look())
    assert whole(await asking)
    assert kept.kills == 1
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


# -- the backend -----------------------------------------------------------------------------------------


async def test_a_backend_whose_runner_cannot_be_ended_is_started_again(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms, ollama, kept = farm
    monkeypatch.setattr(Kept, "kill_runners", lambda self: False)
    ollama.hang_runner("a")
    assert whole(await asked(rooms.url, ask("/api/generate", "tokens=2")))
    assert kept.starts == 2
    assert rooms.backends[0].restarts == 1


async def test_a_backend_that_goes_silent_is_started_again(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its port takes connections and nothing answers; requests wait until the next one is there."""
    monkeypatch.setattr(limits, "HEALTH_S", 0.02)
    monkeypatch.setattr(limits, "START_S", 0.3)
    rooms, ollama, kept = farm
    ollama.freeze()
    await until(lambda: not rooms.backends[0].place.up)
    asking = asyncio.create_task(asked(rooms.url, ask("/api/generate", "tokens=2")))
    assert whole(await asking)
    assert kept.starts == 2


async def test_one_that_cannot_be_looked_at_is_given_more_time(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells a hang from a long prompt where no process is in sight."""
    rooms, ollama, kept = farm
    monkeypatch.setattr(Kept, "runners", lambda self: None)
    monkeypatch.setattr(limits, "WATCH_BLIND_S", 6 * WINDOW_S)
    assert whole(await asked(rooms.url, ask("/api/generate", f"tokens=2 prefill={3 * WINDOW_S}")))
    assert kept.kills == 0
    ollama.hang_runner("a")
    assert whole(await asked(rooms.url, ask("/api/generate", "tokens=2")))
    assert kept.kills == 1


async def test_an_adopted_one_is_never_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)
    monkeypatch.setattr(limits, "WATCH_BLIND_S", WINDOW_S)
    async with standin() as ollama, farm_of(ollama) as rooms:
        call = await Call.to(rooms.url, ask("/api/generate", "tokens=9 hang_at=3"))
        assert await call.chunk()
        await until(lambda: rooms.backends[0].hangs)
        assert "restart it" in rooms.panel.facts()["backends"][0]["error"]
        assert ollama.runner_starts == 1
        ollama.resume_runner("a")
        assert whole(await call.whole())
        await until(lambda: not rooms.backends[0].hangs)
        await idle(rooms, ollama)
