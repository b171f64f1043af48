"""farm.witness: whether an answer said that it is complete, however it was cut on its way."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import ENTRIES

from farm import limits
from farm.api.words import Shape
from farm.witness import BROKEN, Counts, Witness

NDJSON, EVENTS, JSON = b"application/x-ndjson", b"text/event-stream", b"application/json; charset=utf-8"


def witness(path: str = "/api/generate", kind: bytes = NDJSON, status: int = 200) -> Witness:
    shape = Shape.NATIVE if path.startswith("/api/") else Shape.OPENAI
    return Witness(path, Shape.ANTHROPIC if path == "/v1/messages" else shape, status, kind)


def seen(
    body: bytes, path: str = "/api/generate", kind: bytes = NDJSON, cuts: list[int] | None = None
) -> Witness:
    """It saw `body`, cut at those places."""
    made = witness(path, kind)
    for start, end in pairwise(sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts or [])})):
        made.see(body[start:end])
    return made


def line(**fields: object) -> bytes:
    """One line, in the order in which the fields are given."""
    return json.dumps({"model": "m", **fields}, separators=(",", ":")).encode() + b"\n"


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


TOKEN = line(response=" word", done=False)
DONE = line(response="", done=True, done_reason="stop", prompt_eval_count=31, eval_count=7)

# -- what counts as an end ------------------------------------------------------------------

WHOLE = [
    ("/api/generate", NDJSON, TOKEN + DONE),
    ("/api/chat", NDJSON, line(message={"role": "assistant", "content": ""}, done=True)),
    ("/api/chat", b"application/x-ndjson; charset=utf-8", DONE),
    ("/v1/chat/completions", EVENTS, event({"choices": []}) + b"data: [DONE]\n\n"),
    ("/v1/chat/completions", EVENTS, b"data: [DONE]\r\n\r\n"),
    ("/v1/completions", EVENTS, b"data: [DONE]\n\n"),
    ("/v1/messages", EVENTS, b"event: message_stop\n" + event({"type": "message_stop"})),
    (
        "/v1/responses",
        EVENTS,
        b"event: response.completed\n" + event({"response": {}, "type": "response.completed"}),
    ),
]
BROKEN_OFF = [
    ("/api/generate", NDJSON, TOKEN),
    ("/api/generate", NDJSON, b""),
    ("/api/generate", NDJSON, DONE[:-1]),
    ("/api/generate", NDJSON, TOKEN + DONE[:-20]),
    ("/api/generate", NDJSON, line(response='"done":true', done=False)),
    ("/api/generate", NDJSON, line(response='{"done":true}\n', done=False)),
    ("/api/generate", NDJSON, line(response="[DONE]", done=False)),
    ("/api/generate", NDJSON, line(response="x", done="true")),
    ("/api/generate", NDJSON, line(response="x", done=1)),
    ("/api/generate", NDJSON, b"[true]\nnull\ntrue\n{\n"),
    ("/api/chat", NDJSON, line(message={"tool_calls": [{"arguments": {"done": True}}]}, done=False)),
    ("/api/chat", NDJSON, line(message={"done": True, "type": "message_stop"}, done=False)),
    ("/v1/chat/completions", EVENTS, event({"choices": [{"delta": {"content": "data: [DONE]\n\n"}}]})),
    ("/v1/chat/completions", EVENTS, event({"choices": [{"finish_reason": "stop"}]})),
    ("/v1/messages", EVENTS, event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})),
    ("/v1/messages", EVENTS, event({"type": "content_block_delta", "delta": {"type": "message_stop"}})),
    ("/v1/messages", EVENTS, b"event: message_stop\n\n"),
    ("/v1/responses", EVENTS, event({"type": "response.output_text.delta", "delta": "response.completed"})),
]  # fmt: skip


@pytest.mark.parametrize(("path", "kind", "body"), WHOLE)
def test_a_stream_that_says_so_is_whole(path, kind, body):
    made = seen(body, path, kind)
    assert made.whole
    assert not made.silent_end


@pytest.mark.parametrize(("path", "kind", "body"), BROKEN_OFF)
def test_a_stream_that_only_seems_to_say_so_is_not(path, kind, body):
    made = seen(body, path, kind)
    assert not made.whole
    assert made.silent_end


@pytest.mark.parametrize(("path", "kind", "body"), [*WHOLE, *BROKEN_OFF])
@given(cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_cuts_do_not_change_the_verdict(path, kind, body, cuts):
    whole, cut = seen(body, path, kind), seen(body, path, kind, cuts)
    assert (cut.whole, cut.silent_end, cut.counts) == (whole.whole, whole.silent_end, whole.counts)
    assert cut.mend() == whole.mend()


def recorded(name: str) -> tuple[str, bytes, bytes]:
    """Path, content type and body of a recorded stream."""
    entry = ENTRIES[name]
    body = "".join(chunk["text"] for chunk in entry["response"]["chunks"])
    return (
        entry["request"]["path"],
        entry["response"]["headers"]["content-type"].encode(),
        re.sub(r"<\d+ of the same kind>", "", body).encode(),
    )


CUT_OFF = {
    "runner_killed_generate_stream": False,
    "runner_killed_chat_stream": False,
    "client_half_close_stream": False,
    "runner_killed_v1_chat_stream": True,
    "runner_killed_v1_responses_stream": True,
    "runner_killed_v1_messages_stream": True,
    "token_repeat_abort_stream": True,
    "token_repeat_abort_v1_stream": True,
    "serve_sigterm_stream": True,
}
"""Recorded streams that are not complete, and whether nothing in them says so."""
COMPLETE = [
    name
    for name, entry in ENTRIES.items()
    if entry["request"]["path"] in {path for path, _, _ in WHOLE}
    and "chunks" in entry.get("response", {})
    and entry["response"]["headers"].get("content-type") in {NDJSON.decode(), EVENTS.decode()}
    and name not in {*CUT_OFF, "generate_multibyte"}  # written down without its middle
]


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_recorded_stream_that_is_complete_is_whole(name, step):
    path, kind, body = recorded(name)
    made = seen(body, path, kind, list(range(0, len(body), step)))
    assert made.whole
    if b"eval_count" in body or b"usage" in body:
        assert made.counts.completion > 0


@pytest.mark.parametrize(("name", "silent"), CUT_OFF.items())
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_recorded_stream_that_broke_off_is_not(name, silent, step):
    path, kind, body = recorded(name)
    made = seen(body, path, kind, list(range(0, len(body), step)))
    assert (made.whole, made.silent_end) == (False, silent)


def test_enough_was_recorded():
    assert len(COMPLETE) > 15


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/api/generate", JSON, 200),
        ("/api/generate", NDJSON, 500),
        ("/v1/chat/completions", JSON, 200),
        ("/v1/chat/completions", EVENTS, 400),
        ("/api/embed", JSON, 200),
        ("/api/pull", NDJSON, 200),
        ("/v1/models", JSON, 200),
    ],
)
def test_other_answers_need_no_mark(path, kind, status):
    made = witness(path, kind, status)
    made.see(b'{"half')
    assert made.whole
    assert not made.silent_end


# -- failures that were told --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        ("/api/generate", NDJSON, b'{"error":"model runner has unexpectedly stopped"}\n'),
        ("/v1/chat/completions", EVENTS, event({"error": {"message": "x", "type": "api_error"}})),
        (
            "/v1/messages",
            EVENTS,
            b"event: error\n" + event({"type": "error", "error": {"type": "api_error"}}),
        ),
        ("/v1/responses", EVENTS, event({"type": "response.failed"})),
        ("/v1/responses", EVENTS, event({"type": "response.incomplete"})),
        ("/v1/responses", EVENTS, event({"type": "error", "code": "server_error"})),
    ],
)
def test_a_failure_that_was_told_is_no_silent_end(path, kind, told):
    made = seen(told, path, kind)
    assert not made.whole
    assert not made.silent_end


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        ("/api/generate", NDJSON, line(response='{"error":"x"}', done=False)),
        ("/api/chat", NDJSON, line(message={"tool_calls": [{"error": "x"}]}, done=False)),
        ("/api/chat", NDJSON, b'"error"\n["error"]\n"error":\n'),
        (
            "/v1/responses",
            EVENTS,
            event({"type": "response.created", "response": {"error": None}, "error": None}),
        ),
        ("/v1/responses", EVENTS, event({"type": "response.output_text.delta", "delta": "response.failed"})),
    ],
)
def test_words_about_failures_are_none(path, kind, told):
    assert seen(told, path, kind).silent_end


# -- lines too long to be kept ---------------------------------------------------------------------

LONG = limits.WITNESS_LINE_B + 10
TOKENS = b",".join([b"12345"] * (LONG // 6 + 1))
PICTURE = b"A" * LONG


@pytest.mark.parametrize(
    ("last", "whole"),
    [
        (b'{"model":"m","response":"","done":true,"context":[' + TOKENS + b'],"eval_count":3}\n', True),
        (b'{"model":"m","response":"\\"","done":true,"context":[' + TOKENS + b"]}\n", True),
        (b'{"model":"m","options":{"a":[1]},"done":true,"image":"' + PICTURE + b'"}\n', True),
        (b'{"model":"m","response":"","done":false,"context":[' + TOKENS + b"]}\n", False),
        (b'{"model":"m","message":{"tool_calls":[{"function":{"arguments":{"done":true,"file":"'
         + PICTURE + b'"}}}]},"done":false}\n', False),
        (b'{"model":"m","response":"\\"done\\":true' + PICTURE + b'","done":false}\n', False),
        (b'{"model":"m","done","x":true,"response":"' + PICTURE + b'"}\n', False),
        (b'[{"done":true},"' + PICTURE + b'"]\n', False),
        (PICTURE + b'{"done":true}\n', False),
    ],
    ids=range(9),
)  # fmt: skip
@pytest.mark.parametrize("step", [LONG * 3, 65_536, 7001, LONG - 5])
def test_a_giant_line_is_judged_by_its_front(last, whole, step):
    body = TOKEN + last
    made = seen(body, cuts=list(range(0, len(body), step)))
    assert made.whole is whole
    assert made.silent_end is not whole


def test_behind_a_giant_line_lines_are_read_again():
    body = line(response=PICTURE.decode(), done=False) + TOKEN + DONE
    for cuts in ([], list(range(0, len(body), 9000)), [len(body) - len(DONE)], [len(body) - len(DONE) - 1]):
        made = seen(body, cuts=cuts)
        assert made.whole
        assert made.counts == Counts(31, 7)


def test_little_is_kept_of_a_line_without_end():
    made = witness()
    made.see(b'{"response":"')
    for _ in range(40):
        made.see(b"x" * 65_536)
    held = len(made._line) + len(made._tail)
    assert held <= limits.WITNESS_LINE_B + 65_536 + limits.WITNESS_TAIL_B
    assert made.mend() is None


# -- counts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "body", "counts"),
    [
        ("/api/generate", NDJSON, DONE, (31, 7, 0)),
        ("/api/generate", JSON, line(prompt_eval_count=3, prompt_eval_duration=50, eval_count=4), (3, 4, 50)),
        ("/api/generate", JSON, line(response='"eval_count":99', eval_count=4), (0, 4, 0)),
        ("/api/embed", JSON, b'{"embeddings":[' + b"0.1," * 9000 + b'0],"prompt_eval_count":12}', (12, 0, 0)),
        ("/v1/chat/completions", JSON, b'{"usage":{"prompt_tokens":5,"completion_tokens":6}}', (5, 6, 0)),
        ("/v1/messages", EVENTS, event({"usage": {"input_tokens": 1, "output_tokens": 1}})
         + event({"usage": {"input_tokens": 11, "output_tokens": 2}}), (11, 2, 0)),
        ("/api/generate", NDJSON, TOKEN, (0, 0, 0)),
        ("/api/generate", NDJSON, b"", (0, 0, 0)),
    ],
)  # fmt: skip
def test_the_last_counts_are_the_answer_s(path, kind, body, counts):
    assert seen(body, path, kind).counts == Counts(*counts)
    assert seen(body, path, kind, list(range(len(body) % 100, len(body), 97))).counts == Counts(*counts)


# -- what is said when it is not complete ------------------------------------------------------------------


def test_a_native_stream_gets_a_line():
    assert json.loads(seen(TOKEN).mend() or b"") == {"error": BROKEN}


@pytest.mark.parametrize(
    ("path", "name", "where"),
    [
        ("/v1/chat/completions", None, ("error", "message")),
        ("/v1/completions", None, ("error", "message")),
        ("/v1/messages", "error", ("error", "message")),
        ("/v1/responses", "error", ("message",)),
    ],
)
def test_a_stream_of_events_gets_an_event(path, name, where):
    mend = seen(event({"a": 1}), path, EVENTS).mend()
    assert mend is not None
    lines = mend.decode().split("\n")
    assert lines[-2:] == ["", ""]
    assert lines[:-3] == ([] if name is None else [f"event: {name}"])
    value = json.loads(lines[-3].removeprefix("data: "))
    for key in where:
        value = value[key]
    assert value == BROKEN


def test_what_is_said_is_understood_as_a_failure():
    for path, kind in [("/api/chat", NDJSON), *((path, EVENTS) for path, kind, _ in WHOLE if kind is EVENTS)]:
        made = seen(b"", path, kind)
        made.see(made.mend() or b"")
        assert not made.silent_end, path


def test_nothing_can_be_said_in_the_middle_of_a_line():
    assert seen(TOKEN[:-1]).mend() is None
    assert seen(b"data: {", "/v1/messages", EVENTS).mend() is None


def test_an_event_that_was_not_closed_is_closed_first():
    half, closed = b'data: {"a":1}\n', b'data: {"a":1}\n\n'
    path = "/v1/chat/completions"
    assert seen(half, path, EVENTS).mend() == b"\n" + (seen(closed, path, EVENTS).mend() or b"")
    assert seen(b"", path, EVENTS).mend() == seen(closed, path, EVENTS).mend()


def test_what_comes_after_the_mark_is_not_looked_at():
    made = seen(DONE)
    made.see(b'{"error":"late"}\n')
    assert made.whole
