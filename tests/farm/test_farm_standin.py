"""The stand-in for Ollama behaves as the recorded one; what is built on it is worth no more than this."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from likeness import differences
from recorded import ENTRIES, request_of
from standin.calls import Callers, answered, last, post, silent, told
from standin.ollama import Model, Standin

SMOL = "smollm2:135m"


def models(load_s: float = 0.0) -> dict[str, Model]:
    """Those of the recording: four names of one file."""
    able = {SMOL: (), "tooly": ("tools",), "filly": ("insert",), "thinky": ("thinking",), "rawy": ()}
    return {
        name: Model(load_s, gguf="smol", parameters={"num_ctx": 2048}, capabilities=("completion", *more))
        for name, more in able.items()
    }


@pytest.fixture
def call() -> Iterator[Callers]:
    callers = Callers()
    yield callers
    callers.close()


def steered(name: str, words: str) -> bytes:
    """A recorded request whose prompt, in its route's form, is these words."""
    body = json.loads(ENTRIES[name]["request"]["body"].replace('\\"', ""))
    if "messages" in body:
        return request_of(name, messages=[{"role": "user", "content": words}])
    return request_of(name, **{"input" if "input" in body else "prompt": words})


# -- exchanges that were recorded -----------------------------------------------------------------------

ELSEWHERE = (
    "runner_killed_", "token_repeat_", "client_half_close_", "queue_full", "load_timeout", "serve_sigterm",
    "origins_", "ps_loaded", "schema_kills", "chat_tools_", "chat_thinking_", "v1_chat_tools_stream",
    "v1_chat_tools_nonstream", "v1_chat_thinking", "tags_", "v1_models", "delete_ok",
)  # fmt: skip
"""Provoked in tests below."""
NOT_DONE = (
    "create_from", "create_bad_template", "create_missing_blob", "create_not_gguf", "blob_head_ok",
    "blob_head_after", "blob_head_unknown", "blob_post_created", "push_", "v1_images", "v1_audio", "cloud_",
    "v1_cloud", "show_verbose", "show_invalid_name", "pull_no_network",
    # what a model was asked, not what lies between: logprobs, templates, images, contexts, renderings
    "generate_logprobs", "chat_logprobs", "v1_chat_logprobs", "generate_top_logprobs", "generate_debug",
    "chat_debug", "generate_bad_template", "generate_system_template", "generate_with_context",
    "generate_suffix", "generate_images", "generate_think_bad", "generate_raw_with_system",
    "generate_format_json", "generate_format_schema", "request_invalid_utf8", "request_lone_surrogate",
    "request_duplicate_keys", "chat_history_dropped", "request_nul", "prompt_too_long_truncate_false",
    "embed_too_long", "embeddings_too_long", "generate_stop_buffering", "generate_multibyte",
    "generate_long_nonstream",
)  # fmt: skip
"""What the stand-in leaves out."""
PLAIN = [name for name in ENTRIES if name != "me" and not name.startswith(ELSEWHERE + NOT_DONE)]


def test_most_of_the_recording_is_told_again() -> None:
    assert len(PLAIN) > 135


@pytest.mark.parametrize("name", PLAIN)
async def test_as_recorded(name: str) -> None:
    async with Standin(models()) as ollama:
        assert differences(name, await told(ollama.url, request_of(name))) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("runner_killed_generate_stream", "tokens=9 crash_at=2"),
        ("runner_killed_chat_stream", "tokens=9 crash_at=2"),
        ("runner_killed_v1_chat_stream", "tokens=9 crash_at=2"),
        ("runner_killed_v1_responses_stream", "tokens=9 crash_at=1"),
        ("runner_killed_v1_messages_stream", "crash_at=1 now"),
        ("runner_killed_generate_nonstream", "tokens=9 crash_at=2"),
        ("runner_killed_v1_chat_nonstream", "tokens=9 crash_at=2"),
        ("runner_killed_in_prefill_stream", "tokens=9 crash_at=0"),
        ("runner_killed_embed", "crash_at=0"),
        ("token_repeat_abort_stream", "tokens=5 repeat=40"),
        ("token_repeat_abort_nonstream", "tokens=5 repeat=40"),
        ("token_repeat_abort_v1_stream", "tokens=5 repeat=40"),
    ],
)
async def test_broken_as_recorded(name: str, words: str) -> None:
    async with Standin(models()) as ollama:
        assert differences(name, await told(ollama.url, steered(name, words))) == []


