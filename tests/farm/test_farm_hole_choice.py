"""Several backends: nobody waits behind the loader of one while another is free, and all are told alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from holes import (
    Call,
    ask,
    asked,
    book,
    farm_of,
    get,
    idle,
    post,
    quicken,
    standin,
    until,
)  # fmt: skip
from standin.ollama import Model, Standin

from farm.rooms import Rooms

Farm = tuple[Rooms, Standin, Standin]


def names(ollama: Standin) -> list[str]:
    return [load.model for load in ollama.loads]


def served(ollama: Standin) -> int:
    return len(ollama.asked("/api/generate")) + len(ollama.asked("/api/chat"))


@pytest.fixture
async def farm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Farm]:
    """Two backends of two slots; a is loaded at both, b and c take their time, d none."""
    quicken(monkeypatch)
    models = {"b": Model(load_s=0.3), "c": Model(load_s=0.3), "d": Model()}
    one, two = standin(2, **models), standin(2, **models)
    async with one, two, farm_of(one, two, ours=True, slots=2) as rooms:
        yield rooms, one, two


# -- loads -----------------------------------------------------------------------------------------------


async def test_two_models_are_loaded_side_by_side(farm: Farm) -> None:
    rooms, one, two = farm
    first = await Call.to(rooms.url, ask("/api/generate", "tokens=1", model="b"))
    await one.until(lambda o: o.loading == ["b"])
    second = await Call.to(rooms.url, ask("/api/generate", "tokens=1", model="c"))
    await two.until(lambda o: o.loading == ["c"])
    assert one.loading == ["b"], "both are being loaded at the same time"
    assert ((await first.whole()).status, (await second.whole()).status) == (200, 200)
    assert (names(one), names(two)) == (["a", "b"], ["a", "c"])


async def test_a_loaded_model_does_not_wait_for_the_loader(farm: Farm) -> None:
    rooms, one, _ = farm
    loading = await Call.to(rooms.url, ask("/api/generate", "tokens=1", model="b"))
    await one.until(lambda o: o.loading == ["b"])
    for _ in range(3):
        assert (await asked(rooms.url, ask("/api/generate", "tokens=1"))).status == 200
    assert one.loading == ["b"]
    assert (await loading.whole()).status == 200


async def test_nor_where_there_is_only_that_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even to say again how long it stays."""
    quicken(monkeypatch)
    async with standin(4, b=Model(load_s=0.3)) as ollama, farm_of(ollama) as rooms:
        loading = await Call.to(rooms.url, ask("/api/generate", "tokens=1", model="b"))
        await ollama.until(lambda o: o.loading == ["b"])
        for keep_alive in ("2m", None):
            told = await asked(rooms.url, ask("/api/generate", "tokens=1", keep_alive=keep_alive))
            assert told.status == 200
            assert (await asked(rooms.url, ask("/v1/chat/completions", "tokens=1"))).status == 200
        assert ollama.loading == ["b"]
        assert (await loading.whole()).status == 200


async def test_who_wants_the_model_that_is_loading_waits_with_the_first(farm: Farm) -> None:
    rooms, one, two = farm
    calls = [await Call.to(rooms.url, ask("/api/generate", "tokens=1", model="b")) for _ in range(2)]
    assert [(await call.whole()).status for call in calls] == [200, 200]
    assert (names(one), names(two)) == (["a", "b"], ["a"])


async def test_one_more_than_it_has_slots_goes_to_the_other(farm: Farm) -> None:
    """Waiting for a slot there would be waiting while another backend is free."""
    rooms, one, two = farm
    calls = [await Call.to(rooms.url, ask("/api/generate", "tokens=1", model="b")) for _ in range(3)]
    await two.until(lambda o: o.loading == ["b"])
    assert [(await call.whole()).status for call in calls] == [200] * 3
    assert (names(one), names(two)) == (["a", "b"], ["a", "b"])


async def test_a_model_is_used_where_it_is_loaded(farm: Farm) -> None:
    rooms, one, two = farm
    await asked(rooms.url, ask("/api/generate", "tokens=1", model="d"))
    assert (names(one), names(two)) == (["a", "d"], ["a"])
    busy = await Call.to(rooms.url, ask("/api/chat", "tokens=999 gap=0.01", model="d"))
    await one.until(lambda o: o.running == 1)
    for _ in range(3):
        assert (await asked(rooms.url, ask("/api/generate", "tokens=1", model="d"))).status == 200
    assert (names(one), names(two)) == (["a", "d"], ["a"]), "although the other one has less to do"
    busy.leave()


