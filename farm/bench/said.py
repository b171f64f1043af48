"""What one line of an answer says: text, the end, the counts, or that it failed.

Pure. Called by `reading`; one function for each language. Text is only told from no text: thinking and tool
calls are generated like any other token and count as text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from farm.bench.plan import Api
from wire import jsontext

_NS = 1e9
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Spent:
    """Where Ollama spent the time of one request, seconds by its own clock.

    Attributes:
        total_s: from the request's arrival to the last token.
        queue_s: what is neither load nor prompt nor generation: the wait for a slot.
    """

    total_s: float
    queue_s: float


@dataclass(frozen=True, slots=True)
class Said:
    """One line or event.

    Attributes:
        text: it brings generated text.
        end: it is the end mark.
        tokens: generated tokens in all, where it tells them.
        spent: the server's own durations, where it tells them.
        error: it is an error instead; its words.
    """

    text: bool = False
    end: bool = False
    tokens: int | None = None
    spent: Spent | None = None
    error: str | None = None


def native(line: bytes) -> Said:
    """A line of Ollama's NDJSON.

    Raises:
        ValueError: if it is none.
    """
    value = _object(line)
    if "error" in value:
        return Said(error=error_words(value))
    message = value.get("message")
    voice = message if isinstance(message, dict) else value
    text = any(voice.get(name) for name in ("response", "content", "thinking", "tool_calls"))
    if value.get("done") is not True:
        return Said(text=text)
    return Said(text=text, end=True, tokens=_count(value, "eval_count"), spent=_spent(value))


def openai(data: bytes) -> Said:
    """The data of one of OpenAI's server-sent events.

    Raises:
        ValueError: if it is none.
    """
    if data.strip() == _DONE:
        return Said(end=True)
    value = _object(data)
    if value.get("error") is not None:
        return Said(error=error_words(value))
    usage = value.get("usage")
    tokens = _count(usage, "completion_tokens") if isinstance(usage, dict) else None
    choices = value.get("choices")
    text = any(_speaks(choice) for choice in choices) if isinstance(choices, list) else False
    return Said(text=text, tokens=tokens)


SAID: dict[Api, Callable[[bytes], Said]] = {Api.NATIVE: native, Api.OPENAI: openai}


def error_words(value: Any) -> str:
    """The text in an error of either language, or the whole as it is."""
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return str(error)


def _speaks(choice: Any) -> bool:
    if not isinstance(choice, dict):
        return False
    delta = choice.get("delta")
    voice = delta if isinstance(delta, dict) else choice
    return any(
        voice.get(name) for name in ("content", "text", "reasoning", "reasoning_content", "tool_calls")
    )


def _object(text: bytes) -> dict[str, Any]:
    value = jsontext.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one kind of error for the caller
    return value


def _count(value: dict[str, Any], name: str) -> int | None:
    """Zero counts as not told: a stand-in for usage on every event, and Ollama leaves zeros out."""
    count = value.get(name)
    return count if type(count) is int and count > 0 else None


def _spent(value: dict[str, Any]) -> Spent | None:
    total = _count(value, "total_duration")
    if total is None:
        return None
    # What is zero is left out.
    parts = sum(_count(value, f"{part}_duration") or 0 for part in ("load", "prompt_eval", "eval"))
    return Spent(total / _NS, max(0, total - parts) / _NS)