@pytest.mark.parametrize("name", ["queue_full", "queue_full_v1", "queue_full_v1_messages"])
async def test_a_full_queue_as_recorded(name: str, call: Callers) -> None:
    async with Standin(models(load_s=9), max_queue=1) as ollama:
        call(ollama.url, post(model=SMOL))
        await ollama.until(lambda o: o.loading)
        call(ollama.url, post(model=SMOL))
        await ollama.until(lambda o: o.queued == 1)
        assert differences(name, await told(ollama.url, request_of(name))) == []


async def test_a_runner_killed_while_loading_as_recorded(call: Callers) -> None:
    async with Standin(models(load_s=9)) as ollama:
        wire = call(ollama.url, request_of("runner_killed_while_loading"))
        await ollama.until(lambda o: o.loading)
        ollama.kill_runner(SMOL)
        assert differences("runner_killed_while_loading", await answered(wire)) == []


async def test_a_load_without_progress_as_recorded(call: Callers) -> None:
    async with Standin(models(load_s=0.02), load_timeout_s=0.02) as ollama:
        wire = call(ollama.url, request_of("load_timeout"))
        await ollama.until(lambda o: o.loading)
        ollama.hang_runner(SMOL)
        assert differences("load_timeout", await answered(wire)) == []


async def test_an_ended_server_as_recorded(call: Callers) -> None:
    name = "serve_sigterm_stream"
    async with Standin(models()) as ollama:
        wire = call(ollama.url, steered(name, "tokens=9 hang_at=2"))
        await ollama.until(lambda o: o.chunks == 2)
        await ollama.close()
        assert differences(name, await answered(wire)) == []


@pytest.mark.parametrize(
    ("name", "words", "when"),
    [
        ("client_half_close_stream", "tokens=9 hang_at=2", lambda o: o.chunks == 2),
        ("client_half_close_nonstream", "tokens=9 hang_at=2", lambda o: o.told == 2),
        ("client_half_close_in_prefill", "prefill=0.2", lambda o: o.running == 1),
        ("client_half_close_in_load", "", lambda o: o.loading),
    ],
)
async def test_a_half_close_as_recorded(
    name: str, words: str, when: Callable[[Standin], object], call: Callers
) -> None:
    async with Standin(models(load_s=5 if "load" in name else 0)) as ollama:
        wire = call(ollama.url, steered(name, words))
        await ollama.until(when)
        wire.half_close()
        answer = await answered(wire)
        answer.body = re.sub(rb"127\.0\.0\.1:\d+/completion", b"127.0.0.1:<port>/completion", answer.body)
        assert differences(name, answer) == []


async def test_a_half_close_in_the_queue_as_recorded(call: Callers) -> None:
    name = "client_half_close_in_queue"
    async with Standin(models()) as ollama:
        call(ollama.url, post(model=SMOL, prompt="hang_at=1"))
        await ollama.until(lambda o: o.told == 1)
        ollama.resume_runner(SMOL)
        call(ollama.url, post(model=SMOL, prompt="tokens=9 gap=0.05"))
        await ollama.until(lambda o: o.running == 1 and o.told > 2)
        wire = call(ollama.url, request_of(name))
        await ollama.until(lambda o: o.waiting == 1)
        wire.half_close()
        assert differences(name, await answered(wire)) == []


