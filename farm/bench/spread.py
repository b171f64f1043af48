"""Many measured values as few: mean, percentiles, extremes.

Pure; called by `figures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """How measured values are spread.

    Attributes:
        n: how many there are.
        mean: their mean.
        p50, p95, p99: percentiles, see `percentile`.
        min, max: the extremes.
    """

    n: int
    mean: float
    p50: float
    p95: float
    p99: float
    min: float
    max: float


def percentile(ordered: Sequence[float], percent: float) -> float:
    """A percentile of values in ascending order, linear between the two nearest.

    The smallest value is the 0th, the largest the 100th (NumPy's default; `method="inclusive"` of the
    standard library).
    """
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread(values: Iterable[float]) -> Spread | None:
    """The spread of values in any order, None if there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Spread(
        n=len(ordered),
        mean=math.fsum(ordered) / len(ordered),
        p50=percentile(ordered, 50),
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        min=ordered[0],
        max=ordered[-1],
    )
