"""Two results held against each other: ratios step by step, and what else differed between them.

Pure; called by `cli`, drawn by `tables`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from farm.bench.figures import Figures
from farm.bench.plan import Step
from farm.bench.record import Result
from farm.bench.spread import Spread


def _mean(found: Spread | None) -> float | None:
    return None if found is None else found.mean


def _p50(found: Spread | None) -> float | None:
    return None if found is None else found.p50


def _p95(found: Spread | None) -> float | None:
    return None if found is None else found.p95


MEASURES: dict[str, Callable[[Figures], float | None]] = {
    "requests/s": lambda step: step.requests_per_s,
    "tok/s": lambda step: step.tokens_per_s,
    "tok/s stream": lambda step: _p50(step.stream_tokens_per_s),
    "latency mean": lambda step: _mean(step.latency_s),
    "latency p50": lambda step: _p50(step.latency_s),
    "latency p95": lambda step: _p95(step.latency_s),
    "TTFT p50": lambda step: _p50(step.ttft_s),
    "TTFT p95": lambda step: _p95(step.ttft_s),
    "ICL p50": lambda step: _p50(step.icl_s),
    "ICL p95": lambda step: _p95(step.icl_s),
}
"""What is compared; of the first three more is better, of the others less."""


@dataclass(frozen=True, slots=True)
class Row:
    """One step that both have.

    Attributes:
        step: its load.
        ratios: second by first for each of MEASURES, None where either is missing or the first is zero.
        failed: failed requests of the first and of the second.
    """

    step: Step
    ratios: dict[str, float | None]
    failed: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results side by side.

    Attributes:
        rows: the steps that both have.
        differences: sentences on model and settings that differ: then a ratio has more than one cause.
        only_first, only_second: steps that the other lacks.
    """

    rows: tuple[Row, ...]
    differences: tuple[str, ...]
    only_first: tuple[Step, ...]
    only_second: tuple[Step, ...]


def compare(first: Result, second: Result) -> Comparison:
    """Hold the second result against the first."""
    ours = {figures.step: figures for figures in first.steps}
    theirs = {figures.step: figures for figures in second.steps}
    return Comparison(
        rows=tuple(_row(step, ours[step], theirs[step]) for step in ours if step in theirs),
        differences=(*_differences(first, second), *_unfinished(first, second)),
        only_first=tuple(step for step in ours if step not in theirs),
        only_second=tuple(step for step in theirs if step not in ours),
    )


def _row(step: Step, first: Figures, second: Figures) -> Row:
    ratios = {name: _ratio(measure(first), measure(second)) for name, measure in MEASURES.items()}
    return Row(step, ratios, (first.requests - first.ok, second.requests - second.ok))


def _ratio(first: float | None, second: float | None) -> float | None:
    return second / first if first and second is not None else None


def _differences(first: Result, second: Result) -> list[str]:
    """Everything but the URL, which is what one usually compares, and the client's versions."""
    pairs = [
        (name, getattr(one, name), getattr(other, name))
        for one, other in ((first.target, second.target), (first.settings, second.settings))
        for name in (field.name for field in dataclasses.fields(one))
        if name != "url"
    ]
    return [
        "the prompts differ" if name == "prompts_sha256" else f"{name}: {_shown(one)} → {_shown(other)}"
        for name, one, other in pairs
        if one != other
    ]


def _shown(value: object) -> str:
    return "–" if value is None else str(value)


def _unfinished(first: Result, second: Result) -> list[str]:
    named = (("first", first), ("second", second))
    return [f"the {name} was interrupted" for name, result in named if result.interrupted]
