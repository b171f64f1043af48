"""When the requests of an open load arrive: a Poisson process, as independent users make it.

Pure; chance comes in as a function. Called by `load`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from farm.bench.plan import Bounds


def arrivals(rate: float, bounds: Bounds, uniform: Callable[[], float]) -> Iterator[float]:
    """Seconds from the step's begin, ascending, until the bounds are reached.

    Args:
        rate: arrivals per second in the mean.
        bounds: so many arrivals, or those within so many seconds.
        uniform: gives numbers from 0 up to but not including 1.
    """
    at = 0.0
    count = 0
    while bounds.requests is None or count < bounds.requests:
        at -= math.log(1.0 - uniform()) / rate
        if bounds.duration_s is not None and at >= bounds.duration_s:
            return
        yield at
        count += 1
