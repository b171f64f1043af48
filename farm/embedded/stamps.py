"""Times as Go prints them (RFC 3339, as many digits as needed).

Pure: the time is an argument.
"""

from __future__ import annotations

import datetime as dt

_NS = 1_000_000_000
FAR_NS = 2**63 - 1
"""Go's longest duration, some 292 years: what "for ever" is counted as."""


def utc(at_ns: int) -> str:
    """Unix nanoseconds as `2026-11-21T07:22:19.451239086Z`."""
    return stamp(at_ns, dt.UTC)


def stamp(at_ns: int, zone: dt.tzinfo | None = None) -> str:
    """Unix nanoseconds in a time zone; None for that of this machine."""
    seconds, rest = divmod(at_ns, _NS)
    moment = dt.datetime.fromtimestamp(seconds, zone or dt.UTC)
    moment = moment if zone else moment.astimezone()
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    offset = moment.isoformat()[19:]
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{'Z' if offset == '+00:00' else offset}"
