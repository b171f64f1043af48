"""Figures of runs: one run's, and what several rounds of the same say together.

Pure; made by `relay_vs_sdk`, read by `tables`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.streams import Stream


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds of a run by process; None where it is not ours to see."""

    relay_s: float | None
    peer_s: float
    node_s: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """One run.

    Attributes:
        first_ms: request to first line, median over its streams.
        late_ms, late_p95_ms: a line's write to its arrival.
        lines: that came.
        whole, streams: streams that ended well, and all.
        rate: lines a second, from the first request to the last line.
        relay_cpu, peer_cpu, node_cpu: CPU seconds per 1,000 lines.
        frames: messages of the relay per 1,000 lines, every copy counted.
        rss_mib: the relay's memory afterwards.
    """

    first_ms: float
    late_ms: float
    late_p95_ms: float
    lines: int
    whole: int
    streams: int
    rate: float
    relay_cpu: float | None
    peer_cpu: float
    node_cpu: float | None
    frames: float | None
    rss_mib: float | None


def of_streams(
    streams: list[Stream], costs: Costs, *, copies: int | None = None, rss_mib: float | None = None
) -> Figures:
    """The figures of one run; ValueError if no line came at all."""
    heard = [stream for stream in streams if stream.came]
    lines = sum(len(stream.came) for stream in heard)
    if not lines:
        raise ValueError("not one line came")
    late = [each for stream in heard for each in stream.late_ms()]
    last = max(stream.came[-1][0] for stream in heard)

    def per_1000(amount: float | None) -> float | None:
        return None if amount is None else amount / lines * 1000

    return Figures(
        first_ms=statistics.median(stream.first_ms for stream in heard),
        late_ms=quantile(late, 0.5),
        late_p95_ms=quantile(late, 0.95),
        lines=lines,
        whole=sum(stream.whole for stream in streams),
        streams=len(streams),
        rate=lines / (last - min(stream.asked for stream in streams)),
        relay_cpu=per_1000(costs.relay_s),
        peer_cpu=costs.peer_s / lines * 1000,
        node_cpu=per_1000(costs.node_s),
        frames=per_1000(copies),
        rss_mib=rss_mib,
    )


def of_pings(round_trips_ms: list[float], rss_mib: float) -> Figures:
    """A round of pings: `late` is the round trip."""
    middle, high = quantile(round_trips_ms, 0.5), quantile(round_trips_ms, 0.95)
    count = len(round_trips_ms)
    return Figures(middle, middle, high, count, count, count, 1000 / middle, None, 0.0, None, None, rss_mib)


Value = Callable[[Figures], "float | None"]
"""Which figure."""


def quantile(values: list[float], share: float) -> float:
    """The value below which that share of them lies; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several rounds, and their extremes."""

    middle: float
    low: float
    high: float


def spread(rounds: list[Figures], value: Value) -> Spread | None:
    """Of one figure over the rounds; None if it was never measured."""
    return _over([each for each in map(value, rounds) if each is not None])


def paired(
    rounds: list[Figures], others: list[Figures], value: Value, join: Callable[[float, float], float]
) -> Spread | None:
    """One figure of two ways, joined round by round: what lies near in time was disturbed alike."""
    pairs = [(value(one), value(other)) for one, other in zip(rounds, others, strict=False)]
    return _over([join(one, other) for one, other in pairs if one is not None and other is not None])


def _over(found: list[float]) -> Spread | None:
    return Spread(statistics.median(found), min(found), max(found)) if found else None
