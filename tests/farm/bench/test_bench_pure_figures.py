"""Percentiles, arrivals, prompts, and a step's figures out of its answers."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.bench import answer, figures, prompts
from farm.bench.answer import Answer, Failure
from farm.bench.arrivals import arrivals
from farm.bench.plan import Bounds, Kind, Step
from farm.bench.said import Spent
from farm.bench.spread import percentile, spread

VALUES = st.lists(st.floats(0, 1e6), min_size=2, max_size=40)


@given(values=VALUES, percent=st.integers(1, 99))
def test_percentiles_are_those_of_the_standard_library(values: list[float], percent: int) -> None:
    expected = statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
    assert percentile(sorted(values), percent) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([5.0], 99, 5.0),
        ([1.0, 2.0], 50, 1.5),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([0.0, 10.0], 95, 9.5),
        ([1.0, 2.0, 3.0], 0, 1.0),
        ([1.0, 2.0, 3.0], 100, 3.0),
    ],
)
def test_percentiles(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == pytest.approx(expected)


@given(values=st.lists(st.floats(0, 1e6), min_size=1))
def test_a_spread_is_in_order(values: list[float]) -> None:
    found = spread(values)
    assert found is not None
    assert found.n == len(values)
    assert found.mean == pytest.approx(statistics.fmean(values))
    ordered = [found.min, found.p50, found.p95, found.p99, found.max]
    assert ordered == pytest.approx(sorted(ordered))
    assert (found.min, found.max) == (min(values), max(values))


def test_nothing_has_no_spread() -> None:
    assert spread([]) is None


def test_arrivals_are_a_poisson_process() -> None:
    at = list(arrivals(50.0, Bounds(20_000, None), random.Random(1).random))
    gaps = [second - first for first, second in zip([0.0, *at], at, strict=False)]
    assert len(at) == 20_000
    assert at == sorted(at)
    # An exponential gap has the same mean and deviation; 20,000 of them are within 3 %.
    assert statistics.fmean(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert statistics.pstdev(gaps) == pytest.approx(1 / 50, rel=0.03)


@given(seed=st.integers(0, 2**31), rate=st.floats(0.1, 1000))
def test_arrivals_repeat_with_their_seed(seed: int, rate: float) -> None:
    first = list(arrivals(rate, Bounds(20, None), random.Random(seed).random))
    assert first == list(arrivals(rate, Bounds(20, None), random.Random(seed).random))
    assert first == sorted(first)
    until = first[10]
    assert list(arrivals(rate, Bounds(None, until), random.Random(seed).random)) == first[:10]


def test_no_chance_is_no_division_by_zero() -> None:
    assert list(arrivals(2.0, Bounds(2, None), lambda: 0.0)) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n", ("one", "two")),
        ("\n  one  \r\n\n", ("one",)),
        ('{"prompt": "one"}\n\n{"prompt": " two ", "more": 1}', ("one", " two ")),
        ("say\n{braces}", ("say", "{braces}")),
        ('{"prompt": "a\u2028b"}', ("a\u2028b",)),
    ],
)
def test_a_file_of_prompts(text: str, expected: tuple[str, ...]) -> None:
    assert prompts.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no prompt"),
        (" \n\t\n", "holds no prompt"),
        ('{"prompt": "one"}\nplain', "line 2 is not JSON"),
        ('{"prompt": "one"}\n[1]', 'line 2 has no text in "prompt"'),
        ('\n{"text": "one"}', 'line 2 has no text in "prompt"'),
        ('{"prompt": " "}', 'line 1 has no text in "prompt"'),
        ("{braces}", "line 1 is not JSON"),
    ],
)
def test_a_file_that_holds_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        prompts.parse(text)


CLOSED = Step(Kind.CLOSED, 2)
GOOD = Answer(
    due=10.0,
    sent=10.5,
    head=11.0,
    first=12.0,
    last=14.0,
    end=15.0,
    gaps=(0.5, 1.5),
    chunks=3,
    tokens=5,
    spent=Spent(total_s=4.0, queue_s=0.5),
)
BUSY = Answer(due=10.0, sent=10.0, end=10.1, failure=Failure(answer.status(503), "first"))


def test_figures_of_a_step() -> None:
    found = figures.figures(CLOSED, [GOOD, replace(GOOD, due=11.0, tokens=7)], 10.0, 0.5)
    assert (found.step, found.complete, found.wall_s, found.cpu_s) == (CLOSED, True, 10.0, 0.5)
    assert (found.requests, found.ok, found.errors, found.examples) == (2, 2, {}, {})
    assert (found.requests_per_s, found.tokens, found.tokens_per_s) == (0.2, 12, 1.2)
    assert found.tokens_from == figures.SERVER
    means = {
        "latency_s": 4.5,
        "first_byte_s": 0.5,
        "ttft_s": 1.5,
        "icl_s": 1.0,
        "stream_tokens_per_s": 2.5,
        "queue_s": 0.5,
        "outside_s": 0.5,
        "late_s": 0.0,
    }
    for name, mean in means.items():
        assert getattr(found, name).mean == pytest.approx(mean), name
    assert found.icl_s is not None
    assert found.icl_s.n == 4


def test_failures_are_counted_and_nothing_else() -> None:
    late = Failure(answer.OVERFLOW, "512 requests were in flight")
    answers = [
        replace(GOOD, failure=Failure(answer.BROKEN, "cut")),
        BUSY,
        replace(BUSY, failure=Failure(answer.status(503), "second")),
        replace(BUSY, failure=late),
    ]
    found = figures.figures(Step(Kind.OPEN, 2.0), answers, 4.0, 0.0, complete=False)
    assert (found.requests, found.ok, found.complete) == (4, 0, False)
    assert found.errors == {"broken": 1, "http_503": 2, "overflow": 1}
    assert found.examples == {"broken": "cut", "http_503": "first", "overflow": late.words}
    assert (found.requests_per_s, found.tokens, found.tokens_per_s) == (0.0, 0, 0.0)
    assert (found.latency_s, found.ttft_s, found.icl_s, found.queue_s) == (None, None, None, None)
    assert found.late_s is not None
    assert found.late_s.n == 3  # what was never sent was not late


@pytest.mark.parametrize(
    ("tokens", "source", "total"),
    [((5, 7), figures.SERVER, 12), ((None, 7), figures.MIXED, 10), ((None, None), figures.CHUNKS, 6)],
)
def test_where_tokens_are_from(tokens: tuple[int | None, ...], source: str, total: int) -> None:
    found = figures.figures(CLOSED, [replace(GOOD, tokens=count) for count in tokens], 1.0, 0.0)
    assert (found.tokens_from, found.tokens) == (source, total)


def test_an_answer_of_one_chunk_has_no_rate() -> None:
    found = figures.figures(CLOSED, [replace(GOOD, first=12.0, last=12.0, gaps=())], 1.0, 0.0)
    assert found.stream_tokens_per_s is None
    empty = replace(GOOD, first=None, last=None, head=None, chunks=0, spent=None)
    found = figures.figures(CLOSED, [empty], 1.0, 0.0)
    assert (found.ttft_s, found.first_byte_s, found.stream_tokens_per_s, found.outside_s) == (None,) * 4
    assert found.latency_s is not None


def test_a_server_clock_ahead_of_ours_is_no_negative_time() -> None:
    found = figures.figures(CLOSED, [replace(GOOD, spent=Spent(99.0, 0.0))], 1.0, 0.0)
    assert found.outside_s is not None
    assert found.outside_s.min == 0.0


def test_a_step_without_time_or_answers() -> None:
    found = figures.figures(CLOSED, [], 0.0, 0.0, complete=False)
    assert (found.requests, found.requests_per_s, found.tokens_from) == (0, 0.0, figures.CHUNKS)
