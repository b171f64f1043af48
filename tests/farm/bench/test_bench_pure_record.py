"""A result as a file and back, held against another, and as tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from farm.bench import comparison, figures, record, tables
from farm.bench.figures import Figures
from farm.bench.plan import Api, Bounds, Endpoint, Kind, Plan, Step, Target
from farm.bench.record import Asked, Result, Settings
from farm.bench.spread import Spread

PLAN = Plan(
    target=Target("http://a", Api.NATIVE, Endpoint.CHAT, "m"),
    steps=(Step(Kind.CLOSED, 1),),
    bounds=Bounds(16, None),
    prompts=("one", "two"),
    max_tokens=8,
    seed=1,
    warmup=1,
    timeout_s=60.0,
    json_out=None,
    plot_out=None,
)


def spread_of(value: float) -> Spread:
    return Spread(2, value, value, 2 * value, 3 * value, value, 3 * value)


def step(level: float = 1, kind: Kind = Kind.CLOSED, scale: float = 1.0, **changes: Any) -> Figures:
    whole = Figures(
        kind=kind,
        level=level,
        complete=True,
        wall_s=10.0,
        cpu_s=0.5,
        requests=20,
        ok=20,
        errors={},
        examples={},
        requests_per_s=2.0 * scale,
        latency_s=spread_of(0.5 / scale),
        first_byte_s=spread_of(0.01),
        ttft_s=spread_of(0.0123456 / scale),
        icl_s=spread_of(0.02),
        tokens=100,
        tokens_from=figures.SERVER,
        tokens_per_s=10.0 * scale,
        stream_tokens_per_s=spread_of(30.0),
        queue_s=spread_of(0.001),
        outside_s=None,
        late_s=spread_of(0.0),
    )
    return dataclasses.replace(whole, **changes)


def result(*steps: Figures, **changes: Any) -> Result:
    whole = Result(
        schema=record.SCHEMA,
        started_at="2026-01-01T00:00:00+00:00",
        interrupted=False,
        client={"python": "3.11"},
        target=Asked("http://a", Api.NATIVE, Endpoint.CHAT, "0.24.0", "m"),
        settings=record.settings(PLAN),
        steps=steps or (step(), step(4, errors={"http_503": 2}, examples={"http_503": "busy"}, ok=18)),
    )
    return dataclasses.replace(whole, **changes)


def test_a_file_is_read_as_it_was_written() -> None:
    for written in (result(), result(step(latency_s=None, complete=False), interrupted=True)):
        text = record.to_json(written)
        assert record.from_json(text) == record.from_json(text.encode()) == written
        assert text.endswith("}\n")


def test_settings_are_recorded_without_the_prompts() -> None:
    first = record.settings(PLAN)
    assert first == Settings(16, None, 8, 1, 1, 60.0, 2, first.prompts_sha256)
    others = [
        dataclasses.replace(PLAN, prompts=prompts) for prompts in (("onetwo",), ("two", "one"), ("\ud800",))
    ]
    assert len({first.prompts_sha256, *(record.settings(plan).prompts_sha256 for plan in others)}) == 4


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all members of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*path, name)
        yield from places(inner, (*path, name))


DOCUMENT = json.loads(record.to_json(result(step(errors={"http_503": 2}, examples={"http_503": "busy"}))))
FREE = {("client", "python"), ("steps", 0, "errors", "http_503"), ("steps", 0, "examples", "http_503")}
"""Members of dictionaries: they need not be there."""
NAMED = [path for path in places(DOCUMENT) if isinstance(path[-1], str) and path != ("schema",)]


def changed(path: tuple[Any, ...], how: Any) -> str:
    document = json.loads(json.dumps(DOCUMENT))
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    how(inner, path[-1])
    return json.dumps(document)


def test_a_file_that_lacks_something_is_refused() -> None:
    needed = [path for path in NAMED if path not in FREE]
    assert len(needed) > 60
    for path in needed:
        text = changed(path, lambda inner, name: inner.pop(name))
        with pytest.raises(ValueError, match=f"lacks '{path[-1]}'"):
            record.from_json(text)


def test_a_file_with_something_else_is_refused() -> None:
    for path in NAMED:
        # A pair of null: no value, no list and no object of this format.
        text = changed(path, lambda inner, name: inner.update({name: [None, None]}))
        with pytest.raises(ValueError, match=r"the file\.\w+"):
            record.from_json(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("[]", "is no result of"),
        ("{}", "is no result of"),
        ('{"schema": "farm-bench/2"}', "has schema 'farm-bench/2'; this program reads 'farm-bench/1'"),
        ('{"schema": NaN}', "NaN"),
    ],
)
def test_a_file_that_is_no_result(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        record.from_json(text)


def test_ratios() -> None:
    first = result(step(1), step(4), step(2.0, Kind.OPEN))
    second = result(step(1, scale=2.0), step(4, ttft_s=None, ok=15), step(8))
    found = comparison.compare(first, second)
    assert [row.step for row in found.rows] == [Step(Kind.CLOSED, 1), Step(Kind.CLOSED, 4)]
    assert (found.only_first, found.only_second) == ((Step(Kind.OPEN, 2.0),), (Step(Kind.CLOSED, 8),))
    assert found.differences == ()
    ratios = found.rows[0].ratios
    assert set(ratios) == set(comparison.MEASURES)
    doubled = {"requests/s", "tok/s"}
    halved = {"latency mean", "latency p50", "latency p95", "TTFT p50", "TTFT p95"}
    for name, ratio in ratios.items():
        assert ratio == pytest.approx(2.0 if name in doubled else 0.5 if name in halved else 1.0), name
    assert found.rows[1].ratios["TTFT p50"] is None
    assert found.rows[1].ratios["TTFT p95"] is None
    assert found.rows[1].failed == (0, 5)


def test_a_ratio_to_nothing_is_none() -> None:
    nothing = step(requests_per_s=0.0, latency_s=None)
    rows = comparison.compare(result(nothing), result(step())).rows
    assert (rows[0].ratios["requests/s"], rows[0].ratios["latency mean"]) == (None, None)
    back = comparison.compare(result(step()), result(nothing)).rows
    assert (back[0].ratios["requests/s"], back[0].ratios["latency mean"]) == (0.0, None)


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        ({"model": "n"}, {}, ("model: m → n",)),
        ({"api": Api.OPENAI, "version": None}, {}, ("api: native → openai", "version: 0.24.0 → –")),
        ({"endpoint": Endpoint.GENERATE}, {}, ("endpoint: chat → generate",)),
        ({"url": "http://b"}, {}, ()),
        ({}, {"max_tokens": 9}, ("max_tokens: 8 → 9",)),
        ({}, {"requests": None, "duration_s": 5.0}, ("requests: 16 → –", "duration_s: – → 5.0")),
        ({}, {"prompts_sha256": "0"}, ("the prompts differ",)),
    ],
)
def test_what_differs_is_told(
    target: dict[str, Any], settings: dict[str, Any], words: tuple[str, ...]
) -> None:
    first = result()
    second = dataclasses.replace(
        first,
        target=dataclasses.replace(first.target, **target),
        settings=dataclasses.replace(first.settings, **settings),
    )
    assert comparison.compare(first, second).differences == words


def test_an_interrupted_run_is_told() -> None:
    found = comparison.compare(result(interrupted=True), result(interrupted=True))
    assert found.differences == ("the first was interrupted", "the second was interrupted")


def rows_of(text: str) -> list[list[str]]:
    """The cells of all table rows, without the rules."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if set("".join(row)) - set("-:")]


