"""Requests out, lines in: each language as it is on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.bench import said
from farm.bench.asking import Asking
from farm.bench.limits import SEED_MAX
from farm.bench.plan import Api, Endpoint, Kind, Step
from farm.bench.said import Said, Spent

NATIVE, OPENAI = Api.NATIVE, Api.OPENAI
GENERATE, CHAT = Endpoint.GENERATE, Endpoint.CHAT
HELLO = [{"role": "user", "content": "hello"}]
USAGE = {"stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("api", "endpoint", "max_tokens", "path", "body"),
    [
        (NATIVE, GENERATE, 9, "/api/generate", {"prompt": "hello", "options": {"seed": 3, "num_predict": 9}}),
        (NATIVE, GENERATE, 0, "/api/generate", {"prompt": "hello", "options": {"seed": 3}}),
        (NATIVE, CHAT, 9, "/api/chat", {"messages": HELLO, "options": {"seed": 3, "num_predict": 9}}),
        (OPENAI, GENERATE, 9, "/v1/completions", {"prompt": "hello", "seed": 3, "max_tokens": 9, **USAGE}),
        (OPENAI, CHAT, 9, "/v1/chat/completions", {"messages": HELLO, "seed": 3, "max_tokens": 9, **USAGE}),
        (OPENAI, CHAT, 0, "/v1/chat/completions", {"messages": HELLO, "seed": 3, **USAGE}),
    ],
)
def test_a_request(api: Api, endpoint: Endpoint, max_tokens: int, path: str, body: dict[str, Any]) -> None:
    asking = Asking(api, endpoint, "m", max_tokens)
    assert asking.path == path
    assert json.loads(asking.body("hello", 3)) == {"model": "m", "stream": True, **body}


def test_a_seed_wraps_around() -> None:
    body = json.loads(Asking(NATIVE, GENERATE, "m", 0).body("x", SEED_MAX + 3))
    assert body["options"]["seed"] == 2


LAST = {
    "done": True,
    "eval_count": 7,
    "total_duration": 9_000_000_000,
    "load_duration": 1_000_000_000,
    "prompt_eval_duration": 2_000_000_000,
    "eval_duration": 3_000_000_000,
}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"response": "a", "done": False}, Said(text=True)),
        ({"response": "", "done": False}, Said()),
        ({"response": "", "thinking": "a", "done": False}, Said(text=True)),
        ({"message": {"role": "assistant", "content": "a"}, "done": False}, Said(text=True)),
        ({"message": {"role": "assistant", "content": ""}, "done": False}, Said()),
        ({"message": {"content": "", "thinking": "a"}, "done": False}, Said(text=True)),
        ({"message": {"content": "", "tool_calls": [{}]}, "done": False}, Said(text=True)),
        ({"response": "", **LAST}, Said(end=True, tokens=7, spent=Spent(9.0, 3.0))),
        ({"response": "", "done": True}, Said(end=True)),
        # What is zero is left out; more parts than the whole is no negative wait.
        ({"done": True, "total_duration": 2_000_000_000}, Said(end=True, spent=Spent(2.0, 2.0))),
        (
            {"done": True, "total_duration": 10**9, "eval_duration": 2 * 10**9},
            Said(end=True, spent=Spent(1, 0)),
        ),
        ({"done": "true", "response": "a"}, Said(text=True)),
        ({"done": True, "eval_count": True}, Said(end=True)),
        ({"error": "it broke"}, Said(error="it broke")),
        ({"error": "it broke", "done": True}, Said(error="it broke")),
    ],
)
def test_a_native_line(line: dict[str, Any], told: Said) -> None:
    assert said.native(json.dumps(line).encode()) == told


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, Said()),
        ({"choices": [{"delta": {"content": "a"}}]}, Said(text=True)),
        ({"choices": [{"delta": {"reasoning": "a"}}]}, Said(text=True)),
        ({"choices": [{"delta": {"reasoning_content": "a"}}]}, Said(text=True)),
        ({"choices": [{"delta": {"tool_calls": [{}]}}]}, Said(text=True)),
        ({"choices": [{"delta": {}, "finish_reason": "stop"}]}, Said()),
        ({"choices": [{"text": "a"}]}, Said(text=True)),
        ({"choices": ["a"]}, Said()),
        ({"choices": None}, Said()),
        ({"choices": [], "usage": {"completion_tokens": 7}}, Said(tokens=7)),
        ({"choices": [{"text": "a"}], "usage": {"completion_tokens": 0}}, Said(text=True)),
        ({"choices": [], "usage": None, "error": None}, Said()),
        ({"error": {"message": "it broke", "type": "api_error"}}, Said(error="it broke")),
        ({"error": {"code": 5}}, Said(error="{'code': 5}")),
        ({"error": "it broke"}, Said(error="it broke")),
    ],
)
def test_an_openai_event(event: dict[str, Any], told: Said) -> None:
    assert said.openai(json.dumps(event).encode()) == told


def test_the_end_of_openai() -> None:
    assert said.openai(b"[DONE]") == said.openai(b" [DONE] ") == Said(end=True)


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b"null", b'"done"', b"\xff", b'{"a": NaN}'])
@pytest.mark.parametrize("say", [said.native, said.openai])
def test_what_is_no_line(say: Any, line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        say(line)


@pytest.mark.parametrize(
    ("value", "words"), [({"detail": "x"}, "{'detail': 'x'}"), (None, "None"), ([1], "[1]")]
)
def test_words_of_an_error_without_form(value: Any, words: str) -> None:
    assert said.error_words(value) == words


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (Step(Kind.CLOSED, 1), "1 client"),
        (Step(Kind.CLOSED, 4.0), "4 clients"),
        (Step(Kind.OPEN, 0.5), "0.5/s"),
        (Step(Kind.OPEN, 2.0), "2/s"),
    ],
)
def test_a_step_has_a_name(step: Step, name: str) -> None:
    assert str(step) == name
