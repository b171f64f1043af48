"""Loads, options, leaving and hanging with real engines: the embedded one, and a real Ollama."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from holes import TEXTS, Call, asked, get, post
from holes_real import MODEL, PATIENCE_S, Real, begun, farm_before, rests, wish

NATIVE = ("/api/generate", "/api/chat")


@pytest.fixture(scope="module")
def real(which: str, host: str) -> Iterator[Real]:
    with farm_before(which, host) as made:
        yield made


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Call, "patience_s", PATIENCE_S)


# -- loads and options ---------------------------------------------------------------------------------------


async def expires_s(real: Real) -> float:
    """In how many seconds the model leaves the memory."""
    told = (await asked(real.url, get("/api/ps"))).json["models"]
    at = datetime.fromisoformat(next(one["expires_at"] for one in told if one["name"] == MODEL))
    return (at - datetime.now(UTC)).total_seconds()


async def unloaded(real: Real) -> None:
    told = await asked(real.url, post("/api/generate", {"model": MODEL, "keep_alive": 0}))
    assert told.json["done_reason"] == "unload"
    await real.until(lambda told: MODEL not in told["models"])


async def test_clients_with_contexts_of_their_own_never_reload(real: Real) -> None:
    await rests(real)
    runners = [process.pid for process in real.runners()]
    for at in range(3):
        for path in TEXTS:
            more: dict[str, Any] = {}
            if path in NATIVE:
                more = {"options": {"num_ctx": 256 << at, "num_predict": 2, "num_batch": 64, "num_thread": 1}}
            assert (await asked(real.url, post(path, wish(path, "Hi", 2, **more)))).status == 200
    assert [process.pid for process in real.runners()] == runners


async def test_keep_alive_is_said_for_those_that_cannot(real: Real) -> None:
    await asked(real.url, post("/api/generate", wish("/api/generate", "Hi", 2, keep_alive="2m")))
    assert 0 < await expires_s(real) <= 120
    await asked(real.url, post("/v1/chat/completions", wish("/v1/chat/completions", "Hi", 2)))
    deadline = time.monotonic() + PATIENCE_S
    while not 3500 < await expires_s(real) <= 3600:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_load_goes_on_when_its_client_left(real: Real) -> None:
    await unloaded(real)
    call = await Call.to(real.url, post("/v1/chat/completions", wish("/v1/chat/completions")))
    await asyncio.sleep(0.02)
    call.leave()
    await real.until(lambda told: MODEL in told["models"])
    runners = [process.pid for process in real.runners()]
    await rests(real)
    assert [process.pid for process in real.runners()] == runners


async def test_all_that_wait_for_a_load_are_served_by_one(real: Real) -> None:
    await unloaded(real)
    asking = [asked(real.url, post(path, wish(path, "Hi", 2))) for path in TEXTS[:5]]
    assert [told.status for told in await asyncio.gather(*asking)] == [200] * 5
    assert len(real.runners()) == 1


# -- leaving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_in_the_prompt(real: Real, stream: bool) -> None:
    """Ollama reads it to its end: the slot is taken until then. The embedded engine does not."""
    words = f"{time.monotonic()} " + "The ships and the sea. " * 240
    call = await Call.to(real.url, post("/api/generate", wish("/api/generate", words, stream=stream)))
    await real.until(lambda told: told["running"] == 1)
    while (await real.states()) != [("prefill", 0)]:
        await asyncio.sleep(0.005)
    call.leave()
    while await real.states():
        await asyncio.sleep(0.002)
    if real.kind == "ollama":
        assert (await real.health())["running"] == 1
    await rests(real)


@pytest.mark.parametrize("path", TEXTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_in_the_answer(real: Real, path: str, stream: bool) -> None:
    call = await Call.to(real.url, post(path, wish(path, tokens=2000, stream=stream)))
    if stream:
        assert await call.chunk()
    else:
        await asyncio.sleep(0.5)
    call.leave()
    await rests(real)
    await idle(real)


async def idle(real: Real) -> None:
    """The runner uses no processor any more."""
    (runner,) = real.runners()
    deadline = time.monotonic() + PATIENCE_S
    before = runner.cpu_times()
    while True:
        await asyncio.sleep(0.2)
        now = runner.cpu_times()
        if now.user + now.system - before.user - before.system < 0.05:
            return
        before = now
        assert time.monotonic() < deadline


# -- hanging -------------------------------------------------------------------------------------------------


async def test_a_runner_that_is_stopped(real: Real) -> None:
    """It is noticed. One of the farm's own is ended, and who can be is served; another's is only shown."""
    await rests(real)
    (runner,) = real.runners()
    stream = await begun(real, tokens=50)
    runner.send_signal(signal.SIGSTOP)
    call = await Call.to(real.url, post("/v1/chat/completions", wish("/v1/chat/completions", "Hi", 3)))
    await real.until(lambda told: told["backends"][0]["phase"] == "hangs" or not runner.is_running())
    if real.kind == "ollama":
        assert "restart it" in (await real.health())["backends"][0]["error"]
        runner.send_signal(signal.SIGCONT)
    told = await stream.whole()
    assert (b'"done":true' in told.lines[-1]) is (real.kind == "ollama")
    assert (b'"error":' in told.lines[-1]) is (real.kind == "farm")
    assert (await call.whole()).status == 200
    await real.until(lambda told: told["status"] == "ready")


async def test_a_long_prompt_is_not_taken_for_a_hang(real: Real) -> None:
    words = f"{time.monotonic()} " + "The ships and the sea. " * 120
    call = await begun(real, chunks=1, words=words, tokens=2)
    assert (await call.whole()).end == "last chunk"
    assert (await real.health())["backends"][0]["error"] is None
