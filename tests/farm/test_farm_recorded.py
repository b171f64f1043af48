"""The forms of answers, byte for byte as a real Ollama 0.24.0 was recorded to tell them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rawhttp import ask
from recorded import ENTRIES as RECORDED
from recorded import request_of

from farm.embedded import messages, responses
from farm.embedded.ask import Ask
from farm.embedded.messages_voice import MessagesVoice
from farm.embedded.native import Ending, NativeVoice
from farm.embedded.openai_voice import ChatVoice, CompletionVoice
from farm.embedded.pieces import Counts, Piece
from farm.embedded.responses_voice import ResponsesVoice


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
        assert [part.decode() for part in made] == [chunk["text"]]


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
    told = RECORDED["runner_killed_generate_stream"]["response"]["chunks"][-1]["text"]
    assert voice.broken("then") == [told.encode()]


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
    assert voice.line(Piece(text), "") == [chunks[0]["text"].encode()]
    assert voice.last(ending, "") == [chunks[-1]["text"].encode()]


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
    assert voice.broken("") == [chunk.encode()]


# -- /v1/responses and /v1/messages ------------------------------------------------------------------

_TWO = Ending("length", Counts("length", 11, 0, 2, 0))


def _events(name: str) -> list[str]:
    """The recorded chunks, with the response that was left out of one put back in."""
    told = [str(chunk["text"]) for chunk in RECORDED[name]["response"]["chunks"]]
    response = told[0].partition('"response":')[2].partition(',"sequence_number"')[0]
    return [text.replace("<same response object>", response) for text in told]


def _asked(name: str) -> bytes:
    return str(RECORDED[name]["request"]["body"]).encode()


def test_responses_events() -> None:
    asked, given = responses.read(_asked("v1_responses_stream"))
    voice = ResponsesVoice(asked, given, number=600852, item=157936, created=1795246026)
    made = [*voice.line(Piece("I"), ""), *voice.line(Piece("'m"), ""), *voice.last(_TWO, "")]
    assert [chunk.decode() for chunk in made] == _events("v1_responses_stream")
    assert voice.broken("") == []


def test_responses_body() -> None:
    asked, given = responses.read(_asked("v1_responses"))
    voice = ResponsesVoice(asked, given, number=212360, item=368778, created=1795246026)
    made = voice.whole([Piece("I"), Piece("'m")], _TWO, "")
    assert made.decode() == RECORDED["v1_responses"]["response"]["body"]


def test_responses_without_a_word() -> None:
    asked, given = responses.read(b'{"model":"smollm2:135m","input":"x"}')
    made = ResponsesVoice(asked, given, number=1, item=2, created=3).last(Ending("stop"), "")
    assert [chunk.partition(b"\n")[0] for chunk in made] == [
        b"event: response.created", b"event: response.in_progress", b"event: response.completed",
    ]  # fmt: skip
    assert b'"output":null' in made[-1]


def test_responses_echo_what_was_asked() -> None:
    wanted = {"type": "text", "name": "n", "schema": {"a": 1.50}, "strict": True}
    asked, given = responses.read(
        json.dumps(
            {"model": "m", "input": "x", "text": {"format": wanted}, "top_p": 1e-7, "temperature": 1.0,
             "reasoning": {"effort": "none", "summary": "auto"}, "instructions": "<b>", "truncation": "auto"}
        ).encode()
    )  # fmt: skip
    made = ResponsesVoice(asked, given, number=1, item=2, created=3).whole([Piece("y")], _TWO, "").decode()
    for told in (
        '"instructions":"\\u003cb\\u003e"',
        '"text":{"format":{"type":"text","name":"n","schema":{"a":1.5},"strict":true}}',
        '"top_p":1e-7',
        '"temperature":1,',
        '"reasoning":{"effort":"none","summary":"auto"}',
        '"truncation":"auto"',
    ):
        assert told in made


def test_messages_events() -> None:
    asked, estimate = messages.read(_asked("v1_messages_stream"))
    voice = MessagesVoice(asked, estimate, number="7aa1384dbcb4c6628a2cc57f")
    made = [*voice.line(Piece("I"), ""), *voice.line(Piece("'m"), ""), *voice.last(_TWO, "")]
    assert [chunk.decode() for chunk in made] == _events("v1_messages_stream")
    assert voice.broken("") == []


def test_messages_body() -> None:
    asked, estimate = messages.read(_asked("v1_messages"))
    made = MessagesVoice(asked, estimate, number="f4e92346548c1743d0d23196").whole([Piece("I'm")], _TWO, "")
    assert made.decode() == RECORDED["v1_messages"]["response"]["body"]


def test_messages_without_a_word() -> None:
    asked, estimate = messages.read(_asked("v1_messages"))
    made = MessagesVoice(asked, estimate, number="1").last(Ending("load"), "")
    assert [chunk.partition(b"\n")[0] for chunk in made] == [
        b"event: message_start", b"event: message_delta", b"event: message_stop",
    ]  # fmt: skip
    assert b'"stop_reason":"stop_sequence"' in made[1]
    whole = MessagesVoice(asked, estimate, number="1").whole([], Ending("load"), "")
    assert b'"content":null,' in whole


# -- what the model read ---------------------------------------------------------------------------------


@pytest.mark.engine
def test_the_tokens_are_the_recorded_ones(farm: Any) -> None:
    entry = RECORDED["generate_nonstream"]
    answer = json.loads(ask(farm.back, request_of("generate_nonstream")).body)
    recorded = json.loads(entry["response"]["body"])
    assert (
        answer["context"][: answer["prompt_eval_count"]]
        == recorded["context"][: recorded["prompt_eval_count"]]
    )