async def test_equals_are_shared_out(farm: Farm) -> None:
    rooms, one, two = farm
    calls = [await Call.to(rooms.url, ask("/api/generate", "tokens=99 gap=0.01")) for _ in range(4)]
    await until(lambda: (one.running, two.running) == (2, 2))
    shown = await book(rooms)
    assert sorted(request["backend"] for request in shown) == [0, 0, 1, 1]
    for call in calls:
        call.leave()
    await idle(*farm)


async def test_one_backend_s_queue_is_everybody_s(farm: Farm) -> None:
    rooms, one, two = farm
    asking = [
        asyncio.create_task(asked(rooms.url, ask("/api/generate", "tokens=3 gap=0.01"))) for _ in range(40)
    ]
    assert {told.status for told in await asyncio.gather(*asking)} == {200}
    assert min(served(one), served(two)) > 10
    assert (one.most_running, two.most_running) == (2, 2)


# -- unload and lists ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, "0", "0s"])
async def test_an_unload_reaches_all_backends(farm: Farm, value: object) -> None:
    rooms, one, two = farm
    assert (one.loaded, two.loaded) == (["a"], ["a"])
    told = await asked(rooms.url, post("/api/generate", {"model": "a", "keep_alive": value}))
    assert told.json["done_reason"] == "unload"
    await until(lambda: not one.loaded and not two.loaded)
    assert rooms.panel.facts()["models"] == []
    assert (await asked(rooms.url, ask("/api/generate", "tokens=1"))).status == 200


async def test_unloading_what_is_nowhere(farm: Farm) -> None:
    rooms, _, _ = farm
    told = await asked(rooms.url, post("/api/generate", {"model": "b", "keep_alive": 0}))
    assert told.json["done_reason"] == "unload"


async def test_the_models_in_memory_are_those_of_both(farm: Farm) -> None:
    rooms, one, _ = farm
    first = await Call.to(rooms.url, ask("/api/generate", "tokens=99 gap=0.01", model="b"))
    await one.until(lambda o: o.loading == ["b"])
    second = await Call.to(rooms.url, ask("/api/generate", "tokens=99 gap=0.01", model="c"))
    assert await first.chunk()
    assert await second.chunk()
    told = await asked(rooms.url, get("/api/ps"))
    assert sorted(model["name"] for model in told.json["models"]) == [
        "a:latest",
        "a:latest",
        "b:latest",
        "c:latest",
    ]
    alone = await asked(one.url, get("/api/ps"))
    assert told.headers["content-type"] == alone.headers["content-type"]
    assert set(told.json["models"][0]) == set(alone.json["models"][0])
    for call in (first, second):
        call.leave()


async def test_of_one_backend_the_list_is_its_own_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)
    async with standin(d=Model()) as ollama, farm_of(ollama) as rooms:
        told, direct = await asked(rooms.url, get("/api/ps")), await asked(ollama.url, get("/api/ps"))
        assert told.body == direct.body


async def test_a_list_lacks_the_backend_that_is_down(farm: Farm) -> None:
    rooms, one, two = farm
    await two.cut()
    for _ in range(3):
        told = await asked(rooms.url, get("/api/ps"))
        assert [model["name"] for model in told.json["models"]] == ["a:latest"]
    await one.cut()
    await until(lambda: not rooms.backends[0].place.up)
    assert (await asked(rooms.url, get("/api/ps"))).status == 502


@pytest.mark.parametrize("path", ["/api/tags", "/api/version", "/v1/models", "/"])
async def test_other_lists_come_from_one_of_them(farm: Farm, path: str) -> None:
    rooms, one, _ = farm
    told, direct = await asked(rooms.url, get(path)), await asked(one.url, get(path))
    assert (told.status, told.body) == (200, direct.body)


async def test_a_pull_s_models_are_there_for_both(farm: Farm) -> None:
    """Backends of one machine share their folder: what one fetched the other has."""
    rooms, one, two = farm
    for ollama in (one, two):
        ollama.routes.registry["e"] = Model()
    told = await asked(rooms.url, post("/api/pull", {"model": "e"}))
    assert json.loads(told.lines[-1]) == {"status": "success"}