def test_the_tables_of_a_run() -> None:
    text = tables.result(result(step(1), step(2.0, Kind.OPEN, ok=0, latency_s=None, ttft_s=None)))
    assert text.startswith("http://a (native 0.24.0, chat), model m\n\n| load ")
    rows = rows_of(text)
    assert rows[0][:4] == ["load", "ok", "failed", "requests/s"]
    assert rows[1] == [
        "1 client",
        "20",
        "0",
        "2.00",
        "0.500",
        "0.500",
        "1.00",
        "1.50",
        "12.3",
        "24.7",
        "37.0",
    ]
    assert rows[2] == ["2/s", "0", "20", "2.00", "–", "–", "–", "–", "–", "–", "–"]
    assert rows[4] == ["1 client", "10.0", "20.0", "40.0", "60.0", "10.0", "30.0", "1.00", "2.00", "–"]
    assert len({len(line) for line in text.splitlines() if line.startswith("| load")}) == 2
    assert text.endswith("|\n")


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        (
            {"errors": {"http_503": 2}, "examples": {"http_503": "busy"}},
            "failed at 1 client: 2 × http_503: busy",
        ),
        (
            {"tokens_from": figures.CHUNKS},
            "tokens at 1 client are counted as chunks: the server tells no count",
        ),
        (
            {"tokens_from": figures.MIXED},
            "tokens at 1 client: some answers tell their count, of the others chunks are counted",
        ),
        ({"cpu_s": 9.0}, "the bench itself used 90 % of a core at 1 client: it may be what is slow"),
        (
            {"late_s": spread_of(0.02)},
            "requests at 1 client left up to 60.0 ms late (p99): the bench was held up",
        ),
        ({"late_s": None, "complete": False}, "1 client was interrupted: what was in flight is not counted"),
    ],
)
def test_what_one_must_know_is_said(changes: dict[str, Any], remark: str) -> None:
    assert remark not in tables.result(result(step()))
    assert tables.result(result(step(**changes))).splitlines()[-1] == remark


