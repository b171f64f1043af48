"""Answers of /v1/chat/completions and /v1/completions, events and bodies.

Pure. Two forms of the port `native.Voice`; called by `talk`.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from farm.api import gojson, words
from farm.api.words import Shape
from farm.embedded.ask import Ask
from farm.embedded.native import Ending, Headers, joined
from farm.embedded.pieces import Piece


class _OpenAiVoice(abc.ABC):
    """What both routes share.

    Args:
        ask: the request.
        number: any small number, for the id; Ollama's are 0 to 998.
        created: Unix seconds.
        usage: whether a stream ends with its usage.
    """

    shape = Shape.OPENAI
    stream_headers: Headers = ()
    stream_type = "text/event-stream"
    whole_type = words.JSON_BARE
    prefix: str
    kind: str

    def __init__(self, ask: Ask, *, number: int, created: int, usage: bool) -> None:
        self._model = ask.model
        self._usage = usage
        self._id = f"{self.prefix}-{number}"
        self._created = created

    def last(self, ending: Ending, _at: str) -> list[bytes]:
        """The last events, in one chunk: end, usage when asked for, [DONE]."""
        events = _event(self._chunk("", ending.reason))
        if self._usage:
            events += _event(self._chunk(None, None, usage=_usage(ending)))
        return [events + b"data: [DONE]\n\n"]

    def line(self, piece: Piece, _at: str) -> list[bytes]:
        """One event."""
        return [_event(self._chunk(piece.text, None, logprobs=piece.logprobs))]

    @abc.abstractmethod
    def _chunk(
        self,
        text: str | None,
        reason: str | None,
        *,
        usage: dict[str, int] | None = None,
        logprobs: Sequence[dict[str, Any]] = (),
        model: str | None = None,
    ) -> dict[str, Any]:
        """One event's object; without `text` it has no choice."""

    def broken(self, _at: str) -> list[bytes]:
        """An empty event without a model, and no [DONE]: so does Ollama tell it."""
        return [_event(self._chunk("", None, model=""))]


class ChatVoice(_OpenAiVoice):
    """/v1/chat/completions."""

    prefix = "chatcmpl"
    kind = "chat.completion"

    def whole(self, pieces: Sequence[Piece], ending: Ending, _at: str) -> bytes:
        """One body."""
        message = {"role": "assistant", "content": joined(pieces)}
        choice: dict[str, Any] = {"index": 0, "message": message}
        choice["finish_reason"] = ending.reason
        logprobs = [entry for piece in pieces for entry in piece.logprobs]
        if logprobs:
            choice["logprobs"] = {"content": logprobs}
        told = self._head(self.kind, self._model) | {"choices": [choice], "usage": _usage(ending)}
        return gojson.encode(told) + b"\n"

    def _chunk(
        self,
        text: str | None,
        reason: str | None,
        *,
        usage: dict[str, int] | None = None,
        logprobs: Sequence[dict[str, Any]] = (),
        model: str | None = None,
    ) -> dict[str, Any]:
        choices: list[dict[str, Any]] = []
        if text is not None:
            choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": reason}
            choices = [choice | ({"logprobs": {"content": list(logprobs)}} if logprobs else {})]
        told = self._head(f"{self.kind}.chunk", self._model if model is None else model) | {
            "choices": choices
        }
        return told | ({"usage": usage} if usage else {})

    def _head(self, kind: str, model: str) -> dict[str, Any]:
        head = {"id": self._id, "object": kind, "created": self._created, "model": model}
        return head | {"system_fingerprint": "fp_ollama"}


class CompletionVoice(_OpenAiVoice):
    """/v1/completions."""

    prefix = "cmpl"
    kind = "text_completion"

    def whole(self, pieces: Sequence[Piece], ending: Ending, _at: str) -> bytes:
        """One body."""
        head = {"id": self._id, "object": self.kind, "created": self._created, "model": self._model}
        choice = {"text": joined(pieces), "index": 0, "finish_reason": ending.reason}
        head |= {"system_fingerprint": "fp_ollama", "choices": [choice]}
        return gojson.encode(head | {"usage": _usage(ending)}) + b"\n"

    def _chunk(
        self,
        text: str | None,
        reason: str | None,
        *,
        usage: dict[str, int] | None = None,
        logprobs: Sequence[dict[str, Any]] = (),  # noqa: ARG002 - this route tells none
        model: str | None = None,
    ) -> dict[str, Any]:
        choices = [] if text is None else [{"text": text, "index": 0, "finish_reason": reason}]
        told = {"id": self._id, "object": self.kind, "created": self._created, "choices": choices}
        told |= {"model": self._model if model is None else model, "system_fingerprint": "fp_ollama"}
        return told | ({"usage": usage or _usage(Ending(""))} if self._usage else {})


def _usage(ending: Ending) -> dict[str, int]:
    prompt, made = ending.tokens
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def _event(told: dict[str, Any]) -> bytes:
    return b"data: " + gojson.encode(told) + b"\n\n"