async def test_a_deadly_schema_as_recorded_ends_all_streams_of_its_model(call: Callers) -> None:
    async with Standin(models(), parallel=2) as ollama:
        wire = call(ollama.url, post(model=SMOL, prompt="tokens=900 gap=0.01"))
        await ollama.until(lambda o: o.chunks >= 1)
        name = "schema_kills_runner"
        assert differences(name, await told(ollama.url, request_of(name))) == []
        answer = await answered(wire)
        assert (answer.status, answer.end) == (200, "last chunk")
        assert last(answer) == {
            "error": "an error was encountered while running the model: signal arrived during cgo execution"
        }


@pytest.mark.parametrize(
    "name", ["ps_loaded", "tags_get", "tags_head", "v1_models", "v1_models_empty", "tags_empty"]
)
async def test_lists_as_recorded(name: str) -> None:
    there = {SMOL: Model(parameters={"num_ctx": 2048})}
    async with Standin({} if name.endswith("empty") else there) as ollama:
        if name == "ps_loaded":
            await told(ollama.url, post(model=SMOL))
        answer = await told(ollama.url, request_of(name))
        if name == "v1_models":  # there were four
            assert json.loads(answer.body)["data"][0].keys() == {"id", "object", "created", "owned_by"}
        else:
            assert differences(name, answer) == []


@pytest.mark.parametrize(
    ("name", "origins"),
    [
        ("origins_env_allowed", ("https://app.example", "http://*.corp.example")),
        ("origins_env_foreign", ("https://app.example", "http://*.corp.example")),
        ("origins_star", ("*",)),
        ("origins_star_preflight", ("*",)),
    ],
)
async def test_origins_as_recorded(name: str, origins: tuple[str, ...]) -> None:
    async with Standin(models(), origins=origins) as ollama:
        assert differences(name, await told(ollama.url, request_of(name))) == []


async def test_a_copy_is_deleted_as_recorded() -> None:
    async with Standin(models()) as ollama:
        for name in ("copy_ok", "delete_ok"):
            assert differences(name, await told(ollama.url, request_of(name))) == []
        assert "copied" not in ollama.models


# -- what was looked up since, in an Ollama of the same version --------------------------------------------

STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)
EVENTS = {"cache-control": "no-cache", "connection": "keep-alive"}
ASKED = {
    "/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/responses": "input",
    "/v1/messages": "messages",
}  # fmt: skip


def openai(path: str, words: str, **more: object) -> bytes:
    """A request of a /v1 route."""
    field = ASKED[path]
    said = [{"role": "user", "content": words}] if field == "messages" else words
    return post(path, **{"model": SMOL, "stream": True, "max_tokens": 9, field: said, **more})


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/completions", {}),
        ("/v1/responses", EVENTS),
        ("/v1/messages", EVENTS),
    ],
)
async def test_errors_before_the_first_token_of_a_v1_stream(path: str, more: dict[str, str]) -> None:
    async with Standin(models()) as ollama:
        killed = await told(ollama.url, openai(path, "crash_at=0"))
        unknown = await told(ollama.url, openai(path, "x", model="nosuch"))
    for answer, status, words, framing in (
        (killed, 500, STOPPED, {"transfer-encoding": "chunked"}),
        (unknown, 404, "model 'nosuch' not found", {"content-length": str(len(unknown.body))}),
    ):
        headers = {name: value for name, value in answer.headers if name != "date"}
        assert headers == {"content-type": "application/json", **more, **framing}
        assert (answer.status, last(answer)["error"]["message"]) == (status, words)
        assert answer.body.endswith(b"\n")


