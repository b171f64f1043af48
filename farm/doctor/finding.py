"""What the doctor says of one point. Pure; made by every judging module, written down by `paper`."""

from __future__ import annotations

import enum

from wire.finding import Finding


class Level(enum.Enum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing fails for it
    TROUBLE = "trouble"  # the farm cannot start, serves badly, or serves strangers


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


def size(count: float) -> str:
    """Bytes for people."""
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"
