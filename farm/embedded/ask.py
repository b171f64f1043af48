"""One request for text, whichever route it came by.

Pure: bodies of /api/generate and /api/chat in, an `Ask` out. `openai` makes the same out of /v1 bodies.
Called by `app`; carried out by `talk`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from farm import limits
from farm.embedded import card, fields
from farm.embedded.durations import parse_keep_alive
from farm.embedded.template import Turn
from farm.embedded.words import UNSUPPORTED, RefusalError, unknown_model

_COMMON: dict[str, fields.Kind] = {
    "model": fields.STRING,
    "stream": fields.BOOL,
    "format": fields.ANY,
    "keep_alive": fields.ANY,
    "options": fields.MAP,
    "think": fields.ANY,
    "truncate": fields.BOOL,
    "shift": fields.BOOL,
    "_debug_render_only": fields.BOOL,
    "logprobs": fields.BOOL,
    "top_logprobs": fields.INT,
}
_IMAGES = fields.Several(fields.STRING, "[]api.ImageData")
_GENERATE: fields.Spec = _COMMON | {
    "prompt": fields.STRING,
    "suffix": fields.STRING,
    "system": fields.STRING,
    "template": fields.STRING,
    "context": fields.Several(fields.INT, "[]int"),
    "raw": fields.BOOL,
    "images": _IMAGES,
}
_MESSAGE: fields.Spec = {"role": fields.STRING, "content": fields.STRING, "images": _IMAGES}
_CHAT: fields.Spec = _COMMON | {
    "messages": fields.Several(_MESSAGE, "[]api.Message"),
    "tools": fields.Several(fields.ANY, "api.Tools"),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """What to generate, and how.

    Attributes:
        route: whose fields the answer has.
        model: the name as asked, echoed in answers.
        stream: whether the answer comes token by token.
        turns: the messages; empty for raw prompts.
        raw: text that goes to the model as it is, or None.
        context: tokens of an earlier answer, put in front.
        options: Ollama options as given, not yet checked.
        format: "json", a schema, or None.
        keep_alive: seconds to keep the model, or None to leave that as it is.
        top_logprobs: alternatives to tell per token; None for no log probabilities.
        truncate: cut a prompt that is too long, instead of refusing it.
        shift: drop old tokens when the context is full, instead of stopping.
        debug: answer with the rendered prompt only.
    """

    route: Literal["generate", "chat"]
    model: str
    stream: bool = True
    turns: tuple[Turn, ...] = ()
    raw: str | None = None
    context: tuple[int, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    format: Any = None
    keep_alive: float | None = None
    top_logprobs: int | None = None
    truncate: bool = True
    shift: bool = True
    debug: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is to be generated: the model is only loaded, or unloaded."""
        return not self.turns and not self.raw


def read_generate(body: bytes) -> Ask:
    """The body of /api/generate.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, "api.GenerateRequest", _GENERATE)
    common = _common(given)
    images = _count_images(given.get("images", []))
    name = given.get("model", "")
    card.require(name, unknown_model(name))
    _check_logprobs(given)
    raw = given.get("raw", False)
    if raw and any(given.get(key) for key in ("system", "template", "context")):
        raise RefusalError(400, "raw mode does not support template, system, or context")
    if given.get("suffix"):
        raise RefusalError(400, f"{card.NAME} does not support insert")
    if given.get("template"):
        raise RefusalError(
            400, f"a template in the request {UNSUPPORTED}; send raw: true with the whole text"
        )
    _check_thinking(given)
    prompt = given.get("prompt", "")
    if raw:
        return Ask("generate", raw=prompt, **common)
    system = given.get("system", "")
    turns = [Turn("user", prompt, images)] if prompt else []
    if turns and system:
        turns.insert(0, Turn("system", system))
    return Ask("generate", turns=tuple(turns), context=tuple(given.get("context", ())), **common)


def read_chat(body: bytes) -> Ask:
    """The body of /api/chat.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, "api.ChatRequest", _CHAT)
    common = _common(given)
    messages = given.get("messages", [])
    turns = tuple(
        Turn(turn.get("role", ""), turn.get("content", ""), _count_images(turn.get("images", [])))
        for turn in messages
    )
    name = given.get("model", "")
    if not name:
        raise RefusalError(400, "model is required")
    card.require(name, unknown_model(name))
    _check_logprobs(given)
    if given.get("tools"):
        raise RefusalError(400, f"{card.NAME} does not support tools")
    _check_thinking(given)
    return Ask("chat", turns=turns, **common)


def keep_alive_of(given: dict[str, Any]) -> float | None:
    """The request's `keep_alive` in seconds, None when it has none.

    Raises:
        RefusalError: 400 in Ollama's words.
    """
    if "keep_alive" not in given:
        return None
    try:
        return parse_keep_alive(given["keep_alive"])
    except ValueError as error:
        raise RefusalError(400, str(error), early=True) from None


def _common(given: dict[str, Any]) -> dict[str, Any]:
    think = given.get("think")
    if isinstance(think, str) and think not in {"high", "medium", "low", "max"}:
        words = f'invalid think value: "{think}" (must be "high", "medium", "low", "max", true, or false)'
        raise RefusalError(400, words, early=True)
    return {
        "model": given.get("model", ""),
        "stream": given.get("stream", True),
        "options": given.get("options", {}),
        "format": given.get("format"),
        "keep_alive": keep_alive_of(given),
        "top_logprobs": given.get("top_logprobs", 0) if given.get("logprobs") else None,
        "truncate": given.get("truncate", True),
        "shift": given.get("shift", True),
        "debug": given.get("_debug_render_only", False),
    }


def _check_logprobs(given: dict[str, Any]) -> None:
    if not 0 <= given.get("top_logprobs", 0) <= limits.TOP_LOGPROBS_MAX:
        raise RefusalError(400, "top_logprobs must be between 0 and 20")


def _check_thinking(given: dict[str, Any]) -> None:
    if given.get("think"):
        raise RefusalError(400, f'"{given["model"]}" does not support thinking')


def _count_images(images: Sequence[str]) -> int:
    for image in images:
        try:
            base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError):
            raise RefusalError(400, "illegal base64 data at input byte 0", early=True) from None
    return len(images)
