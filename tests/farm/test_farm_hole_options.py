"""What outlasts a request: `keep_alive` is always said, and options that load a model anew never pass."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from holes import TEXTS, VECTORS, Call, ask, asked, farm_of, get, idle, post, quicken, standin, until
from standin.ollama import Model, Request, Standin

from farm.rooms import Rooms

NATIVE = tuple(path for path in (*TEXTS, *VECTORS) if path.startswith("/api/"))
V1 = tuple(path for path in (*TEXTS, *VECTORS) if path.startswith("/v1/"))
RELOADING: dict[str, Any] = {
    "num_ctx": 512, "num_batch": 64, "num_gpu": 3, "main_gpu": 1, "use_mmap": False, "num_thread": 2,
}  # fmt: skip
Farm = tuple[Rooms, Standin]


@pytest.fixture
async def farm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Farm]:
    quicken(monkeypatch)
    async with standin(b=Model()) as ollama, farm_of(ollama) as rooms:
        yield rooms, ollama


def sent(ollama: Standin) -> list[dict[str, Any]]:
    """The bodies of what reached the backend on a route that says `keep_alive`."""
    return [json.loads(request.body) for request in ollama.seen if request.path in NATIVE]


def last(ollama: Standin, path: str) -> Request:
    return ollama.asked(path)[-1]


def stays_s(ollama: Standin, model: str = "a") -> float:
    """How long a model stays in memory from now on."""
    one = next(one for one in ollama.scheduler.loaded.values() if one.name == model)
    return one.session_s


# -- keep_alive ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NATIVE)
async def test_every_native_request_says_it(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    assert (await asked(rooms.url, ask(path, "tokens=1"))).status == 200
    assert json.loads(last(ollama, path).body)["keep_alive"] == "1h"
    for said in (None, "2m", 90, 0.5, -1):
        await asked(rooms.url, ask(path, "tokens=1", keep_alive=said))
        assert json.loads(last(ollama, path).body)["keep_alive"] == ("1h" if said is None else said)
    assert all("keep_alive" in body for body in sent(ollama))


@pytest.mark.parametrize("path", V1)
async def test_what_a_client_said_does_not_hold_for_those_that_cannot(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    await asked(rooms.url, ask("/api/generate", "tokens=1", keep_alive="2m"))
    assert stays_s(ollama) == 120
    loads = rooms.backends[0].loads.count
    assert (await asked(rooms.url, ask(path, "tokens=1"))).status == 200
    await until(lambda: stays_s(ollama) == 3600)
    before = len(ollama.seen)
    assert (await asked(rooms.url, ask(path, "tokens=1"))).status == 200
    said = [
        request.path for request in ollama.seen[before:] if request.path not in {"/api/ps", "/api/version"}
    ]
    assert said == [path], "once is enough"
    assert rooms.backends[0].loads.count == loads, "it was loaded all the time"
    assert ollama.runner_starts == 1


@pytest.mark.parametrize("path", V1)
async def test_a_keep_alive_that_the_backend_does_not_read_is_none(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    await asked(rooms.url, ask("/api/generate", "tokens=1", keep_alive="2m"))
    await asked(rooms.url, ask(path, "tokens=1", keep_alive="3m"))
    await until(lambda: stays_s(ollama) == 3600)


async def test_a_model_that_was_there_before_the_farm_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its five minutes would end it, however much /v1 is used."""
    quicken(monkeypatch)
    async with standin(b=Model()) as ollama:
        for model in "ab":
            await asked(ollama.url, ask("/api/generate", "tokens=1", model=model))
        assert (stays_s(ollama), stays_s(ollama, "b")) == (300, 300)
        async with farm_of(ollama) as rooms:
            await until(lambda: stays_s(ollama) == 3600)  # the farm's own model, before anybody asks
            await asked(rooms.url, ask("/v1/chat/completions", "tokens=1", model="b"))
            await until(lambda: stays_s(ollama, "b") == 3600)
            assert ollama.runner_starts == 2


async def test_a_model_that_others_loaded_in_between_is_told_too(farm: Farm) -> None:
    rooms, ollama = farm
    await asked(rooms.url, ask("/v1/chat/completions", "tokens=1", model="b"))
    await asked(ollama.url, post("/api/generate", {"model": "b", "keep_alive": 0}))
    await until(lambda: rooms.backends[0].place.loaded == {"a:latest"})
    await asked(ollama.url, ask("/api/generate", "tokens=1", model="b"))
    await until(lambda: "b:latest" in rooms.backends[0].place.loaded)
    await asked(rooms.url, ask("/v1/chat/completions", "tokens=1", model="b"))
    await until(lambda: stays_s(ollama, "b") == 3600)


