"""Exchanges recorded from a real Ollama 0.24.0, replayed: the same words, bytes, framing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from farm.embedded.app import OllamaApp
from farm.embedded.ask import Ask
from farm.embedded.native import Ending, NativeVoice
from farm.embedded.openai_voice import ChatVoice, CompletionVoice
from farm.embedded.pieces import Counts, Piece
from farm.embedded.runner import Runner
from farm.plan import EnginePlan

RECORDED: dict[str, dict[str, Any]] = {
    entry["name"]: entry
    for entry in json.loads(Path(__file__).with_name("ollama_recorded.json").read_text(encoding="utf-8"))
}

WITHOUT_ENGINE = [
    "root_get",
    "root_head",
    "version_head",
    "ps_empty",
    "ps_head",
    "show_unknown",
    "show_missing_model",
    "show_empty_body",
    "show_bad_json",
    "show_invalid_name",
    "generate_unload_not_loaded",
    "generate_raw_with_system",
    "generate_suffix_unsupported",
    "generate_format_bad",
    "generate_format_bad_schema",
    "generate_top_logprobs_range",
    "generate_think_unsupported",
    "generate_think_bad",
    "generate_images_bad_base64",
    "generate_unknown_model",
    "generate_missing_model",
    "generate_empty_body",
    "generate_bad_json",
    "generate_array_body",
    "generate_wrong_type_prompt",
    "generate_wrong_type_stream",
    "generate_wrong_type_option",
    "generate_wrong_type_options",
    "generate_keep_alive_bad",
    "generate_keep_alive_bad_type",
    "generate_keep_alive_number_string",
    "chat_unload",
    "chat_tools_unsupported",
    "chat_think_unsupported",
    "chat_unknown_model",
    "chat_missing_model",
    "chat_empty_body",
    "chat_bad_json",
    "chat_wrong_type_messages",
    "chat_wrong_type_content",
    "embed_wrong_type",
    "embed_unknown_model",
    "embeddings_unknown_model",
    "pull_invalid_name",
    "copy_unknown",
    "delete_unknown",
    "delete_with_post",
    "blob_head_ok",
    "v1_model_unknown",
    "v1_chat_unknown_model",
    "v1_chat_missing_model",
    "v1_chat_no_messages",
    "v1_chat_bad_json",
    "v1_chat_empty_body",
    "v1_chat_wrong_type",
    "v1_chat_tools_unsupported",
    "v1_chat_error_stream",
    "v1_completions_prompt_list",
    "v1_embeddings_no_input",
    "v1_messages_count_tokens",
    "method_get_generate",
    "method_put_chat",
    "method_post_tags",
    "method_delete_v1",
    "unknown_route",
    "trailing_slash",
    "trailing_slash_post",
    "query_ignored",
    "options_no_origin",
    "origin_foreign_get",
    "origin_foreign_post",
    "origin_null",
    "origin_same_as_host",
    "origin_extension",
    "origin_lan_ip",
    "host_foreign",
    "host_lan_ip",
    "host_public_ip",
    "host_local_tld",
    "host_empty",
    "request_gzip_body",
    "request_bom",
    "debug_pprof",
    "metrics",
    "lowercase_method",
]

# What ours says differently on purpose: its version, the short model name without a registry, an empty
# 404 of a HEAD without a length, and one `Location` answer less chatty.
_OURS = {"<registry>/library/": "", '"version":"0.0.0"': '"version":"0.24.0"'}


async def replay(app: Any, request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Send one recorded request to an ASGI application; status, headers and body of its answer."""
    body = gzip.compress(b"{}") if request["body"].startswith("<gzip") else request["body"].encode()
    headers = {"host": "127.0.0.1:11434"} | {
        name.lower(): value for name, value in request["headers"].items()
    }
    path, _, query = request["path"].partition("?")
    scope = {
        "type": "http",
        "method": request["method"],
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        return await never.wait()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    never = _Never()
    await app(scope, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:])


class _Never:
    async def wait(self) -> dict[str, Any]:
        import asyncio

        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture
def app() -> OllamaApp:
    plan = EnginePlan("/nowhere/model.gguf", slots=1, slot_tokens=2048, threads=1, batch=512)
    return OllamaApp(Runner(plan, 300.0), modified_ns=1_795_244_645_146_510_160)


@pytest.mark.parametrize("name", WITHOUT_ENGINE)
async def test_words_and_framing(app: OllamaApp, name: str) -> None:
    entry = RECORDED[name]
    status, headers, body = await replay(app, entry["request"])
    wanted = entry["response"]
    text = wanted.get("body", "")
    for theirs, ours in _OURS.items():
        text = text.replace(theirs, ours)
    assert status == wanted["status"]
    if entry["request"]["method"] != "HEAD":
        assert without_time(body.decode()) == without_time(text)
    for header in ("content-type", "allow", "location"):
        if header in wanted["headers"]:
            assert headers[header] == wanted["headers"][header]


def without_time(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict) and "created_at" in value:
        value["created_at"] = "then"
    return list(value.items()) if isinstance(value, dict) else value


