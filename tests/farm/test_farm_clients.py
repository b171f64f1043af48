"""The official clients against a real farm, through the proxy. With OLLAMA_TEST_HOST the same checks run
against the real Ollama named there."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import ollama
import openai
import pytest

MODEL = os.environ.get("OLLAMA_TEST_MODEL", "smollm2:135m")
GREEDY = {"temperature": 0, "seed": 1, "num_predict": 8}
CHAT = [{"role": "user", "content": "Say hi"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "n": {"type": "integer"}},
    "required": ["city", "n"],
}


@pytest.fixture(
    scope="module",
    params=[pytest.param("farm", marks=pytest.mark.engine), pytest.param("ollama", marks=pytest.mark.ollama)],
)
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "farm":
        return request.getfixturevalue("farm").url
    host = os.environ.get("OLLAMA_TEST_HOST")
    if not host:
        pytest.skip("set OLLAMA_TEST_HOST=http://127.0.0.1:11434 to compare with a real Ollama")
    return host


@pytest.fixture
def client(url: str) -> Iterator[ollama.Client]:
    made = ollama.Client(host=url)
    yield made
    made._client.close()


@pytest.fixture
async def async_client(url: str) -> AsyncIterator[ollama.AsyncClient]:
    made = ollama.AsyncClient(host=url)
    yield made
    await made._client.aclose()


@pytest.fixture
def openai_client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as made:
        yield made


# -- the ollama client --------------------------------------------------------------------


def test_generate(client: ollama.Client) -> None:
    whole = client.generate(MODEL, "Say hi", options=GREEDY)
    assert whole.done
    assert whole.response
    assert whole.eval_count is not None
    assert 0 < whole.eval_count <= 8
    assert whole.prompt_eval_count is not None
    assert whole.prompt_eval_count > 0
    assert whole.total_duration is not None
    assert whole.eval_duration is not None
    assert whole.total_duration >= whole.eval_duration > 0
    assert whole.context


def test_generate_stream_says_the_same_as_the_whole_answer(client: ollama.Client) -> None:
    whole = client.generate(MODEL, "Count to three", options=GREEDY)
    lines = list(client.generate(MODEL, "Count to three", options=GREEDY, stream=True))
    assert len(lines) > 2
    assert "".join(line.response for line in lines) == whole.response
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].context == whole.context
    assert lines[-1].eval_count == whole.eval_count


def test_generate_goes_on_from_a_context(client: ollama.Client) -> None:
    first = client.generate(MODEL, "Count to three", options=GREEDY)
    assert first.context is not None
    second = client.generate(MODEL, "go on", context=first.context, options=GREEDY)
    assert second.context is not None
    assert list(second.context[: len(first.context)]) == list(first.context)
    assert second.prompt_eval_count is not None
    assert second.prompt_eval_count > len(first.context)


def test_generate_raw_has_no_context_and_stops_at_a_stop_text(client: ollama.Client) -> None:
    options = {**GREEDY, "num_predict": 20, "stop": [","]}
    answer = client.generate(MODEL, "One two three", raw=True, options=options)
    assert "," not in answer.response
    assert answer.done_reason == "stop"
    assert answer.context is None


def test_chat(client: ollama.Client) -> None:
    answer = client.chat(MODEL, CHAT, options=GREEDY)
    assert answer.message.role == "assistant"
    assert answer.message.content
    assert answer.done_reason in {"stop", "length"}


async def test_chat_stream_async(async_client: ollama.AsyncClient) -> None:
    lines = [line async for line in await async_client.chat(MODEL, CHAT, options=GREEDY, stream=True)]
    assert len(lines) > 2
    assert lines[-1].done
    assert all(line.created_at for line in lines)
    assert "".join(line.message.content or "" for line in lines)


@pytest.mark.parametrize("stream", [False, True])
def test_chat_with_a_schema(client: ollama.Client, stream: bool) -> None:
    options = {"temperature": 0, "num_predict": 200}
    answer: Any = client.chat(
        MODEL, [{"role": "user", "content": "A city."}], format=SCHEMA, options=options, stream=stream
    )
    text = "".join(line.message.content for line in answer) if stream else answer.message.content
    told = json.loads(text)
    assert set(told) == {"city", "n"}
    assert isinstance(told["n"], int)


def test_optional_values_in_a_schema(client: ollama.Client) -> None:
    part = {"oneOf": [{"type": "integer"}, {"type": "null"}]}
    schema = {"type": "object", "properties": {"a": part}, "required": ["a"]}
    answer = client.generate(MODEL, "A number.", format=schema, options={"temperature": 0, "num_predict": 60})
    assert set(json.loads(answer.response)) == {"a"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_cannot_be_kept_is_refused(client: ollama.Client, stream: bool) -> None:
    with pytest.raises(ollama.ResponseError, match=r"schema|grammar") as caught:
        list(client.generate(MODEL, "x", format={"type": "strange"}, stream=stream))
    assert caught.value.status_code == 500


def test_format_json_begins_an_object(client: ollama.Client) -> None:
    answer = client.generate(MODEL, "A person in JSON.", format="json", options=GREEDY)
    assert answer.response.lstrip().startswith("{")


def test_the_seed_decides(client: ollama.Client) -> None:
    options = {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "num_predict": 12, "seed": 42}
    texts = [
        client.generate(MODEL, "Tell", options=options | {"seed": seed}).response for seed in (42, 42, 43)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_logprobs(client: ollama.Client) -> None:
    answer = client.chat(MODEL, CHAT, options=GREEDY | {"num_predict": 2}, logprobs=True, top_logprobs=2)
    assert answer.logprobs is not None
    assert len(answer.logprobs) == 2
    assert all(entry.logprob <= 0 and len(entry.top_logprobs or ()) == 2 for entry in answer.logprobs)


def test_embed(client: ollama.Client) -> None:
    answer = client.embed(MODEL, ["hello", "a b"])
    assert [len(vector) for vector in answer.embeddings] == [576, 576]
    assert sum(number**2 for number in answer.embeddings[0]) == pytest.approx(1, abs=1e-4)
    assert answer.prompt_eval_count == 3


def test_embed_vectors_are_those_of_the_recording(client: ollama.Client) -> None:
    # Not equal: other builds of the engine round differently.
    answer = client.embed(MODEL, ["hello", "a b"])
    assert answer.embeddings[0][:4] == pytest.approx([-0.0127, -0.0186, 0.0011, 0.0266], abs=2e-3)
    assert answer.embeddings[1][:4] == pytest.approx([-0.0372, -0.0276, 0.0056, -0.0162], abs=3e-3)


def test_embed_dimensions(client: ollama.Client) -> None:
    vector = client.embed(MODEL, "hello", dimensions=4).embeddings[0]
    assert sum(number**2 for number in vector) == pytest.approx(1, abs=1e-4)
    assert len(vector) == 4


def test_embeddings_old_route(client: ollama.Client) -> None:
    vector = client.embeddings(MODEL, "hello").embedding
    assert len(vector) == 576
    assert sum(number**2 for number in vector) > 10  # not normalised


def test_list_show_ps(client: ollama.Client) -> None:
    client.generate(MODEL)  # loads it
    assert MODEL in [entry.model for entry in client.list().models]
    shown = client.show(MODEL)
    assert shown.capabilities == ["completion"]
    assert (shown.modelinfo or {})["llama.embedding_length"] == 576
    running = client.ps().models
    assert [entry.model for entry in running] == [MODEL]
    assert running[0].size
    assert running[0].expires_at


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.generate("nosuch", "x"),
        lambda client: client.chat("nosuch", CHAT),
        lambda client: client.show("nosuch"),
        lambda client: client.embed("nosuch", "x"),
        lambda client: client.delete("nosuch"),
    ],
)
def test_an_unknown_model_is_404(client: ollama.Client, call: Callable[[ollama.Client], Any]) -> None:
    with pytest.raises(ollama.ResponseError, match=r"model .nosuch. not found") as caught:
        call(client)
    assert caught.value.status_code == 404


def test_tools_are_refused(client: ollama.Client) -> None:
    tool = {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
    }
    with pytest.raises(ollama.ResponseError, match="does not support tools") as caught:
        client.chat(MODEL, CHAT, tools=[tool])
    assert caught.value.status_code == 400


@pytest.mark.engine
def test_pull_of_a_model_that_is_there(farm: Any) -> None:
    # The embedded backend alone: a real Ollama would ask its vendor's registry.
    client = ollama.Client(host=farm.url)
    assert client.pull(MODEL).status == "success"
    assert [line.status for line in client.pull(MODEL, stream=True)][-1] == "success"
    client._client.close()


def test_a_prompt_longer_than_the_context_is_cut(host: str) -> None:
    options = {"num_ctx": 64, "num_predict": 2, "temperature": 0}
    ask = {"model": MODEL, "prompt": "word " * 180, "options": options, "stream": False}
    answer = httpx.post(f"{host}/api/generate", json=ask, timeout=60).json()
    assert answer["prompt_eval_count"] == 64
    assert len(answer["context"]) > 180


# -- parallel streams, and leaving --------------------------------------------------------


async def test_four_streams_run_at_the_same_time(async_client: ollama.AsyncClient) -> None:
    async def one(number: int) -> list[float]:
        options = {"temperature": 0.8, "seed": number, "num_predict": 40}
        stream = await async_client.generate(
            MODEL, f"Story {number}:", raw=True, options=options, stream=True
        )
        return [time.monotonic() async for line in stream if not line.done]

    times = await asyncio.gather(*(one(number) for number in range(4)))
    assert all(len(each) > 5 for each in times)
    # Every stream began before any stream ended.
    assert max(each[0] for each in times) < min(each[-1] for each in times)


# -- the openai client ----------------------------------------------------------------------


def test_openai_chat(openai_client: openai.OpenAI) -> None:
    made = openai_client.chat.completions.create(
        model=MODEL, messages=CHAT, max_tokens=6, temperature=0, seed=1
    )  # type: ignore[arg-type]
    assert made.choices[0].message.content
    assert made.choices[0].finish_reason == "length"
    assert made.usage is not None
    assert made.usage.completion_tokens == 6
    assert made.usage.total_tokens == made.usage.prompt_tokens + 6


def test_openai_chat_stream_with_usage(openai_client: openai.OpenAI) -> None:
    stream = openai_client.chat.completions.create(
        model=MODEL,
        messages=CHAT,  # type: ignore[arg-type]
        max_tokens=6,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6


def test_openai_responses(openai_client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": MODEL, "input": "Say hi", "max_output_tokens": 6, "temperature": 0}
    whole = openai_client.responses.create(**asked)
    assert whole.status == "completed"
    assert whole.usage is not None
    assert whole.usage.output_tokens == 6
    with openai_client.responses.stream(**asked) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        last = stream.get_final_response()
    assert "".join(deltas) == last.output_text == whole.output_text != ""


def test_openai_schema(openai_client: openai.OpenAI) -> None:
    made = openai_client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "A city."}],
        max_tokens=200,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA}},
    )
    assert set(json.loads(made.choices[0].message.content or "")) == {"city", "n"}


def test_openai_completions(openai_client: openai.OpenAI) -> None:
    made = openai_client.completions.create(model=MODEL, prompt="One two three", max_tokens=3, temperature=0)
    assert made.choices[0].text
    chunks = list(
        openai_client.completions.create(
            model=MODEL, prompt="One two three", max_tokens=3, temperature=0, stream=True
        )
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == made.choices[0].text


def test_openai_embeddings(openai_client: openai.OpenAI) -> None:
    # The client asks for base64 unless told otherwise, and unpacks it.
    made = openai_client.embeddings.create(model=MODEL, input=["hello", "a b"])
    plain = openai_client.embeddings.create(model=MODEL, input="hello", encoding_format="float")
    assert [entry.index for entry in made.data] == [0, 1]
    assert made.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-4)


def test_openai_models(openai_client: openai.OpenAI) -> None:
    assert MODEL in [entry.id for entry in openai_client.models.list()]
    assert openai_client.models.retrieve(MODEL).owned_by == "library"
    with pytest.raises(openai.NotFoundError, match="not found"):
        openai_client.models.retrieve("nosuch")


def test_openai_unknown_model(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="model 'nosuch' not found"):
        openai_client.chat.completions.create(model="nosuch", messages=CHAT)  # type: ignore[arg-type]


def test_liveness(url: str) -> None:
    assert httpx.get(url).text == "Ollama is running"
    for path in ("/", "/api/version", "/api/tags"):
        assert httpx.head(url + path).status_code == 200
