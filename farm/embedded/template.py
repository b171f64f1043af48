"""The model's chat template, and which messages stay when they do not all fit.

Pure. The prompt is written here and not by the engine, so that it is, token by token, Ollama's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: `role` and `content`; `images` counts pictures, which the model only reads as a mark."""

    role: str
    content: str
    images: int = 0


def render(turns: Sequence[Turn]) -> str:
    """The prompt text for these messages, up to where the assistant speaks."""
    parts: list[str] = []
    seen = 0
    for turn in turns:
        marks = "".join(f"[img-{number}]" for number in range(seen, seen + turn.images))
        seen += turn.images
        parts.append(f"<|im_start|>{turn.role}\n{marks}{turn.content}<|im_end|>\n")
    return "".join(parts) + "<|im_start|>assistant\n"


def shorter(turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    """The histories to try, longest first.

    The oldest messages go one by one; those of the system and the last one stay.
    """
    last = len(turns) - 1
    for first in range(len(turns)):
        yield [turn for at, turn in enumerate(turns) if at >= first or turn.role == "system" or at == last]


def cut(tokens: list[int], window: int, keep: int) -> list[int]:
    """A prompt of at most `window` tokens: its first `keep` and its last ones."""
    if len(tokens) <= window:
        return tokens
    keep = min(keep, window - 1)
    return tokens[:keep] + tokens[len(tokens) - (window - keep) :]
