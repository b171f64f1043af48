"""What the doctor says of one point. Pure; made by every judging module, written down by `paper`."""

from __future__ import annotations

import enum
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass

from relay.doctor import limits
from wire import redact


class Level(enum.Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # the relay works all the same
    FAIL = "fail"  # it does not start, cannot be reached, or has nothing to serve


@dataclass(frozen=True, slots=True)
class Finding:
    """One line, and one for the remedy.

    Attributes:
        check: stable name of the point that was looked at.
        level: how bad it is.
        text: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    check: str
    level: Level
    text: str
    remedy: str = ""


def ok(check: str, text: str, remedy: str = "") -> Finding:
    """Nothing is wrong."""
    return Finding(check, Level.OK, text, remedy)


def warn(check: str, text: str, remedy: str) -> Finding:
    """Worth a look."""
    return Finding(check, Level.WARN, text, remedy)


def fail(check: str, text: str, remedy: str) -> Finding:
    """To be put right."""
    return Finding(check, Level.FAIL, text, remedy)


def foreign(text: object) -> str:
    """Words that come from elsewhere, safe to show: one line, bounded, nothing that moves a cursor."""
    return redact.printable(str(text).strip(), limits.WORDS_MAX)


def listed(names: Iterable[str]) -> str:
    """Names in a row, not too many."""
    every = [foreign(name) for name in names]
    more = len(every) - limits.LISTED_MAX
    return ", ".join(every[: limits.LISTED_MAX]) + (f" and {more} more" if more > 0 else "")


def place(url: str) -> str:
    """A URL without its query, which may hold a key."""
    parts = urllib.parse.urlsplit(url)
    return foreign(f"{parts.scheme}://{parts.netloc}{parts.path}")
