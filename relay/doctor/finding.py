"""What the doctor says of one point. Pure; made by every judging module, written down by `paper`."""

from __future__ import annotations

import enum
import urllib.parse

from wire.finding import Finding, foreign


class Level(enum.Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # the relay works all the same
    FAIL = "fail"  # it does not start, cannot be reached, or has nothing to serve


def ok(check: str, text: str, remedy: str = "") -> Finding:
    """Nothing is wrong."""
    return Finding(check, Level.OK, text, remedy)


def warn(check: str, text: str, remedy: str) -> Finding:
    """Worth a look."""
    return Finding(check, Level.WARN, text, remedy)


def fail(check: str, text: str, remedy: str) -> Finding:
    """To be put right."""
    return Finding(check, Level.FAIL, text, remedy)


def place(url: str) -> str:
    """A URL without its query, which may hold a key."""
    parts = urllib.parse.urlsplit(url)
    return foreign(f"{parts.scheme}://{parts.netloc}{parts.path}")
