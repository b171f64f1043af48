"""The shapes of answers: native generate and chat, /v1 chat and completions. `responses` and `messages` have
modules of their own. Pure but for ids.

A voice gives the bytes of each HTTP chunk: a token, the end, the end that a dead runner makes of a begun
stream; the whole answer of a request without stream; and errors.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from standin.gojson import written

JSON = "application/json; charset=utf-8"
Headers = tuple[tuple[str, str], ...]
BARE_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an answer: text, thought, or a call of a tool."""

    text: str = ""
    thought: str = ""
    call: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why and with which counts (times in ns) an answer ended. `context` has the numbers of its tokens."""

    reason: str
    prompt_tokens: int = 0
    tokens: int = 0
    total_ns: int = 0
    load_ns: int = 0
    prompt_ns: int = 0
    tokens_ns: int = 0
    context: tuple[int, ...] | None = None
    called: bool = False

    @property
    def native(self) -> dict[str, Any]:
        """As on the last line: zeros are left out."""
        context = {} if self.context is None else {"context": list(self.context)}
        counts = {
            "total_duration": self.total_ns, "load_duration": self.load_ns,
            "prompt_eval_count": self.prompt_tokens, "prompt_eval_duration": self.prompt_ns,
            "eval_count": self.tokens, "eval_duration": self.tokens_ns,
        }  # fmt: skip
        return {"done_reason": self.reason, **context, **{key: n for key, n in counts.items() if n}}

    @property
    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt_tokens + self.tokens,
        }


def stamp(seconds: float | None = None) -> str:
    """A time as Go writes it: without zeros at the end of the fraction."""
    ns = time.time_ns() if seconds is None else int(seconds * 1e9)
    whole = datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{ns % 1_000_000_000:09}".rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def joined(tokens: list[Token], what: str) -> str:
    return "".join(getattr(token, what) for token in tokens)


def call_id() -> str:
    return "call_" + "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8))


class Native:
    """NDJSON of /api/generate and /api/chat, and one JSON object without stream."""

    stream_type: Headers = (("Content-Type", "application/x-ndjson"),)
    json_type = JSON
    tail = ""

    def __init__(self, model: str, *, chat: bool) -> None:
        self.model, self.chat = model, chat

    def loaded(self) -> list[bytes]:
        """A load is told as a whole, stream or not."""
        return []

    def head(self) -> list[bytes]:
        return []

    def line(self, token: Token) -> list[bytes]:
        return [self._line([token], {"done": False})]

    def last(self, ending: Ending) -> list[bytes]:
        return [self._line([], {"done": True, **ending.native})]

    def broken(self, text: str) -> list[bytes]:
        return [written({"error": text}).encode() + b"\n"]

    def whole(self, tokens: list[Token], ending: Ending | None) -> bytes:
        end = {"done": False} if ending is None else {"done": True, **ending.native}
        return self._line(tokens, end)[:-1]

    def error(self, status: int, text: str) -> str:
        return written({"error": text})

    def _line(self, tokens: list[Token], end: dict[str, Any]) -> bytes:
        text, thought = joined(tokens, "text"), joined(tokens, "thought")
        thinking = {"thinking": thought} if thought else {}
        calls = [
            {"id": call_id(), "function": {"index": at, "name": token.call, "arguments": {"city": "Paris"}}}
            for at, token in enumerate(token for token in tokens if token.call)
        ]
        called = {"tool_calls": calls} if calls else {}
        said: dict[str, Any] = {"response": text, **thinking}
        if self.chat:
            said = {"message": {"role": "assistant", "content": text, **thinking, **called}}
        return written({"model": self.model, "created_at": stamp(), **said, **end}).encode() + b"\n"


class OpenAI:
    """Events and bodies of /v1/chat/completions and /v1/completions."""

    stream_type: Headers = (("Content-Type", "text/event-stream"),)
    json_type = BARE_JSON
    tail = "\n"

    def __init__(self, model: str, *, chat: bool, usage: bool) -> None:
        self.model, self.chat, self.usage = model, chat, usage
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{random.randrange(999)}"
        self.created = int(time.time())

    def loaded(self) -> list[bytes]:
        return self.last(Ending("load"))

    def head(self) -> list[bytes]:
        return []

    def line(self, token: Token) -> list[bytes]:
        return [self._event(self._choice(token, None))]

    def last(self, ending: Ending) -> list[bytes]:
        reason = "tool_calls" if ending.called else ending.reason
        events = [self._event(self._choice(Token(), reason))]
        if self.usage:
            events.append(self._event([], ending.usage))
        return [b"".join([*events, b"data: [DONE]\n\n"])]

    def broken(self, text: str) -> list[bytes]:
        """The error becomes an empty chunk of no model."""
        self.model = ""
        return [self._event(self._choice(Token(), None))]

    def whole(self, tokens: list[Token], ending: Ending | None) -> bytes:
        end = ending or Ending("")
        text, thought = joined(tokens, "text"), joined(tokens, "thought")
        reason = ("tool_calls" if end.called else end.reason) or None
        choice: dict[str, Any] = {"text": text, "index": 0, "finish_reason": reason}
        if self.chat:
            message = {"role": "assistant", **self._said(Token(text, thought, joined(tokens, "call")))}
            choice = {"index": 0, "message": message, "finish_reason": reason}
        kind = "chat.completion" if self.chat else "text_completion"
        body = {
            "id": self.id, "object": kind, "created": self.created, "model": self.model,
            "system_fingerprint": "fp_ollama", "choices": [choice], "usage": end.usage,
        }  # fmt: skip
        return written(body).encode() + b"\n"

    def error(self, status: int, text: str) -> str:
        kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
        return written({"error": {"message": text, "type": kind, "param": None, "code": None}})

    def _said(self, token: Token) -> dict[str, Any]:
        said: dict[str, Any] = {"content": token.text}
        if token.thought:
            said["reasoning"] = token.thought
        if token.call:
            call = {"name": token.call, "arguments": '{"city":"Paris"}'}
            said["tool_calls"] = [{"id": call_id(), "index": 0, "type": "function", "function": call}]
        return said

    def _choice(self, token: Token, reason: str | None) -> list[Any]:
        if self.chat:
            delta = {"role": "assistant", **self._said(token)}
            return [{"index": 0, "delta": delta, "finish_reason": reason}]
        return [{"text": token.text, "index": 0, "finish_reason": reason}]

    def _event(self, choices: list[Any], usage: dict[str, int] | None = None) -> bytes:
        model = {"model": self.model, "system_fingerprint": "fp_ollama"}
        head: dict[str, Any] = {
            "id": self.id, "object": "chat.completion.chunk" if self.chat else "text_completion",
            "created": self.created,
        }  # fmt: skip
        if self.chat:
            body = {**head, **model, "choices": choices}
        else:
            body = {**head, "choices": choices, **model}
            usage = usage or (Ending("").usage if self.usage else None)
        return b"data: " + written(body | ({"usage": usage} if usage else {})).encode() + b"\n\n"
