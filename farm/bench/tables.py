"""Figures as Markdown tables that also read well in a terminal.

Pure; called by `cli`. Units stand in the heads; a dash means that nothing was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from farm.bench import comparison, limits
from farm.bench.comparison import Comparison
from farm.bench.figures import CHUNKS, MIXED, Figures
from farm.bench.record import Result
from farm.bench.spread import Spread

_NONE = "–"
_SOURCES = {
    CHUNKS: "tokens at {step} are counted as chunks: the server tells no count",
    MIXED: "tokens at {step}: some answers tell their count, of the others chunks are counted",
}


def result(found: Result) -> str:
    """A run: what was asked, the requests, the streams, and what one must know to read them."""
    target = found.target
    version = f" {target.version}" if target.version else ""
    parts = [
        f"{target.url} ({target.api}{version}, {target.endpoint}), model {target.model}",
        _table(_REQUESTS, [_requests(step) for step in found.steps]),
        _table(_STREAMS, [_streams(step) for step in found.steps]),
        "\n".join(_remarks(found)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def compared(names: tuple[str, str], found: Comparison) -> str:
    """A comparison; `names` are those of the two files."""
    head = ["load", *comparison.MEASURES, "failed"]
    rows = [
        [str(row.step), *map(_ratio, row.ratios.values()), f"{row.failed[0]} → {row.failed[1]}"]
        for row in found.rows
    ]
    same = "model and settings are the same"
    other = f"other things differ too, and are in the ratios: {'; '.join(found.differences)}"
    told = [other if found.differences else same]
    for name, steps in zip(names, (found.only_first, found.only_second), strict=True):
        told += [f"only in {name}: {', '.join(map(str, steps))}"] if steps else []
    title = f"{names[1]} ÷ {names[0]}. Of rates (…/s) more than 1 is better, of times less."
    table = _table(head, rows) if rows else "no step is in both"
    return "\n\n".join(filter(None, [title, table, "\n".join(told)])) + "\n"


_REQUESTS = (
    "load", "ok", "failed", "requests/s", "latency s mean", "p50", "p95", "p99", "TTFT ms p50", "p95", "p99",
)  # fmt: skip
_STREAMS = (
    "load", "first byte ms p50", "ICL ms p50", "p95", "p99", "tok/s", "per stream p50", "queue ms p50", "p95",
    "outside ms p50",
)  # fmt: skip


def _requests(step: Figures) -> list[str]:
    latency, ttft = step.latency_s, step.ttft_s
    return [
        str(step.step),
        str(step.ok),
        str(step.requests - step.ok),
        number(step.requests_per_s),
        number(latency.mean) if latency else _NONE,
        *_percentiles(latency, 1),
        *_percentiles(ttft, 1000),
    ]


def _streams(step: Figures) -> list[str]:
    rate, queue = step.stream_tokens_per_s, step.queue_s
    return [
        str(step.step),
        _percentiles(step.first_byte_s, 1000)[0],
        *_percentiles(step.icl_s, 1000),
        number(step.tokens_per_s),
        _percentiles(rate, 1)[0],
        *_percentiles(queue, 1000)[:2],
        _percentiles(step.outside_s, 1000)[0],
    ]


def _percentiles(found: Spread | None, unit: float) -> list[str]:
    if found is None:
        return [_NONE] * 3
    return [number(value * unit) for value in (found.p50, found.p95, found.p99)]


def _remarks(found: Result) -> Iterable[str]:
    for step in found.steps:
        for kind, count in step.errors.items():
            yield f"failed at {step.step}: {count} × {kind}: {step.examples[kind]}"
        if step.tokens_from in _SOURCES and step.ok:
            yield _SOURCES[step.tokens_from].format(step=step.step)
        if step.wall_s >= limits.BUSY_S and step.cpu_s / step.wall_s >= limits.BUSY:
            share = 100 * step.cpu_s / step.wall_s
            yield f"the bench itself used {share:.0f} % of a core at {step.step}: it may be what is slow"
        if step.late_s and step.late_s.p99 >= limits.LATE_S:
            late = number(step.late_s.p99 * 1000)
            yield f"requests at {step.step} left up to {late} ms late (p99): the bench was held up"
        if not step.complete:
            yield f"{step.step} was interrupted: what was in flight is not counted"


def number(value: float) -> str:
    """Three significant digits without an exponent."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def _ratio(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded; the first column to the left, numbers to the right."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = [f"{'-' * (width - 1)}{':' if index else '-'}" for index, width in enumerate(widths)]
    return "\n".join(_line(cells, widths) for cells in (head, rule, *rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if index else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *rest])} |"