# -- the voices, byte for byte --------------------------------------------------------------


def _ending(told: dict[str, Any]) -> Ending:
    counts = Counts(
        told["done_reason"],
        told["prompt_eval_count"],
        told["prompt_eval_duration"],
        told["eval_count"],
        told.get("eval_duration", 0),
    )
    return Ending(
        told["done_reason"], counts, told.get("context"), told["total_duration"], told["load_duration"]
    )


def _text(told: dict[str, Any]) -> str:
    return told["message"]["content"] if "message" in told else told["response"]


@pytest.mark.parametrize(
    "name",
    ["generate_first_load_stream", "generate_stream", "generate_num_predict_1", "generate_logprobs_stream",
     "chat_stream", "chat_logprobs_stream"],
)  # fmt: skip
def test_native_lines(name: str) -> None:
    voice = NativeVoice(Ask("chat" if name.startswith("chat") else "generate", "smollm2:135m"))
    for chunk in RECORDED[name]["response"]["chunks"]:
        if chunk["dt_ms"] is None:
            continue
        told = json.loads(chunk["text"])
        if told["done"]:
            made = voice.last(_ending(told), told["created_at"])
        else:
            made = voice.line(Piece(_text(told), (), tuple(told.get("logprobs", ()))), told["created_at"])
        assert made.decode() == chunk["text"]


@pytest.mark.parametrize(
    "name",
    [
        "generate_nonstream",
        "generate_raw",
        "generate_stop",
        "generate_logprobs_nonstream",
        "generate_format_schema",
        "chat_nonstream",
    ],
)
def test_native_bodies(name: str) -> None:
    text = RECORDED[name]["response"]["body"]
    told = json.loads(text)
    voice = NativeVoice(Ask("chat" if name.startswith("chat") else "generate", "smollm2:135m"))
    pieces = [Piece(_text(told), (), tuple(told.get("logprobs", ())))]
    assert voice.whole(pieces, _ending(told), told["created_at"]).decode() == text


@pytest.mark.parametrize(
    "name", ["generate_empty_prompt_load", "chat_empty_messages_load", "generate_unload_not_loaded"]
)
def test_native_load_and_unload(name: str) -> None:
    text = RECORDED[name]["response"]["body"]
    told = json.loads(text)
    voice = NativeVoice(Ask("chat" if name.startswith("chat") else "generate", "smollm2:135m"))
    assert voice.whole([], Ending(told["done_reason"]), told["created_at"]).decode() == text


def test_native_broken_stream() -> None:
    voice = NativeVoice(Ask("generate", "smollm2:135m"))
    assert (
        voice.broken("then").decode()
        == RECORDED["runner_killed_generate_stream"]["response"]["chunks"][-1]["text"]
    )


def _number(identity: str) -> int:
    return int(identity.rpartition("-")[2])


@pytest.mark.parametrize("name", ["v1_chat_stream", "v1_chat_stream_usage", "v1_completions_stream_usage"])
def test_openai_events(name: str) -> None:
    chunks = RECORDED[name]["response"]["chunks"]
    first = json.loads(chunks[0]["text"].removeprefix("data: "))
    made_voice = ChatVoice if "chat" in name else CompletionVoice
    voice = made_voice(
        Ask("chat", "smollm2:135m"),
        number=_number(first["id"]),
        created=first["created"],
        usage="usage" in name,
    )
    choice = first["choices"][0]
    text = choice["delta"]["content"] if "chat" in name else choice["text"]
    prompt_tokens = 12 if "completions" in name else 11
    ending = Ending("length", Counts("length", prompt_tokens, 0, 3, 0))
    assert voice.line(Piece(text), "").decode() == chunks[0]["text"]
    assert voice.last(ending, "").decode() == chunks[-1]["text"]


@pytest.mark.parametrize(
    "name", ["v1_chat_nonstream", "v1_chat_logprobs", "v1_completions", "v1_completions_empty_prompt"]
)
def test_openai_bodies(name: str) -> None:
    text = RECORDED[name]["response"]["body"]
    told = json.loads(text)
    made_voice = ChatVoice if "chat" in name else CompletionVoice
    voice = made_voice(
        Ask("chat", "smollm2:135m"), number=_number(told["id"]), created=told["created"], usage=False
    )
    choice, usage = told["choices"][0], told["usage"]
    content = choice["message"]["content"] if "chat" in name else choice["text"]
    logprobs = tuple((choice.get("logprobs") or {}).get("content", ()))
    counts = Counts("", usage["prompt_tokens"], 0, usage["completion_tokens"], 0)
    made = voice.whole([Piece(content, (), logprobs)], Ending(choice["finish_reason"], counts), "")
    assert made.decode() == text


def test_openai_broken_stream() -> None:
    chunk = RECORDED["runner_killed_v1_chat_stream"]["response"]["chunks"][-1]["text"]
    told = json.loads(chunk.removeprefix("data: "))
    voice = ChatVoice(
        Ask("chat", "smollm2:135m"), number=_number(told["id"]), created=told["created"], usage=True
    )
    assert voice.broken("").decode() == chunk


