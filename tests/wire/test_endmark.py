"""Whether a stream said that it is complete."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.policy import INFERENCE
from wire.endmark import NEEDS_MARK, EndMark


def seen(*lines: bytes) -> tuple[bool, bool]:
    mark = EndMark()
    for line in lines:
        mark.feed(line)
    return mark.done, mark.eot


@pytest.mark.parametrize(
    "line",
    [
        b'{"done":true}',
        b'{"model":"m","response":"","done": true,"done_reason":"stop"}',
        b'{"message":{"content":""},"done":true}\r',
        b"data: [DONE]",
        b"data:[DONE]",
        b"data: [DONE]\r",
        b"[DONE]",
        b'data: {"type":"message_stop"}',
        b'data: {"type":"response.completed","response":{}}',
        b'data:{"done":true}',
    ],
)
def test_marks_of_a_complete_stream(line):
    assert seen(b"", line, b"") == (True, True)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"done":false}',
        b'{"done":"true"}',
        b'{"done":1,"x":"true"}',
        b'{"response":"\\"done\\":true"}',
        b'{"message":{"done":true}}',
        b'{"response":"[DONE]"}',
        b"event: message_stop",
        b"data: [DONE] and more",
        b'{"type":"message_start","x":"stop"}',
        b'{"type":["message_stop"]}',
        b'{"type":{"message_stop":1}}',
        b'{"type":null,"stop":1}',
        b'{"done":true',
        b'{"done":true} {}',
        b'{"done":true,"x":NaN}',
        b"true",
        b'["done", true]',
        b'"stop"',
        b'{"done":true,"x":"\xff"}',
        b"\xff\xfetrue",
        b"[" * 100_000 + b"true",
    ],
)
def test_what_only_looks_like_a_mark(line):
    assert seen(line) == (False, False)


@pytest.mark.parametrize(
    "value",
    [
        {"response": "a<|eot_id|>"},
        {"response": "</s>"},
        {"message": {"content": "x</s>y"}},
        {"choices": [{"text": "<|eot_id|>"}]},
        {"choices": [{"delta": {"content": "</s>"}}]},
        {"choices": [{"text": "</s>"}, {"text": "more"}]},
        {"choices": [None, {"delta": None}, {"delta": {"content": "</s>"}}]},
    ],
)
@pytest.mark.parametrize("escape", [False, True], ids=["plain", "as Go writes it"])
def test_end_of_text_tokens_are_seen_where_token_text_stands(value, escape):
    text = json.dumps(value)
    if escape:
        text = text.replace("<", "\\u003c").replace(">", "\\u003e")
    assert seen(text.encode()) == (False, True)
    assert seen(b"data: " + text.encode()) == (False, True)


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "</s>"},
        {"message": "</s>"},
        {"message": {"content": ["</s>"]}},
        {"message": {"role": "</s>"}},
        {"choices": "</s>"},
        {"choices": {"text": "</s>"}},
        {"choices": [{"delta": "</s>"}]},
        {"choices": ["</s>"]},
        {"response": "eot_id"},
        {"response": 5, "x": "</s>"},
    ],
)
def test_end_of_text_tokens_elsewhere_do_not_count(value):
    assert seen(json.dumps(value).encode()) == (False, False)


def test_what_was_seen_is_not_forgotten():
    ends, more = b'{"done":true}', b'{"done":false,"x":"true"}'
    assert seen(b'{"response":"</s>"}', more) == (False, True)
    assert seen(b'{"response":"</s>"}', more, ends, more) == (True, True)


def test_embeddings_and_show_need_no_mark():
    assert NEEDS_MARK < INFERENCE
    without = {"/api/show", "/api/embed", "/api/embeddings", "/v1/embeddings"}
    assert without == INFERENCE - NEEDS_MARK


HINTS = st.sampled_from(
    [b"true", b"stop", b"</s>", b'"done":', b'{"type":', b"[", b"]", b"{", b"}", b"data:"]
)


@given(st.lists(HINTS | st.binary(max_size=4), max_size=12))
def test_no_line_breaks_it(parts):
    mark = EndMark()
    mark.feed(b"".join(parts))
    assert mark.eot >= mark.done


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ({"done": True, "prompt_eval_count": 7, "eval_count": 1}, 8),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, 7),
        ({"type": "message_delta", "usage": {"input_tokens": 20, "output_tokens": 5}}, 25),
        ({"type": "response.completed", "response": {"usage": {"input_tokens": 2, "output_tokens": 9}}}, 11),
        ({"done": True, "eval_count": 1, "usage": {"completion_tokens": 1}}, 2),
        ({"usage": {"prompt_tokens": 2**53 - 1, "completion_tokens": 2**53}}, 2**53 - 1),
        ({"usage": {"prompt_tokens": -5, "completion_tokens": "9", "input_tokens": 1.5}}, 0),
        ({"usage": [5], "done": True}, 0),
        ({"response": "usage", "done": True}, 0),
    ],
)
def test_what_a_stream_says_it_took_is_counted(value, tokens):
    mark = EndMark()
    mark.feed(json.dumps(value).encode())
    assert mark.tokens == tokens
    mark.feed(b'{"done":true,"eval_count":1}')
    assert mark.tokens == max(tokens, 1)
