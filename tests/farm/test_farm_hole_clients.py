"""The official clients raise where a stream is not whole, instead of taking half an answer for the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import ollama
import openai
import pytest
from holes import farm_of, quicken, standin

from farm.rooms import Rooms
from farm.witness import BROKEN

ENDS = ["tokens=9 crash_at=3", "tokens=2 repeat=60", "tokens=9 cut_at=3"]


@pytest.fixture
async def rooms(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rooms]:
    quicken(monkeypatch)
    async with standin() as behind, farm_of(behind) as made:
        yield made


def said(words: str) -> list[Any]:
    return [{"role": "user", "content": words}]


def generate(url: str, words: str) -> Iterator[str]:
    client = ollama.Client(host=url)
    try:
        for part in client.generate("a", words, stream=True):
            yield part.response
    finally:
        client._client.close()


def chat(url: str, words: str) -> Iterator[str]:
    client = ollama.Client(host=url)
    try:
        for part in client.chat("a", said(words), stream=True):
            yield part.message.content or ""
    finally:
        client._client.close()


def openai_chat(url: str, words: str) -> Iterator[str]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        for event in client.chat.completions.create(model="a", messages=said(words), stream=True):
            yield event.choices[0].delta.content or "" if event.choices else ""


def openai_completion(url: str, words: str) -> Iterator[str]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        for event in client.completions.create(model="a", prompt=words, stream=True):
            yield event.choices[0].text


def openai_responses(url: str, words: str) -> Iterator[str]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        for event in client.responses.create(model="a", input=words, stream=True):
            yield event.delta if event.type == "response.output_text.delta" else ""


Read = Callable[[str, str], Iterator[str]]
CLIENTS: dict[str, Read] = {
    "generate": generate,
    "chat": chat,
    "v1 chat": openai_chat,
    "v1 completions": openai_completion,
    "v1 responses": openai_responses,
}


def read(client: Read, url: str, words: str) -> tuple[str, Exception | None]:
    """The text that came, and what was raised after it."""
    text = ""
    try:
        for piece in client(url, words):
            text += piece
    except (ollama.ResponseError, openai.APIError) as error:
        return text, error
    return text, None


@pytest.mark.parametrize("words", ENDS)
@pytest.mark.parametrize("name", CLIENTS)
async def test_half_an_answer_raises(rooms: Rooms, name: str, words: str) -> None:
    text, error = await asyncio.to_thread(read, CLIENTS[name], rooms.url, words)
    assert text.startswith("t0 t1"), "what had come is not lost"
    assert error is not None
    native = name in {"generate", "chat"}
    told = "unexpected EOF" if native and "crash" in words else BROKEN
    assert told in str(error)


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_whole_answer_does_not(rooms: Rooms, name: str) -> None:
    text, error = await asyncio.to_thread(read, CLIENTS[name], rooms.url, "tokens=3")
    assert (text, error) == ("t0 t1 t2", None)


@pytest.mark.parametrize("name", ["v1 chat", "v1 completions", "v1 responses"])
async def test_without_the_farm_half_an_answer_looks_whole(name: str) -> None:
    """What is closed here is a hole: the same client and the same death, without the farm between."""
    async with standin() as behind:
        _, error = await asyncio.to_thread(read, CLIENTS[name], behind.url, "tokens=9 crash_at=3")
        assert error is None


@pytest.mark.parametrize("name", CLIENTS)
async def test_errors_before_the_first_token_raise_with_their_status(rooms: Rooms, name: str) -> None:
    _, error = await asyncio.to_thread(read, CLIENTS[name], rooms.url, "tokens=9 crash_at=0")
    assert isinstance(error, ollama.ResponseError | openai.InternalServerError)
    assert error.status_code == 500
    assert "unexpectedly stopped" in str(error)