# -- a real engine against the recording ------------------------------------------------------

WITH_ENGINE = [
    "generate_stream",
    "generate_nonstream",
    "generate_empty_prompt_load",
    "generate_raw",
    "generate_stop",
    "generate_num_predict_1",
    "generate_logprobs_stream",
    "generate_logprobs_nonstream",
    "generate_debug_render",
    "generate_trailing_garbage",
    "generate_case_insensitive_fields",
    "chat_stream",
    "chat_nonstream",
    "chat_empty_messages_load",
    "chat_logprobs_stream",
    "chat_debug_render",
    "embed_dimensions",
    "embed_empty_string",
    "embed_empty_list",
    "embeddings_empty",
    "embed_list_with_empty",
    "request_nul",
    "request_lone_surrogate",
    "request_duplicate_keys",
    "v1_chat_nonstream",
    "v1_chat_stream",
    "v1_chat_stream_usage",
    "v1_chat_logprobs",
    "v1_completions",
    "v1_completions_stream_usage",
    "v1_completions_empty_prompt",
    "v1_embeddings",
    "v1_embeddings_base64",
    "tags_get",
]
_VARYING = frozenset(
    [
        "created_at",
        "total_duration",
        "load_duration",
        "prompt_eval_duration",
        "eval_duration",
        "response",
        "content",
        "text",
        "id",
        "created",
        "modified_at",
        "digest",
        "size",
        "context",
        "token",
        "logprob",
        "bytes",
        "embedding",
    ]
)


def _shape(value: Any) -> Any:
    """Keys in their order, and every value that does not depend on the machine, the day or rounding."""
    if isinstance(value, dict):
        return [
            (key, "…" if key in _VARYING else _shape(item))
            for key, item in value.items()
            if key != "eval_duration"
        ]
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return "…" if isinstance(value, float) else value


def _objects(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
    return [_shape(json.loads(line)) if line != "[DONE]" else line for line in lines]


@pytest.mark.engine
@pytest.mark.parametrize("name", WITH_ENGINE)
def test_a_real_answer_has_the_recorded_shape(farm: Any, name: str) -> None:
    entry = RECORDED[name]
    request, wanted = entry["request"], entry["response"]
    answer = httpx.request(
        request["method"], farm.url + request["path"], content=request["body"].encode(), timeout=60
    )
    assert answer.status_code == wanted["status"]
    assert answer.headers["content-type"] == wanted["headers"]["content-type"]
    assert ("content-length" in answer.headers) == ("content-length" in wanted["headers"])
    made = _objects(answer.text)
    if "chunks" in wanted:
        theirs = [shape for chunk in wanted["chunks"] if chunk["dt_ms"] for shape in _objects(chunk["text"])]
        assert made[0] == theirs[0]
        assert made[-1] == theirs[-1]
    elif not wanted["body"].startswith("<"):
        assert made == _objects(wanted["body"])


@pytest.mark.engine
def test_old_messages_are_dropped_whole(farm: Any) -> None:
    wanted = json.loads(RECORDED["chat_history_dropped"]["response"]["body"])["_debug_info"]
    messages = [
        {"role": "system", "content": "SYS"},
        {"role": "user", "content": "word " * 60},
        {"role": "assistant", "content": "OK"},
        {"role": "user", "content": "NEW"},
    ]
    ask = {
        "model": "smollm2:135m",
        "messages": messages,
        "_debug_render_only": True,
        "options": {"num_ctx": 64},
    }
    assert httpx.post(f"{farm.url}/api/chat", json=ask).json()["_debug_info"] == wanted


@pytest.mark.engine
def test_too_long_without_truncation(farm: Any) -> None:
    wanted = RECORDED["prompt_too_long_truncate_false"]["response"]
    ask = {"model": "smollm2:135m", "prompt": "word " * 180, "truncate": False, "options": {"num_ctx": 64}}
    answer = httpx.post(f"{farm.url}/api/generate", json=ask)
    assert (answer.status_code, answer.text) == (wanted["status"], wanted["body"])
    assert answer.headers["content-type"] == wanted["headers"]["content-type"]


@pytest.mark.engine
def test_without_shift_the_context_is_the_end(farm: Any) -> None:
    ask = json.loads(RECORDED["shift_false"]["request"]["body"])
    answer = httpx.post(
        f"{farm.url}/api/generate", json=ask | {"options": ask["options"] | {"stop": []}}, timeout=60
    ).json()
    assert answer["done_reason"] == "length"
    assert (answer["prompt_eval_count"], answer["eval_count"]) == (12, 21)


@pytest.mark.engine
def test_the_tokens_are_the_recorded_ones(farm: Any) -> None:
    entry = RECORDED["generate_nonstream"]
    answer = httpx.post(f"{farm.url}/api/generate", content=entry["request"]["body"].encode()).json()
    recorded = json.loads(entry["response"]["body"])
    assert (
        answer["context"][: answer["prompt_eval_count"]]
        == recorded["context"][: recorded["prompt_eval_count"]]
    )
