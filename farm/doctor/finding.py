"""What the doctor says of one point. Pure; made by every judging module, written down by `paper`."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from farm.doctor import limits
from wire import redact


class Level(enum.Enum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing fails for it
    TROUBLE = "trouble"  # the farm cannot start, serves badly, or serves strangers


@dataclass(frozen=True, slots=True)
class Finding:
    """One line, and one for the remedy.

    Attributes:
        check: stable name of the point that was looked at.
        level: how bad it is.
        text: what was found.
        remedy: what to do; may be empty.
    """

    check: str
    level: Level
    text: str
    remedy: str = ""


def ok(check: str, text: str, remedy: str = "") -> Finding:
    """Nothing is wrong."""
    return Finding(check, Level.OK, text, remedy)


def note(check: str, text: str, remedy: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, Level.NOTE, text, remedy)


def trouble(check: str, text: str, remedy: str = "") -> Finding:
    """To be put right."""
    return Finding(check, Level.TROUBLE, text, remedy)


def as_needed(check: str, text: str, remedy: str, *, needed: bool) -> Finding:
    """Trouble when this machine has no other way, else a note."""
    return Finding(check, Level.TROUBLE if needed else Level.NOTE, text, remedy)


def foreign(text: object) -> str:
    """Words that come from elsewhere, safe to show: one line, bounded, nothing that moves a cursor."""
    return redact.printable(str(text).strip(), limits.WORDS_MAX)


def listed(names: Iterable[str]) -> str:
    """Names in a row, not too many."""
    every = [foreign(name) for name in names]
    more = len(every) - limits.LISTED_MAX
    return ", ".join(every[: limits.LISTED_MAX]) + (f" and {more} more" if more > 0 else "")


def size(count: float) -> str:
    """Bytes for people."""
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
