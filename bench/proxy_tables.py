"""What the proxies did, as Markdown for people and JSON for programs.

Pure; called by `proxies`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import sub, truediv
from typing import Any

from bench.measured import Spread, paired, quantile, spread
from bench.proxy_cases import BASES, Case, Way
from bench.tables import cases_json, table


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of one way.

    Attributes:
        ttft_ms, ttft_p95_ms: from a request to its first line; None if no stream began.
        late_ms, late_p95_ms: from the upstream's write of a line to its arrival.
        lines: that came in the time measured.
        rate: lines a second.
        whole: answers that came whole.
        failed: answers that were refused or broke off; `words`: the first of them.
        proxy_cpu: CPU seconds per 1,000 lines, None without a proxy.
        busy: name → share of one core that it used.
        rss_mib: the proxy's memory afterwards.
    """

    ttft_ms: float | None
    ttft_p95_ms: float | None
    late_ms: float
    late_p95_ms: float
    lines: int
    rate: float
    whole: int
    failed: int
    words: str
    proxy_cpu: float | None
    busy: dict[str, float]
    rss_mib: float | None


def of_load(told: dict[str, Any], rss_mib: float | None) -> Figures:
    """The figures of what `proxy_load` told.

    Raises:
        ValueError: not one line came; why.
    """
    if not told["lines"]:
        raise ValueError(f"not one line came: {told['words'] or 'silence'}")
    proxy, first = told["cpu"].get("proxy"), told["ttft_ms"]
    return Figures(
        ttft_ms=quantile(first, 0.5) if first else None,
        ttft_p95_ms=quantile(first, 0.95) if first else None,
        late_ms=told["late_ms"],
        late_p95_ms=told["late_p95_ms"],
        lines=told["lines"],
        rate=told["lines"] / told["seconds"],
        whole=told["whole"],
        failed=told["failed"],
        words=told["words"],
        proxy_cpu=None if proxy is None else proxy / told["lines"] * 1000,
        busy={name: spent / told["seconds"] for name, spent in told["cpu"].items()},
        rss_mib=rss_mib,
    )


Rounds = dict[Way, list[Figures]]
"""The rounds of one case, by way."""
Value = Callable[[Figures], "float | None"]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run.

    Attributes:
        machine: fact → what it is.
        missing: peer → why it did not take part.
        cases: each with its rounds.
    """

    machine: dict[str, str]
    missing: dict[str, str]
    cases: list[tuple[Case, Rounds]]

    def json(self) -> dict[str, Any]:
        """Everything, round by round."""
        return {
            "machine": self.machine,
            "missing": self.missing,
            "cases": cases_json(self.cases),
        }

    def markdown(self) -> str:
        """The tables of what was measured."""
        parts = ["; ".join(f"{name} {fact}" for name, fact in self.machine.items())]
        for kind, title, columns in _TABLES:
            body = [
                row
                for case, rounds in self.cases
                if case.table == kind
                for row in self._rows(columns, case, rounds)
            ]
            if body:
                head = ["streams", "way", *(name for name, _ in columns)]
                parts.append(f"**{title}**\n\n{table(head, body)}")
        return "\n\n".join(parts) + "\n"

    def _rows(self, columns: Columns, case: Case, rounds: Rounds) -> Iterator[list[str]]:
        for way in case.ways:
            told = [self.missing.get(way.peer, "not measured")] + ["–"] * (len(columns) - 1)
            if rounds.get(way):
                told = [show(way, rounds) for _, show in columns]
            yield [str(case.load.streams), way.name, *told]


Show = Callable[[Way, Rounds], str]
Columns = Sequence[tuple[str, Show]]


def _own(value: Value, digits: int) -> Show:
    return lambda way, rounds: _show(spread(rounds[way], value), digits)


def _held(value: Value, join: Callable[[float, float], float], digits: int) -> Show:
    """Against the same route without anybody between, round by round."""

    def show(way: Way, rounds: Rounds) -> str:
        base = BASES[way.path]
        return "–" if way == base else _show(paired(rounds[way], rounds.get(base, []), value, join), digits)

    return show


def _whole(way: Way, rounds: Rounds) -> str:
    whole, failed = sum(one.whole for one in rounds[way]), sum(one.failed for one in rounds[way])
    return f"{whole}" if not failed else f"{whole}, {failed} failed"


def _show(found: Spread | None, digits: int) -> str:
    if found is None:
        return "–"
    middle, low, high = (f"{value:.{digits}f}" for value in (found.middle, found.low, found.high))
    return middle if low == high else f"{middle} ({low}–{high})"


def _busy(way: Way, rounds: Rounds) -> str:
    """Shares of a core, in per cent: who is at 100 holds up the rest."""
    each = rounds[way]

    def share(name: str) -> str:
        found = spread(each, lambda one: one.busy.get(name))
        return "–" if found is None else f"{100 * found.middle:.0f}"

    return " / ".join(share(name) for name in ("proxy", "upstream", "client"))


_FIRST: Columns = (
    ("TTFT p50 ms", _own(lambda one: one.ttft_ms, 2)),
    ("added", _held(lambda one: one.ttft_ms, sub, 2)),
    ("added p95", _held(lambda one: one.ttft_p95_ms, sub, 1)),
)
_SPEED: Columns = (
    ("lines/s", _own(lambda one: one.rate, 0)),
    ("of direct", _held(lambda one: one.rate, truediv, 2)),
)
_COSTS: Columns = (
    ("CPU s per 1,000 lines", _own(lambda one: one.proxy_cpu, 3)),
    ("busy %: proxy / upstream / clients", _busy),
    ("RSS MiB", _own(lambda one: one.rss_mib, 0)),
)
_LATE: Columns = (
    ("line late p50 ms", _own(lambda one: one.late_ms, 2)),
    ("added late", _held(lambda one: one.late_ms, sub, 2)),
    ("added late p95", _held(lambda one: one.late_p95_ms, sub, 1)),
)
_ENDED: Columns = (("whole answers", _whole),)
_TABLES: tuple[tuple[str, str, Columns], ...] = (
    ("pace", "At a GPU's pace", (*_FIRST, *_LATE, *_SPEED, *_COSTS, *_ENDED)),
    ("together", "All at the same moment", (*_FIRST, *_LATE, *_SPEED, *_ENDED)),
    ("flat", "Without pause", (*_SPEED, *_COSTS)),
)
"""Kind of case, title, columns."""