async def test_a_load_by_a_stream_of_completions() -> None:
    async with Standin(models()) as ollama:
        answer = await told(ollama.url, openai("/v1/completions", ""))
        assert (answer.header("content-type"), answer.end) == ("text/event-stream", "length")
        assert answer.body.count(b"data: ") == 2
        assert b'"finish_reason":"load"' in answer.body


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/embed", {"input": "crash_at=0"}, 400, "EOF"),
        ("/api/embeddings", {"prompt": "crash_at=0"}, 500, "EOF"),
        ("/v1/embeddings", {"input": "crash_at=0"}, 400, "EOF"),
        ("/api/embed", {"model": "", "input": "x"}, 404, "model '' not found"),
        ("/api/embeddings", {"model": "", "prompt": "x"}, 400, "model is required"),
        ("/v1/embeddings", {"model": "nosuch", "input": "x"}, 404, "not found, try pulling it first"),
    ],
)
async def test_errors_of_embeddings(path: str, body: dict[str, str], status: int, words: str) -> None:
    async with Standin(models()) as ollama:
        answer = await told(ollama.url, post(path, **{"model": SMOL, **body}))
        assert (answer.status, words in answer.body.decode()) == (status, True)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/generate", {"prompt": "x"}, 500, "llama runner process no longer running: -1 "),
        ("/api/embed", {"input": "x"}, 400, "llama runner process no longer running: -1"),
    ],
)
async def test_who_waits_for_a_slot_of_a_killed_runner(
    path: str, body: dict[str, str], status: int, words: str, call: Callers
) -> None:
    async with Standin(models()) as ollama:
        call(ollama.url, post(model=SMOL, prompt="tokens=99 gap=0.01"))
        await ollama.until(lambda o: o.running == 1)
        wire = call(ollama.url, post(path, model=SMOL, **body))
        await ollama.until(lambda o: o.waiting == 1)
        ollama.kill_runner(SMOL)
        answer = await answered(wire)
        assert (answer.status, last(answer)["error"]) == (status, words)


async def test_who_half_closes_while_waiting_for_a_load_is_never_answered(call: Callers) -> None:
    async with Standin(models(load_s=0.1)) as ollama:
        first = call(ollama.url, post(model=SMOL))
        await ollama.until(lambda o: o.loading)
        second = call(ollama.url, post(model=SMOL))
        await ollama.until(lambda o: o.queued == 1)
        second.half_close()
        assert last(await answered(first))["done_reason"] == "load"
        await ollama.until(lambda o: o.queued == 0)
        assert await silent(second)


# -- calls and thoughts ------------------------------------------------------------------------------------


def shape(text: str | bytes) -> object:
    """The fields of a line or event in their order, and the kinds of their values."""
    told = text.decode() if isinstance(text, bytes) else text
    return _shape(json.loads(told.partition("\n\n")[0].removeprefix("data: ")))


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return [(name, _shape(told)) for name, told in value.items()]
    return [_shape(told) for told in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize(
    ("name", "words", "ends"),
    [
        ("chat_tools_stream", "call=get_weather tokens=3", b'"done_reason":"stop"'),
        ("v1_chat_tools_stream", "call=get_weather tokens=3", b'"finish_reason":"tool_calls"'),
        ("chat_thinking_stream", "think=2 tokens=3", b'"done_reason":"stop"'),
        ("v1_chat_thinking_stream", "think=2 tokens=3", b'"finish_reason":"stop"'),
    ],
)
async def test_calls_and_thoughts_as_recorded(name: str, words: str, ends: bytes) -> None:
    async with Standin(models()) as ollama:
        answer = await told(ollama.url, steered(name, words))
    recorded = [chunk["text"] for chunk in ENTRIES[name]["response"]["chunks"]]
    assert [shape(chunk) for chunk in answer.chunks or []] == [shape(chunk) for chunk in recorded]
    assert ends in answer.body


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("chat_tools_nonstream", "call=get_weather tokens=3"),
        ("v1_chat_tools_nonstream", "call=get_weather tokens=3"),
        ("chat_thinking_nonstream", "think=2 tokens=3"),
    ],
)
async def test_whole_calls_and_thoughts_as_recorded(name: str, words: str) -> None:
    async with Standin(models()) as ollama:
        answer = await told(ollama.url, steered(name, words))
    assert shape(answer.body) == shape(ENTRIES[name]["response"]["body"])