def test_a_run_without_answers_says_nothing_of_tokens() -> None:
    assert "tokens at" not in tables.result(result(step(ok=0, tokens_from=figures.CHUNKS, wall_s=0.0)))


def test_a_run_without_steps() -> None:
    text = tables.result(dataclasses.replace(result(), steps=(), target=Asked("u", *_OPENAI)))
    assert text == "u (openai, chat), model m\n"


_OPENAI = (Api.OPENAI, Endpoint.CHAT, None, "m")


def test_the_table_of_a_comparison() -> None:
    first, second = result(step(1), step(4)), result(step(1, scale=2.0, ok=15, queue_s=None), step(8))
    text = tables.compared(("a.json", "b.json"), comparison.compare(first, second))
    assert text.startswith("b.json ÷ a.json. ")
    rows = rows_of(text)
    assert rows[0] == ["load", *comparison.MEASURES, "failed"]
    assert rows[1][:3] == ["1 client", "2.00", "2.00"]
    assert rows[1][-1] == "0 → 5"
    assert text.splitlines()[-3:] == [
        "model and settings are the same",
        "only in a.json: 4 clients",
        "only in b.json: 8 clients",
    ]


def test_a_comparison_of_what_has_nothing_in_common() -> None:
    first, second = result(step(1)), result(step(2, ttft_s=None), settings=record.settings(_other_plan()))
    text = tables.compared(("a", "b"), comparison.compare(first, second))
    assert "no step is in both" in text
    assert "other things differ too, and are in the ratios: max_tokens: 8 → 9; seed: 1 → 2" in text
    assert "are the same" not in text


def _other_plan() -> Plan:
    return dataclasses.replace(PLAN, max_tokens=9, seed=2)


def test_a_missing_ratio_is_a_dash() -> None:
    text = tables.compared(("a", "b"), comparison.compare(result(step()), result(step(ttft_s=None))))
    assert rows_of(text)[1].count("–") == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.01234, "0.012"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12346"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert tables.number(value) == text
