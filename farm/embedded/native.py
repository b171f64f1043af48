"""Answers of /api/generate and /api/chat: their lines and bodies.

Pure: what was generated and the time of day in, bytes out. Called by `talk` through the port `Voice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from farm.embedded import gojson, words
from farm.embedded.ask import Ask
from farm.embedded.pieces import Counts, Piece


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of an answer.

    Attributes:
        reason: "stop", "length", "load" or "unload".
        counts: None when nothing was generated.
        context: all tokens of the conversation so far, for `generate`; else None.
        total_ns: time since the request arrived.
        load_ns: time until the model was ready.
    """

    reason: str
    counts: Counts | None = None
    context: Sequence[int] | None = None
    total_ns: int = 0
    load_ns: int = 0


class Voice(Protocol):
    """How one route tells an answer. `at` is the time of day as `created_at` has it."""

    openai: bool
    stream_type: str
    whole_type: str

    def line(self, piece: Piece, at: str, /) -> bytes:
        """One chunk of a stream."""

    def last(self, ending: Ending, at: str, /) -> bytes:
        """The last chunk of a stream."""

    def whole(self, pieces: Sequence[Piece], ending: Ending, at: str, /) -> bytes:
        """The whole answer in one body."""

    def broken(self, at: str, /) -> bytes:
        """What a stream says when the engine broke off in the middle."""


class NativeVoice:
    """Ollama's own form."""

    openai = False
    stream_type = "application/x-ndjson"
    whole_type = words.JSON_UTF8

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def line(self, piece: Piece, at: str) -> bytes:
        """One NDJSON line."""
        logprobs = {"logprobs": list(piece.logprobs)} if piece.logprobs else {}
        return gojson.encode(self._object(piece.text, at) | {"done": False} | logprobs) + b"\n"

    def last(self, ending: Ending, at: str) -> bytes:
        """The NDJSON line with the counts."""
        return gojson.encode(self._object("", at) | _end(ending)) + b"\n"

    def whole(self, pieces: Sequence[Piece], ending: Ending, at: str) -> bytes:
        """One JSON object."""
        logprobs = [entry for piece in pieces for entry in piece.logprobs]
        text = "".join(piece.text for piece in pieces)
        extra = {"logprobs": logprobs} if logprobs else {}
        return gojson.encode(self._object(text, at) | _end(ending) | extra)

    def broken(self, _at: str) -> bytes:
        """An error line; a clean end follows, as Ollama does it."""
        return words.native_error(words.BROKEN) + b"\n"

    def rendered(self, prompt: str, at: str) -> bytes:
        """The answer to `_debug_render_only`."""
        told = self._object("", at, role="") | {"done": False}
        return gojson.encode(told | {"_debug_info": {"rendered_template": prompt}})

    def _object(self, text: str, at: str, role: str = "assistant") -> dict[str, Any]:
        head: dict[str, Any] = {"model": self._ask.model, "created_at": at}
        if self._ask.route == "chat":
            return head | {"message": {"role": role, "content": text}}
        return head | {"response": text}


def _end(ending: Ending) -> dict[str, Any]:
    told: dict[str, Any] = {"done": True, "done_reason": ending.reason}
    counts = ending.counts
    if counts is None:
        return told
    if ending.context:
        told["context"] = list(ending.context)
    numbers = {
        "total_duration": ending.total_ns,
        "load_duration": ending.load_ns,
        "prompt_eval_count": counts.prompt_tokens,
        "prompt_eval_duration": counts.prompt_ns,
        "eval_count": counts.tokens,
        "eval_duration": counts.eval_ns,
    }
    return told | {name: number for name, number in numbers.items() if number}  # Go's omitempty
