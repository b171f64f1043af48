"""Go's durations and Ollama's `keep_alive`.

Pure. Called by `ask` and by the settings.
"""

from __future__ import annotations

import math
import re
from typing import Any

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([a-zµμ]*)")

FOREVER = math.inf
"""What a negative `keep_alive` means."""
LONGEST_S = (2**63 - 1) / 1e9
"""Go's longest duration, some 292 years."""


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as "1h30m", "-5m" or "0".

    Raises:
        ValueError: in Go's words.
    """
    rest = text
    sign = 1.0
    if rest[:1] in {"+", "-"}:
        sign = -1.0 if rest[0] == "-" else 1.0
        rest = rest[1:]
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    seconds = 0.0
    while rest:
        found = _PART.match(rest)
        if found is None:
            raise ValueError(f'time: invalid duration "{text}"')
        number, unit = found.groups()
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        seconds += float(number) * _UNITS[unit]
        rest = rest[found.end() :]
    if seconds > LONGEST_S:
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * seconds


def parse_keep_alive(value: Any) -> float:
    """Seconds a model stays loaded after a request; `FOREVER` for negative values.

    Args:
        value: a number of seconds or a Go duration, as it stood in the JSON; not None.

    Raises:
        ValueError: in Ollama's words.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        kind = {bool: "bool", list: "[]interface {}"}.get(type(value), "map[string]interface {}")
        raise ValueError(f"Unsupported type: '{kind}'")  # noqa: TRY004 - one kind of error for the caller
    seconds = parse_duration(value) if isinstance(value, str) else float(value)
    return FOREVER if seconds < 0 or seconds > LONGEST_S else seconds
