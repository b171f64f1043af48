"""What a prompt asks of the stand-in, in words `key=value`; all that is not such a word is just text.

Pure. A test steers one request by its prompt, so that the steering goes through whatever lies between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

_WORD = re.compile(r"\b([a-z_]+)=([\w.-]+)")
REPEATS_MAX = 30
"""More equal tokens in a row than this (after the first) end an answer without its last line."""


@dataclass(frozen=True, slots=True)
class Wish:
    """`tokens` (-1: as many as num_predict, or three), `gap` seconds between two, `prefill` seconds before
    the first, `bytes` of text in each, `repeat` equal tokens after them; `think` tokens of thought before
    them, `call` the name of a tool to call. After so many tokens the runner dies (`crash_at`), stops
    (`hang_at`), or the connection is cut (`cut_at`), as by something that lies between."""

    tokens: int = -1
    gap: float = 0.0
    prefill: float = 0.0
    bytes: int = 0
    repeat: int = 0
    think: int = 0
    call: str = ""
    crash_at: int = -1
    hang_at: int = -1
    cut_at: int = -1

    def texts(self, limit: int) -> tuple[list[str], str]:
        """The tokens' texts and why they end; `limit` is num_predict, below one for none."""
        tokens = self.tokens if self.tokens >= 0 else limit if limit > 0 else 3
        texts = [self._text(at) for at in range(tokens)] + ["3"] * self.repeat
        if 0 < limit < len(texts) or (self.tokens < 0 and limit > 0):
            return texts[:limit], "length"
        return texts, "stop"

    def _text(self, at: int) -> str:
        text = f" t{at}" if at else "t0"
        return text + "x" * (self.bytes - len(text))


_TYPES = {field.name: {"int": int, "float": float, "str": str}[str(field.type)] for field in fields(Wish)}


def wish_of(prompt: str) -> Wish:
    """The last word of a kind counts."""
    return Wish(**{key: _TYPES[key](value) for key, value in _WORD.findall(prompt) if key in _TYPES})


def size_of(prompt: str, *, raw: bool = False) -> int:
    """How many tokens a prompt has, template included unless raw."""
    return (0 if raw else 9) + max(len(prompt.split()), len(prompt) // 5)
