"""`--try`: whether answers run at the same time, on a stand-in that lets so many run as it is told."""

from __future__ import annotations

import asyncio
import json

import pytest
from standin.ollama import Model, Standin

from farm.doctor import limits, trial, trying
from farm.doctor.trial import Trial


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "PROMPT", "tokens=8 gap=0.03")


async def tried(ollama: Standin, at_once: int = 3, model: str = "a") -> Trial:
    return await asyncio.to_thread(trying.run, ollama.url, model, at_once)


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (3, 3)])
async def test_as_many_answers_run_at_once_as_the_backend_allows(parallel: int, most: int) -> None:
    async with Standin(parallel=parallel) as ollama:
        found = await tried(ollama)
    assert (found.asked, len(found.spans), found.errors) == (3, 3, ())
    assert trial.most_at_once(found.spans) == most
    assert found.load_s is not None


async def test_a_model_that_is_not_there() -> None:
    async with Standin() as ollama:
        found = await tried(ollama, model="none")
    assert (found.load_s, found.spans) == (None, ())
    assert "not found" in found.errors[0]


async def test_a_model_that_cannot_be_loaded() -> None:
    async with Standin({"a": Model(refusal="model requires more system memory")}) as ollama:
        found = await tried(ollama)
    assert found.errors == ("model requires more system memory",)


async def test_answers_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "PROMPT", "fail=500")
    async with Standin(parallel=3) as ollama:
        ollama.models.clear()
        found = await tried(ollama)
    assert found.load_s is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" b'{"response":"a"}\n'),
         "the answer (status 200) broke off"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nnonsense\n", "no HTTP (JSONDecodeError)"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[]\n", "status 200"),
        (b'HTTP/1.1 503 x\r\nConnection: close\r\n\r\n{"odd":1}\n', "status 503"),
        (b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"error":"it broke"}\n', "it broke"),
    ],
)  # fmt: skip
async def test_what_is_no_whole_answer(answer: bytes, error: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await asyncio.to_thread(trying.run, f"http://127.0.0.1:{port}", "a", 1)
    assert found == Trial(f"http://127.0.0.1:{port}", "a", 1, errors=(error,))


async def test_one_of_several_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = trying._ask

    def ask(url: str, body: dict[str, object], silent_s: float) -> tuple[float, float] | None:
        if "options" in body and body["options"]["seed"] == 2:  # type: ignore[index]
            raise ConnectionResetError(104, "Connection reset by peer")
        return real(url, body, silent_s)

    monkeypatch.setattr(trying, "_ask", ask)
    async with Standin(parallel=3) as ollama:
        found = await tried(ollama)
    assert (len(found.spans), found.errors) == (2, ("Connection reset by peer",))


async def test_an_answer_without_a_token_is_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "PROMPT", "tokens=0")
    async with Standin(parallel=2) as ollama:
        found = await tried(ollama, at_once=2)
    assert found.spans == ()
    assert found.errors == ()


async def test_silence_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TRY_LOAD_S", 0.2)
    async with Standin({"a": Model(stuck=1)}) as ollama:
        found = await tried(ollama)
    assert found.errors == ("it does not answer in time",)


async def test_it_costs_no_more_than_it_says() -> None:
    async with Standin(parallel=2) as ollama:
        await tried(ollama, at_once=2)
        bodies = [json.loads(request.body) for request in ollama.seen if request.path == "/api/generate"]
    assert len(bodies) == 3
    assert [body["options"]["num_predict"] for body in bodies[1:]] == [limits.TRY_TOKENS] * 2
