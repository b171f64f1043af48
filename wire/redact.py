"""What may appear in a log line, a message to a person or a repr: never a secret, never a prompt.

Pure; used wherever text leaves the program for a terminal or a file.
"""

from __future__ import annotations

import unicodedata

_SHOWN = 8


def key(text: str) -> str:
    """A public key or address, short enough to read: `relay.8a88e3dd…`."""
    name, dot, pubkey = text.rpartition(".")
    short = f"{pubkey[:_SHOWN]}…" if len(pubkey) > _SHOWN else pubkey
    return f"{printable(name)}{dot}{printable(short)}"


def printable(text: str, limit: int = 120) -> str:
    """One line without control characters, cut at `limit`: a peer's text cannot draw on a terminal."""
    clean = "".join(char if char.isprintable() else "�" for char in text[: limit + 1])
    return clean if len(clean) <= limit else f"{clean[:limit]}…"


def path(text: str) -> str:
    """A request path without its query, which may hold anything."""
    return printable(text.partition("?")[0])


def words(text: str) -> str:
    """A model's words for a terminal: without what would move its cursor or cannot be encoded."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"})
