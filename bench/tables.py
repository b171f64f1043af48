"""What was measured, as Markdown for people and JSON for programs.

Pure; called by `relay_vs_sdk`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import sub, truediv
from typing import Any

from bench.cases import DIRECT, RIVALS, SDK, Case, Way
from bench.measured import Figures, Spread, Value, paired, spread

Rounds = dict[Way, list[Figures]]
"""The rounds of one case, by way."""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run.

    Attributes:
        machine: fact → what it is.
        cases: each with its rounds.
    """

    machine: dict[str, str]
    cases: list[tuple[Case, Rounds]]

    def json(self) -> dict[str, Any]:
        """Everything, round by round."""
        return {
            "machine": self.machine,
            "cases": cases_json(self.cases),
        }

    def markdown(self) -> str:
        """The tables of what was measured."""
        parts = ["; ".join(f"{name} {fact}" for name, fact in self.machine.items())]
        for kind, title, head, rows in _TABLES:
            body = [row for case, rounds in self.cases if case.table == kind for row in rows(case, rounds)]
            if body:
                parts.append(f"**{title}**\n\n{table(head, body)}")
        return "\n\n".join(parts) + "\n"


Rows = Iterator[Sequence[str]]


def _ping(_case: Case, rounds: Rounds) -> Rows:
    for way, each in rounds.items():
        middle, high = spread(each, _late), spread(each, lambda one: one.late_p95_ms)
        yield way.name, _show(middle, 2), _show(high, 2), _ratio(way, rounds, _late)


def _delay(case: Case, rounds: Rounds) -> Rows:
    base = rounds.get(DIRECT, [])
    for way, each in rounds.items():
        more = ["–"] * 3 if way is DIRECT else [
            _show(paired(each, base, value, sub), digits)
            for value, digits in ((_first, 1), (_late, 2), (lambda one: one.late_p95_ms, 1))
        ]  # fmt: skip
        yield (
            f"{case.load.rate}", way.name, _show(spread(each, _first), 1), more[0],
            _show(spread(each, _late), 2), *more[1:], _added_ratio(way, rounds),
        )  # fmt: skip


def _load(case: Case, rounds: Rounds) -> Rows:
    for way, each in rounds.items():
        yield (
            f"{case.load.streams} × {case.load.rate}", way.name, _show(spread(each, _cpu), 3),
            _ratio(way, rounds, _cpu), *_beside(each), _show(spread(each, _first), 0),
            _show(spread(each, _late), 1), _show(spread(each, _core), 0),
        )  # fmt: skip


def _flat(_case: Case, rounds: Rounds) -> Rows:
    for way, each in rounds.items():
        yield (
            way.name, _show(spread(each, lambda one: one.rate), 0), _ratio(way, rounds, lambda one: one.rate),
            _show(spread(each, _cpu), 3), _ratio(way, rounds, _cpu), *_beside(each),
        )  # fmt: skip


def _beside(each: list[Figures]) -> Iterator[str]:
    """What every table of loads tells beside its own figures."""
    yield _show(spread(each, lambda one: one.frames), 0)
    yield f"{sum(one.whole for one in each)}/{sum(one.streams for one in each)}"
    yield _show(spread(each, lambda one: one.rss_mib), 0)
    yield _show(spread(each, lambda one: one.peer_cpu), 2)
    yield _show(spread(each, lambda one: one.node_cpu), 2)


def _first(one: Figures) -> float:
    return one.first_ms


def _late(one: Figures) -> float:
    return one.late_ms


def _cpu(one: Figures) -> float | None:
    return one.relay_cpu


def _core(one: Figures) -> float | None:
    """Of one core, percent."""
    return None if one.relay_cpu is None else one.relay_cpu * one.rate / 10


def _ratio(way: Way, rounds: Rounds, value: Value) -> str:
    """Ours over the plain relay's, where both were measured."""
    rival = RIVALS.get(way, way)
    if rival is way or rival not in rounds:
        return "–"
    found = paired(rounds[way], rounds[rival], value, truediv)
    return f"{found.middle:.2f}" if found else "–"


def _added_ratio(way: Way, rounds: Rounds) -> str:
    """Of the delays added to direct HTTP; the plain relay's windows do not depend on acknowledgements."""
    base, other = rounds.get(DIRECT, []), rounds.get(SDK, [])
    if way.relay != "ours" or not base or not other:
        return "–"
    pairs = [
        (paired(rounds[way], base, value, sub), paired(other, base, value, sub)) for value in (_first, _late)
    ]
    return " / ".join(f"{ours.middle / plain.middle:.2f}" for ours, plain in pairs if ours and plain)


def _show(found: Spread | None, digits: int) -> str:
    if found is None:
        return "–"
    middle, low, high = (f"{value:.{digits}f}" for value in (found.middle, found.low, found.high))
    return middle if low == high else f"{middle} ({low}–{high})"


def cases_json(cases: Sequence[tuple[Any, Mapping[Any, Sequence[Any]]]]) -> list[dict[str, Any]]:
    """Cases with their rounds, for programs: of each the load, and by its ways the figures."""
    return [
        {
            "case": case.key,
            "load": asdict(case.load),
            "ways": {way.name: [asdict(figures) for figures in each] for way, each in rounds.items()},
        }
        for case, rounds in cases
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_BESIDE = ("frames per 1,000 lines", "whole", "RSS MiB", "peer CPU s", "node CPU s")
_TABLES = (
    ("ping", "Ping, ms", ("way", "p50", "p95", "ours / SDK"), _ping),
    (
        "delay", "One stream: what is added to direct HTTP, ms",
        ("lines/s", "way", "first line", "added", "line late p50", "added", "added p95",
         "ours / SDK, first / line"),
        _delay,
    ),
    (
        "load", "Relay CPU s per 1,000 lines",
        ("streams × lines/s", "way", "relay CPU s", "ours / SDK", *_BESIDE, "first line p50 ms",
         "line late p50 ms", "relay % of a core"),
        _load,
    ),
    (
        "flat", "Eight streams without pause",
        ("way", "lines/s", "ours / SDK, speed", "relay CPU s per 1,000", "ours / SDK, CPU", *_BESIDE), _flat,
    ),
)  # fmt: skip
"""Kind of case, title, head of the table, and its rows."""
