"""Answers of /api/generate and /api/chat: their lines and bodies.

Pure: what was generated and the time of day in, bytes out. Called by `talk` through the port `Voice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from farm.api import gojson, words
from farm.api.words import Shape
from farm.embedded.ask import Ask
from farm.embedded.pieces import Counts, Piece

Headers = tuple[tuple[bytes, bytes], ...]


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

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens read and tokens generated."""
        return (self.counts.prompt_tokens, self.counts.tokens) if self.counts else (0, 0)


class Voice(Protocol):
    """How one route tells an answer. `at` is the time of day as `created_at` has it.

    Attributes:
        shape: of its errors.
        stream_type: content type of a stream.
        whole_type: content type of a whole answer.
        stream_headers: what the answer to a wish for a stream has besides, errors included.
    """

    shape: Shape
    stream_type: str
    whole_type: str
    stream_headers: Headers

    def line(self, piece: Piece, at: str, /) -> list[bytes]:
        """The chunks of a stream that tell one piece."""

    def last(self, ending: Ending, at: str, /) -> list[bytes]:
        """The last chunks of a stream."""

    def whole(self, pieces: Sequence[Piece], ending: Ending, at: str, /) -> bytes:
        """The whole answer in one body."""

    def broken(self, at: str, /) -> list[bytes]:
        """What a stream says when the engine broke off in the middle."""


class NativeVoice:
    """Ollama's own form."""

    shape = Shape.NATIVE
    stream_type = "application/x-ndjson"
    whole_type = words.JSON_UTF8
    stream_headers: Headers = ()

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def line(self, piece: Piece, at: str) -> list[bytes]:
        """One NDJSON line."""
        logprobs = {"logprobs": list(piece.logprobs)} if piece.logprobs else {}
        return [gojson.encode(self._object(piece.text, at) | {"done": False} | logprobs) + b"\n"]

    def last(self, ending: Ending, at: str) -> list[bytes]:
        """The NDJSON line with the counts."""
        return [gojson.encode(self._object("", at) | _end(ending)) + b"\n"]

    def whole(self, pieces: Sequence[Piece], ending: Ending, at: str) -> bytes:
        """One JSON object."""
        logprobs = [entry for piece in pieces for entry in piece.logprobs]
        extra = {"logprobs": logprobs} if logprobs else {}
        return gojson.encode(self._object(joined(pieces), at) | _end(ending) | extra)

    def broken(self, _at: str) -> list[bytes]:
        """An error line; a clean end follows, as Ollama does it."""
        return [words.native_error(words.BROKEN) + b"\n"]

    def rendered(self, prompt: str, at: str) -> bytes:
        """The answer to `_debug_render_only`."""
        told = self._object("", at, role="") | {"done": False}
        images = sum(turn.images for turn in self._ask.turns)
        info = {"rendered_template": prompt} | ({"image_count": images} if images else {})
        return gojson.encode(told | {"_debug_info": info})

    def _object(self, text: str, at: str, role: str = "assistant") -> dict[str, Any]:
        head: dict[str, Any] = {"model": self._ask.model, "created_at": at}
        if self._ask.route == "chat":
            return head | {"message": {"role": role, "content": text}}
        return head | {"response": text}


def joined(pieces: Sequence[Piece]) -> str:
    """The text of all pieces."""
    return "".join(piece.text for piece in pieces)


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
