"""Bytes as they arrive, read: what is a chunk, what is the end, what is none."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.bench import answer, limits, reading
from farm.bench.answer import Failure
from farm.bench.plan import Api
from farm.bench.reading import Reading
from farm.bench.said import Spent

NATIVE, OPENAI = Api.NATIVE, Api.OPENAI


def line(**values: Any) -> bytes:
    return json.dumps(values).encode() + b"\n"


def event(**values: Any) -> bytes:
    return b"data: " + json.dumps(values).encode() + b"\n\n"


def word(api: Api) -> bytes:
    if api is NATIVE:
        return line(response="a", done=False)
    return event(choices=[{"delta": {"content": "a"}}])


END = {
    NATIVE: line(response="", done=True, eval_count=9, total_duration=10**9),
    OPENAI: event(choices=[], usage={"completion_tokens": 9}) + b"data: [DONE]\n\n",
}


@pytest.mark.parametrize("api", [NATIVE, OPENAI])
def test_an_answer(api: Api) -> None:
    found = Reading(api)
    for now in (1.0, 1.5, 2.5):
        found.feed(word(api), now)
        assert not found.over
    found.feed(END[api], 3.0)
    assert (found.first, found.last, found.ended, found.gaps) == (1.0, 2.5, 3.0, [0.5, 1.0])
    assert (found.chunks, found.tokens, found.failure, found.over) == (3, 9, None, True)
    assert found.spent == (Spent(1.0, 1.0) if api is NATIVE else None)


@pytest.mark.parametrize("api", [NATIVE, OPENAI])
def test_what_comes_at_once_is_one_chunk(api: Api) -> None:
    found = Reading(api)
    found.feed(word(api) * 3, 1.0)
    found.feed(word(api) + word(api)[:9], 2.0)
    found.feed(word(api)[9:], 4.0)
    assert (found.first, found.last, found.gaps, found.chunks) == (1.0, 4.0, [1.0, 2.0], 5)


@pytest.mark.parametrize("api", [NATIVE, OPENAI])
def test_text_without_a_token_is_no_first_token(api: Api) -> None:
    empty = line(response="", done=False) if api is NATIVE else event(choices=[{"delta": {"content": ""}}])
    found = Reading(api)
    found.feed(empty, 1.0)
    assert found.first is None
    found.feed(word(api), 2.0)
    assert (found.first, found.chunks) == (2.0, 1)


@pytest.mark.parametrize("api", [NATIVE, OPENAI])
def test_what_follows_the_end_mark_does_not_count(api: Api) -> None:
    found = Reading(api)
    found.feed(word(api) + END[api] + word(api) + b"data: nonsense\n\n", 1.0)
    found.feed(word(api), 2.0)
    found.finish(3.0)
    assert (found.chunks, found.ended, found.failure) == (1, 1.0, None)


@pytest.mark.parametrize("api", [NATIVE, OPENAI])
def test_a_clean_end_without_the_mark_is_a_failure(api: Api) -> None:
    found = Reading(api)
    found.feed(word(api), 1.0)
    found.finish(2.0)
    assert found.ended is None
    assert found.failure == Failure(answer.NO_END_MARK, "the stream ended without its end mark")


@pytest.mark.parametrize(
    ("api", "data"),
    [
        (NATIVE, line(error="it broke")),
        (OPENAI, event(error={"message": "it broke"})),
        (OPENAI, line(error="it broke")),
    ],
)
def test_an_error_in_the_stream_is_a_failure(api: Api, data: bytes) -> None:
    found = Reading(api)
    found.feed(word(api) + data + END[api], 1.0)
    assert found.failure == Failure(answer.STREAM_ERROR, "it broke")
    assert found.ended is None
    assert found.over


@pytest.mark.parametrize(
    ("api", "data"), [(NATIVE, b"<html>\n"), (NATIVE, b"[]\n"), (OPENAI, b"data: <html>\n\n")]
)
def test_a_line_of_another_language_is_a_failure(api: Api, data: bytes) -> None:
    found = Reading(api)
    found.feed(data, 1.0)
    assert found.failure is not None
    assert found.failure.kind == answer.MALFORMED


def test_a_line_without_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINE_MAX_B", 10)
    found = reading.Reading(NATIVE)
    found.feed(b"x" * 11, 1.0)
    assert found.failure is not None
    assert found.failure.kind == answer.MALFORMED
    assert "11 bytes" in found.failure.words


@pytest.mark.parametrize(
    "stream",
    [
        b": a comment\n\nevent: message\ndata:[DONE]\n\n",
        b"id: 1\r\ndata: [DONE]\r\n\r\n",
        b"data: [DONE]",
        b"data: [DONE]\n",
        b'data: {"choices":\ndata: []}\n\ndata: [DONE]\n\n',
    ],
)
def test_forms_of_server_sent_events(stream: bytes) -> None:
    found = Reading(OPENAI)
    found.feed(stream, 1.0)
    found.finish(2.0)
    assert (found.failure, found.ended is not None) == (None, True)


def test_the_last_line_may_lack_its_line_feed() -> None:
    found = Reading(NATIVE)
    found.feed(b"\r\n" + line(response="a", done=True).rstrip(), 1.0)
    assert found.first is None
    found.finish(2.0)
    assert (found.first, found.ended, found.failure) == (2.0, 2.0, None)


@given(api=st.sampled_from([NATIVE, OPENAI]), words=st.integers(0, 5), cuts=st.lists(st.integers(0, 400)))
def test_cuts_change_nothing_but_the_gaps(api: Api, words: int, cuts: list[int]) -> None:
    stream = word(api) * words + END[api]
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    found = Reading(api)
    for now, (begin, end) in enumerate(itertools.pairwise(edges)):
        found.feed(stream[begin:end], float(now))
    assert (found.chunks, found.tokens, found.failure, found.over) == (words, 9, None, True)
    assert len(found.gaps) <= max(0, words - 1)
    assert sum(found.gaps) == (found.last or 0) - (found.first or 0)
