"""What the engine says, event by event: pieces of text, and at the end the counts.

Pure. `talk` feeds it the engine's server-sent events and hands the results to a voice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class EngineError(Exception):
    """The engine refused a request or broke off. `status` is its HTTP status, 500 for a broken stream."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Piece:
    """Text as it was generated.

    Attributes:
        text: whole characters, usually those of one token.
        tokens: their token numbers, as far as the engine told them.
        logprobs: one entry per token in Ollama's form, empty when not asked for.
    """

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How an answer ended. Durations are nanoseconds.

    Attributes:
        reason: "stop" or "length".
        prompt_tokens: tokens of the prompt, those found in the cache included.
        prompt_ns: time to read it.
        tokens: tokens generated, an end mark included.
        eval_ns: time to generate them.
    """

    reason: str
    prompt_tokens: int
    prompt_ns: int
    tokens: int
    eval_ns: int


def read_event(line: bytes, top_logprobs: int | None) -> Piece | Counts | None:
    """One line of the engine's event stream; None for a blank line or a comment.

    Raises:
        EngineError: the line tells an error, or is none of the engine's.
    """
    if not line.startswith((b"data:", b"error:")):
        return None
    kind, _, data = line.partition(b":")
    try:
        event = json.loads(data)
        if kind == b"error" or "error" in event:
            raise EngineError(500, _error_text(event))
        if event["stop"]:
            return _counts(event)
        return _piece(event, top_logprobs)
    except (ValueError, LookupError, TypeError) as error:
        raise EngineError(
            500, f"the engine sent an event that cannot be read ({type(error).__name__})"
        ) from error


def _error_text(event: dict[str, Any]) -> str:
    fault = event.get("error", event)
    return str(fault.get("message", "unknown error")) if isinstance(fault, dict) else str(fault)


def _counts(event: dict[str, Any]) -> Counts:
    times = event["timings"]
    tokens = int(event["tokens_predicted"])
    return Counts(
        reason="length" if event["stop_type"] == "limit" else "stop",
        prompt_tokens=int(event["tokens_evaluated"]),
        prompt_ns=int(times["prompt_ms"] * 1e6),
        tokens=tokens,
        # Counted from the first token on, as Ollama does: a single one takes no time, and zeros are not told.
        eval_ns=int(times["predicted_ms"] * 1e6) if tokens > 1 else 0,
    )


def _piece(event: dict[str, Any], top_logprobs: int | None) -> Piece:
    logprobs: tuple[dict[str, Any], ...] = ()
    if top_logprobs is not None:
        logprobs = tuple(_logprob(entry, top_logprobs) for entry in event.get("completion_probabilities", ()))
    return Piece(event["content"], tuple(event.get("tokens", ())), logprobs)


def _logprob(entry: dict[str, Any], top: int) -> dict[str, Any]:
    told = _alternative(entry)
    if top:
        told["top_logprobs"] = [_alternative(other) for other in entry["top_logprobs"][:top]]
    return told


def _alternative(entry: dict[str, Any]) -> dict[str, Any]:
    return {"token": entry["token"], "logprob": entry["logprob"], "bytes": entry["bytes"]}
