"""Answers of /v1/messages (Anthropic's form), events and bodies.

Pure. A form of the port `native.Voice`; called by `talk`. In a stream each event is a chunk of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farm.api import gojson, words
from farm.api.words import Shape
from farm.embedded.ask import Ask
from farm.embedded.native import Ending, Headers, joined
from farm.embedded.pieces import Piece

_REASONS = {"stop": "end_turn", "length": "max_tokens"}


class MessagesVoice:
    """/v1/messages.

    Args:
        ask: the request.
        estimate: about how many tokens it has.
        number: 24 hex digits, for the id.
    """

    shape = Shape.ANTHROPIC
    stream_type = "text/event-stream"
    whole_type = words.JSON_BARE
    stream_headers: Headers = ((b"cache-control", b"no-cache"), (b"connection", b"keep-alive"))

    def __init__(self, ask: Ask, estimate: int, *, number: str) -> None:
        head = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": ask.model}
        self._head: dict[str, Any] = head
        self._estimate = estimate
        self._begun = False
        self._open = False

    def line(self, piece: Piece, _at: str) -> list[bytes]:
        """A delta; before the first one the events that open the message and its text."""
        chunks = self._begin(self._estimate)
        if not self._open:
            self._open = True
            chunks.append(_event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
        delta = {"type": "text_delta", "text": piece.text}
        return [*chunks, _event("content_block_delta", index=0, delta=delta)]

    def last(self, ending: Ending, _at: str) -> list[bytes]:
        """The events that close what is open."""
        prompt, made = ending.tokens
        chunks = self._begin(prompt or self._estimate)
        if self._open:
            chunks.append(_event("content_block_stop", index=0))
        usage = {"input_tokens": prompt, "output_tokens": made}
        delta = {"stop_reason": _reason(ending)}
        return [*chunks, _event("message_delta", delta=delta, usage=usage), _event("message_stop")]

    def whole(self, pieces: Sequence[Piece], ending: Ending, _at: str) -> bytes:
        """One body."""
        prompt, made = ending.tokens
        text = joined(pieces)
        told = self._head | {
            "content": [{"type": "text", "text": text}] if text else None,
            "stop_reason": _reason(ending),
            "usage": {"input_tokens": prompt, "output_tokens": made},
        }
        return gojson.encode(told) + b"\n"

    def broken(self, _at: str) -> list[bytes]:
        """Nothing: so does Ollama end it."""
        return []

    def _begin(self, tokens: int) -> list[bytes]:
        if self._begun:
            return []
        self._begun = True
        message = self._head | {"content": [], "usage": {"input_tokens": tokens, "output_tokens": 0}}
        return [_event("message_start", message=message)]


def _reason(ending: Ending) -> str:
    return _REASONS.get(ending.reason, "stop_sequence")


def _event(kind: str, **told: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + gojson.encode({"type": kind} | told) + b"\n\n"
