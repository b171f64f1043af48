"""Reading the requests that need a model, each route's own form into one `Ask`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from standin.gojson import Unread, read
from standin.models import keep_alive_of
from standin.responses import Messages, Responses
from standin.voices import Ending, Headers, Native, OpenAI, Token


class Voice(Protocol):
    """See `voices`."""

    stream_type: Headers
    json_type: str
    tail: str

    def loaded(self) -> list[bytes]: ...
    def head(self) -> list[bytes]: ...
    def line(self, token: Token) -> list[bytes]: ...
    def last(self, ending: Ending) -> list[bytes]: ...
    def broken(self, text: str) -> list[bytes]: ...
    def whole(self, tokens: list[Token], ending: Ending | None) -> bytes: ...
    def error(self, status: int, text: str) -> str: ...


class Bad(Exception):
    """A request refused before any model is looked for."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status, self.text = status, text


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of which model. An `empty` ask loads or unloads. `context`: the route tells it."""

    model: str
    voice: Voice
    prompt: str
    stream: bool
    empty: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    keep_alive: float | None = None
    format: Any = None
    tools: bool = False
    think: bool = False
    context: bool = False
    raw: bool = False

    @property
    def num_predict(self) -> int:
        told = self.options.get("num_predict", 0)
        return told if isinstance(told, int) else 0

    @property
    def bad_schema(self) -> str:
        """Why its format cannot be used, or ""."""
        if self.format in (None, "", "json") or isinstance(self.format, dict):
            known = {"object", "array", "string", "number", "integer", "boolean", "null", None}
            kind = self.format.get("type") if isinstance(self.format, dict) else None
            usable = not isinstance(kind, str) or kind in known
            return "" if usable else "invalid JSON schema in format"
        quoted = str(self.format).replace("\\", "\\\\").replace('"', '\\"')
        return f'invalid format: "\\"{quoted}\\""; expected "json" or a valid JSON Schema object'

    @property
    def deadly(self) -> bool:
        """A repetition in the schema that makes a runner crash."""
        return any(int(n) > 2000 for n in re.findall(r"'m(?:in|ax)Length': (\d+)", str(self.format)))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _said(messages: Any) -> str:
    return " ".join(_text(one.get("content")) for one in messages or [] if isinstance(one, dict))


def _keep_alive(asked: dict[str, Any]) -> float | None:
    try:
        return keep_alive_of(asked.get("keep_alive"))
    except ValueError as error:
        raise Unread(str(error)) from None


def _native(asked: dict[str, Any], *, chat: bool) -> Ask:
    prompt = _said(asked.get("messages")) if chat else str(asked.get("prompt", ""))
    empty = not asked.get("messages") if chat else not prompt
    model = str(asked.get("model", ""))
    return Ask(
        model, Native(model, chat=chat), prompt, asked.get("stream", True), empty, asked.get("options", {}),
        _keep_alive(asked), asked.get("format"), bool(asked.get("tools")), bool(asked.get("think")),
        not chat and not asked.get("raw"), bool(asked.get("raw")),
    )  # fmt: skip


def generate(body: bytes) -> Ask:
    types = {"prompt": str, "stream": bool, "options": dict, "model": str}
    return _native(read(body, "api.GenerateRequest", types), chat=False)


def chat(body: bytes) -> Ask:
    asked = read(body, "api.ChatRequest", {"messages": list, "stream": bool, "options": dict})
    for message in asked.get("messages", []):
        if isinstance(message.get("content"), list):
            words = "json: cannot unmarshal array into Go struct field ChatRequest.messages.content"
            raise Unread(f"{words} of type string")
    if not asked.get("model"):
        raise Bad("model is required")
    return _native(asked, chat=True)


def _options(asked: dict[str, Any], limit: str) -> dict[str, Any]:
    names = {limit: "num_predict", "temperature": "temperature", "seed": "seed", "top_p": "top_p"}
    return {theirs: asked[ours] for ours, theirs in names.items() if ours in asked}


def openai_chat(body: bytes) -> Ask:
    asked = read(body, "openai.ChatCompletionRequest", {"max_tokens": int, "stream": bool})
    if not asked.get("messages"):
        raise Unread("[] is too short - 'messages'")
    if not asked.get("model"):
        raise Bad("model is required")
    model, usage = str(asked["model"]), bool((asked.get("stream_options") or {}).get("include_usage"))
    voice = OpenAI(model, chat=True, usage=usage)
    form = asked.get("response_format") or {}
    schema = (form.get("json_schema") or {}).get("schema") if form.get("type") == "json_schema" else None
    return Ask(
        model, voice, _said(asked["messages"]), asked.get("stream", False), False,
        _options(asked, "max_tokens"), None, schema, bool(asked.get("tools")),
    )  # fmt: skip


def openai_completion(body: bytes) -> Ask:
    asked = read(body, "openai.CompletionRequest", {"prompt": str, "max_tokens": int, "stream": bool})
    model, usage = str(asked.get("model", "")), bool((asked.get("stream_options") or {}).get("include_usage"))
    prompt = str(asked.get("prompt", ""))
    voice = OpenAI(model, chat=False, usage=usage)
    options = _options(asked, "max_tokens")
    return Ask(model, voice, prompt, asked.get("stream", False), not prompt, options)


def responses(body: bytes) -> Ask:
    asked = read(body, "openai.ResponsesRequest", {"stream": bool})
    told = asked.get("input", "")
    prompt = _said(told) if isinstance(told, list) else str(told)
    model = str(asked.get("model", ""))
    if not model:
        raise Bad("model is required")
    options = _options(asked, "max_output_tokens")
    return Ask(model, Responses(model, asked), prompt, asked.get("stream", False), not told, options)


def messages(body: bytes) -> Ask:
    asked = read(body, "anthropic.MessagesRequest", {"stream": bool})
    if not asked.get("model"):
        raise Unread("model is required")
    if not isinstance(asked.get("max_tokens"), int) or asked["max_tokens"] <= 0:
        raise Unread("max_tokens is required and must be positive")
    if not asked.get("messages"):
        raise Unread("messages is required")
    model, prompt = str(asked["model"]), _said(asked["messages"])
    voice = Messages(model, max(1, len(prompt) // 3))
    return Ask(model, voice, prompt, asked.get("stream", False), False, _options(asked, "max_tokens"))


ASKS: dict[str, tuple[Callable[[bytes], Ask], Voice]] = {
    "/api/generate": (generate, Native("", chat=False)),
    "/api/chat": (chat, Native("", chat=True)),
    "/v1/chat/completions": (openai_chat, OpenAI("", chat=True, usage=False)),
    "/v1/completions": (openai_completion, OpenAI("", chat=False, usage=False)),
    "/v1/responses": (responses, Responses("", {})),
    "/v1/messages": (messages, Messages("", 0)),
}
"""Route → its reader, and a voice for the errors of what could not be read."""
