"""One request for text, whichever route it came by.

Pure: bodies of /api/generate and /api/chat in, an `Ask` out; `openai`, `responses` and `messages` make the
same out of /v1 bodies. The order of the checks is Ollama's. Called by `app`; carried out by `talk`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from farm import limits
from farm.api import words
from farm.api.words import UNSUPPORTED, RefusalError, unknown_model
from farm.embedded import card, fields, structs
from farm.embedded.template import Turn


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
        think: whether, or how much, the model is to think.
        tools: whether tools were given.
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
    think: bool | str | None = None
    tools: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is to be generated: the model is only loaded, or unloaded."""
        return not self.turns and not self.raw

    @property
    def unloads(self) -> bool:
        """Whether the model is to be unloaded, and nothing else."""
        return self.empty and self.keep_alive == 0


def read_generate(body: bytes) -> Ask:
    """The body of /api/generate.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, structs.GENERATE)
    name, prompt = given.get("model", ""), given.get("prompt", "")
    check_logprobs(given.get("top_logprobs", 0))
    card.require(name, empty=unknown_model(name))
    common = _common(given)
    if not prompt and common["keep_alive"] == 0:
        return Ask("generate", **common)
    raw = given.get("raw", False)
    if raw and any(given.get(key) for key in ("system", "template", "context")):
        raise RefusalError(400, "raw mode does not support template, system, or context")
    check_abilities(name, think=given.get("think"), suffix=given.get("suffix"))
    if prompt and given.get("template"):
        why = f"a template in the request {UNSUPPORTED}; send raw: true with the whole text"
        raise RefusalError(400, why)
    if raw:
        return Ask("generate", raw=prompt, **common)
    turns = [Turn("user", prompt, len(given.get("images", ())))] if prompt else []
    if turns and given.get("system"):
        turns.insert(0, Turn("system", given["system"]))
    return Ask("generate", turns=tuple(turns), context=tuple(given.get("context", ())), **common)


def read_chat(body: bytes) -> Ask:
    """The body of /api/chat.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, structs.CHAT)
    check_logprobs(given.get("top_logprobs", 0))
    turns, tools = turns_of(given.get("messages", ())), bool(given.get("tools"))
    return Ask("chat", turns=turns, think=given.get("think"), tools=tools, **_common(given))


def turns_of(messages: Sequence[Mapping[str, Any]]) -> tuple[Turn, ...]:
    """Messages of the native form as the template takes them."""
    return tuple(
        Turn(told.get("role", "").lower(), told.get("content", ""), len(told.get("images", ())))
        for told in messages
    )


def check_chat(made: Ask) -> None:
    """What every chat is checked for once it is read, in Ollama's order.

    Raises:
        RefusalError: in Ollama's words.
    """
    card.require(made.model, empty=RefusalError(400, "model is required"))
    if not made.unloads:
        check_abilities(made.model, think=made.think, tools=made.tools)


def check_logprobs(top: int) -> None:
    """Refuse a number of alternatives that is out of range. Raises RefusalError in Ollama's words."""
    if not 0 <= top <= limits.TOP_LOGPROBS_MAX:
        raise RefusalError(400, "top_logprobs must be between 0 and 20")


def check_abilities(
    name: str, *, think: bool | str | None = None, suffix: str | None = None, tools: bool = False
) -> None:
    """Refuse what this model cannot do.

    Raises:
        RefusalError: 400 in Ollama's words.
    """
    if think:
        raise words.no_thinking(name)
    if suffix:
        raise RefusalError(400, f"{card.FULL_NAME} does not support insert")
    if tools:
        raise RefusalError(400, f"{card.FULL_NAME} does not support tools")


def _common(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": given.get("model", ""),
        "stream": given.get("stream", True),
        "options": given.get("options", {}),
        "format": given.get("format"),
        "keep_alive": given.get("keep_alive"),
        "top_logprobs": given.get("top_logprobs", 0) if given.get("logprobs") else None,
        "truncate": given.get("truncate", True),
        "shift": given.get("shift", True),
        "debug": given.get("_debug_render_only", False),
    }