async def test_the_end_of_a_stay_is_noticed_before_the_next_request(farm: Farm) -> None:
    """Else that request would itself cause the load, and its leaving would end it."""
    rooms, ollama = farm
    ollama.models["a"] = Model(load_s=0.1)
    told = await asked(rooms.url, ask("/api/generate", "tokens=1", keep_alive=0))
    assert told.status == 200
    await ollama.until(lambda o: not o.loaded)
    leaver = await Call.to(rooms.url, ask("/api/generate", "tokens=1"))
    await ollama.until(lambda o: o.loading)
    leaver.leave()
    assert (await asked(rooms.url, ask("/api/generate", "tokens=1"))).status == 200
    assert (ollama.aborted_loads, ollama.runner_starts) == (0, 2)


async def test_the_owner_s_keep_alive_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)
    async with standin() as ollama, farm_of(ollama, keep_alive="-1s") as rooms:
        await asked(rooms.url, ask("/api/generate", "tokens=1"))
        assert {body["keep_alive"] for body in sent(ollama)} == {"-1s"}
        assert stays_s(ollama) > 1e9


@pytest.mark.parametrize("value", [[], {}, True, "soon"])
async def test_a_keep_alive_of_no_kind_is_the_backend_s_to_refuse(farm: Farm, value: Any) -> None:
    rooms, ollama = farm
    for body in (
        {"model": "a", "keep_alive": value},
        {"model": "a", "prompt": "tokens=1", "keep_alive": value},
    ):
        told, direct = [await asked(url, post("/api/generate", body)) for url in (rooms.url, ollama.url)]
        assert (told.status, told.body) == (direct.status, direct.body) == (400, direct.body)
    await idle(*farm)


# -- options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NATIVE)
async def test_options_that_reload_never_reach_it(farm: Farm, path: str) -> None:
    rooms, ollama = farm
    for name, value in RELOADING.items():
        options = {name: value, "temperature": 0, "num_predict": 2, "seed": 7, "stop": ["x"]}
        assert (await asked(rooms.url, ask(path, "tokens=1", options=options))).status == 200
        assert json.loads(last(ollama, path).body)["options"] == {
            "temperature": 0, "num_predict": 2, "seed": 7, "stop": ["x"],
        }  # fmt: skip
    assert ollama.runner_starts == 1


async def test_without_the_farm_each_of_them_reloads() -> None:
    """What is closed here is a hole."""
    async with standin() as ollama:
        for at, (name, value) in enumerate(RELOADING.items()):
            await asked(ollama.url, ask("/api/generate", "tokens=1", options={name: value}))
            assert ollama.runner_starts == at + 1


async def test_a_mix_of_clients_never_reloads(farm: Farm) -> None:
    """Native ones with contexts of their own beside those of /v1, which have none."""
    rooms, ollama = farm
    chance = random.Random(5)

    async def client() -> int:
        path = chance.choice([*TEXTS, *VECTORS])
        more: dict[str, Any] = {}
        if path in NATIVE:
            names = chance.sample(list(RELOADING), 2)
            more = {"options": {name: RELOADING[name] for name in names}}
            more["options"]["num_ctx"] = chance.choice([256, 512, 1024, 8192, 1e3, "big", None])
            more["keep_alive"] = chance.choice([None, "2m", 300, "-1s"])
        return (await asked(rooms.url, ask(path, "tokens=3 gap=0.001", **more))).status

    assert await asyncio.gather(*(client() for _ in range(60))) == [200] * 60
    assert (ollama.runner_starts, [load.model for load in ollama.loads]) == (1, ["a"])
    dropped = b"farm_dropped_options_total{option="
    assert (await asked(rooms.url, get("/metrics"))).body.count(dropped) == len(RELOADING)


async def test_layers_are_the_owner_s_in_every_native_request(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)
    async with standin() as ollama, farm_of(ollama, gpu_layers=5) as rooms:
        for path in (*TEXTS, *VECTORS):
            more = {"options": {"num_gpu": 1}} if path in NATIVE else {}
            assert (await asked(rooms.url, ask(path, "tokens=1", **more))).status == 200
        assert {body["options"]["num_gpu"] for body in sent(ollama)} == {5}
        assert ollama.runner_starts == 1


async def test_a_load_asked_for_by_a_client_brings_no_options_either(farm: Farm) -> None:
    rooms, ollama = farm
    wish = {"model": "b", "options": {"num_ctx": 256}, "keep_alive": "7m"}
    assert (await asked(rooms.url, post("/api/generate", wish))).json["done_reason"] == "load"
    assert stays_s(ollama, "b") == 420
    assert (await asked(rooms.url, ask("/v1/chat/completions", "tokens=1", model="b"))).status == 200
    assert ollama.runner_starts == 2


async def test_large_requests_are_treated_alike(farm: Farm) -> None:
    rooms, ollama = farm
    wish = ask("/api/generate", "tokens=1", system="x" * 400_000, options={"num_ctx": 256})
    begun = time.monotonic()
    assert (await asked(rooms.url, wish)).status == 200
    assert time.monotonic() - begun < 5
    body = json.loads(last(ollama, "/api/generate").body)
    assert (body["options"], body["keep_alive"], len(body["system"])) == ({}, "1h", 400_000)
