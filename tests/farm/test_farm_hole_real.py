"""Streams, schemas, queue and bodies with real engines: the embedded one, and a real Ollama."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import ollama
import openai
import pytest
from holes import TEXTS, Call, Told, asked, post
from holes_real import MODEL, PATIENCE_S, STORY, Real, begun, farm_before, rests, wish

from farm.witness import BROKEN

NATIVE = ("/api/generate", "/api/chat")
MARKS = {
    "/api/generate": b'"done":true', "/api/chat": b'"done":true', "/v1/chat/completions": b"[DONE]",
    "/v1/completions": b"[DONE]", "/v1/responses": b"response.completed", "/v1/messages": b"message_stop",
}  # fmt: skip


@pytest.fixture(scope="module")
def real(which: str, host: str) -> Iterator[Real]:
    with farm_before(which, host) as made:
        yield made


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Call, "patience_s", PATIENCE_S)


# -- the end mark --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS)
async def test_a_whole_stream_is_left_alone(real: Real, path: str) -> None:
    told = await asked(real.url, post(path, wish(path, "Say hi", 8)))
    assert (told.status, told.end) == (200, "last chunk")
    assert MARKS[path] in told.body
    assert b'"error":{' not in told.body
    assert BROKEN.encode() not in told.body


@pytest.mark.parametrize("path", TEXTS)
async def test_a_runner_killed_in_the_middle(real: Real, path: str) -> None:
    call = await begun(real, path)
    real.kill()
    told = await call.whole()
    assert MARKS[path] not in told.body
    assert (b'{"error":' if path in NATIVE else BROKEN.encode()) in told.lines[-1]
    assert told.body.count(BROKEN.encode()) == told.lines[-1].count(BROKEN.encode()) <= 2
    await rests(real)


async def test_the_official_clients_raise(real: Real) -> None:
    def native() -> None:
        client = ollama.Client(host=real.url)
        try:
            for at, _ in enumerate(client.generate(MODEL, STORY, stream=True, options={"num_predict": 300})):
                if at == 3:
                    real.kill()
        finally:
            client._client.close()

    def v1() -> None:
        with openai.OpenAI(base_url=f"{real.url}/v1", api_key="any", max_retries=0) as client:
            said: Any = [{"role": "user", "content": STORY}]
            stream = client.chat.completions.create(model=MODEL, messages=said, stream=True, max_tokens=300)
            for at, _ in enumerate(stream):
                if at == 3:
                    real.kill()

    with pytest.raises(ollama.ResponseError):
        await asyncio.to_thread(native)
    await rests(real)
    with pytest.raises(openai.APIError, match="not complete"):
        await asyncio.to_thread(v1)
    await rests(real)


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/v1/chat/completions", "/v1/completions"])
async def test_more_than_thirty_equal_tokens(real: Real, path: str) -> None:
    """A penalty below zero makes the model go round in a circle; an engine that lets it ends by length."""
    settings: dict[str, Any] = {"temperature": 0, "frequency_penalty": -2}
    more = {"options": {**settings, "num_predict": 120}} if path in NATIVE else settings
    told = await asked(real.url, post(path, wish(path, "hi", 120, **more)))
    assert (told.status, told.end) == (200, "last chunk")
    assert (MARKS[path] in told.body) != (BROKEN.encode() in told.lines[-1])
    if real.kind == "ollama":
        assert BROKEN.encode() in told.lines[-1]
    await rests(real)


# -- schemas -------------------------------------------------------------------------------------------------


async def test_a_deadly_schema_is_refused_and_others_go_on(real: Real) -> None:
    other = await begun(real)
    runners = [process.pid for process in real.runners()]
    deadly = {"type": "object", "properties": {"x": {"type": "string", "minLength": 2001}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": deadly}}
    for path, more in (
        ("/api/generate", {"format": deadly}),
        ("/api/chat", {"format": deadly}),
        ("/v1/chat/completions", {"response_format": form}),
    ):
        told = await asked(real.url, post(path, wish(path, **more)))
        assert (told.status, "minLength" in told.error) == (400, True)
    told = await other.whole()
    assert MARKS["/api/generate"] in told.body
    assert [process.pid for process in real.runners()] == runners
    await rests(real)


# -- the queue -----------------------------------------------------------------------------------------------


async def test_the_queue_is_bounded_and_shown(real: Real) -> None:
    calls = [await begun(real, tokens=2000, chunks=1) for _ in range(2)]
    for at in range(3):
        calls.append(await Call.to(real.url, post("/api/generate", wish("/api/generate", "Hi", 3))))
        await real.until(lambda told, at=at: told["waiting"] == at + 1)
    states = [("generating", 0), ("generating", 0), ("queued", 1), ("queued", 2), ("queued", 3)]
    assert await real.states() == states
    for path in TEXTS:
        told = await asked(real.url, post(path, wish(path)))
        assert (told.status, "server busy" in told.error) == (503, True)
        assert int(told.headers["retry-after"]) >= 1
    calls.pop(2).leave()
    await real.until(lambda told: told["waiting"] == 2)
    assert [state for state in await real.states() if state[1]] == [("queued", 1), ("queued", 2)]
    calls[0].leave()
    calls[1].leave()
    whole: list[Told] = [await call.whole() for call in calls[2:]]
    assert [json.loads(told.lines[-1])["done"] for told in whole] == [True, True]
    await rests(real)


async def test_large_bodies_are_refused(real: Real) -> None:
    for path in TEXTS:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
        assert (await asked(real.url, head.encode())).status == 413
