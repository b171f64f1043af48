"""Answers of /v1/responses, events and bodies.

Pure. A form of the port `native.Voice`; called by `talk`. In a stream each event is a chunk of its own, and
the fields of its objects stand in the order of the alphabet, as Go writes maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farm.api import gojson, words
from farm.api.words import Shape
from farm.embedded.ask import Ask
from farm.embedded.native import Ending, Headers, joined
from farm.embedded.pieces import Piece

_NS = 1_000_000_000


class ResponsesVoice:
    """/v1/responses.

    Args:
        ask: the request.
        given: its fields, told back in the answer.
        number: any number below a million, for the response's id.
        item: another one, for the message's.
        created: Unix seconds.
    """

    shape = Shape.OPENAI
    stream_type = "text/event-stream"
    whole_type = words.JSON_BARE
    stream_headers: Headers = ((b"cache-control", b"no-cache"), (b"connection", b"keep-alive"))

    def __init__(self, ask: Ask, given: dict[str, Any], *, number: int, item: int, created: int) -> None:
        self._model = ask.model
        self._given = given
        self._id = f"resp_{number}"
        self._item = f"msg_{item}"
        self._created = created
        self._events = 0
        self._text = ""

    def line(self, piece: Piece, _at: str) -> list[bytes]:
        """A delta; before the first one the events that open the answer, its message and its text."""
        chunks = self._begin()
        if not self._text:
            item = self._message("in_progress", [])
            chunks.append(self._event("response.output_item.added", output_index=0, item=item))
            chunks.append(self._in_content("response.content_part.added", part=_part("")))
        self._text += piece.text
        chunks.append(self._in_content("response.output_text.delta", delta=piece.text, logprobs=[]))
        return chunks

    def last(self, ending: Ending, _at: str) -> list[bytes]:
        """The events that close what is open, and the whole response once more."""
        chunks = self._begin()
        done = self._message("completed", [_part(self._text)])
        if self._text:
            part = _part(self._text)
            chunks.append(self._in_content("response.output_text.done", text=self._text, logprobs=[]))
            chunks.append(self._in_content("response.content_part.done", part=part))
            chunks.append(self._event("response.output_item.done", output_index=0, item=done))
        told = self._response("completed", [done] if self._text else None)
        told |= {"completed_at": self._ended(ending), "usage": _usage(ending)}
        return [*chunks, self._event("response.completed", response=told)]

    def whole(self, pieces: Sequence[Piece], ending: Ending, _at: str) -> bytes:
        """One body."""
        output = [self._message("completed", [_part(joined(pieces))])]
        told = self._response("completed", output) | {"usage": _usage(ending)}
        told["created_at"] = told["completed_at"] = self._ended(ending)
        return gojson.encode(told) + b"\n"

    def broken(self, _at: str) -> list[bytes]:
        """Nothing: so does Ollama end it."""
        return []

    def _begin(self) -> list[bytes]:
        if self._events:
            return []
        kinds = ("response.created", "response.in_progress")
        return [self._event(kind, response=self._response("in_progress", [])) for kind in kinds]

    def _event(self, kind: str, **told: Any) -> bytes:
        told |= {"type": kind, "sequence_number": self._events}
        self._events += 1
        return f"event: {kind}\ndata: ".encode() + gojson.encode(_sorted(told)) + b"\n\n"

    def _in_content(self, kind: str, **told: Any) -> bytes:
        return self._event(kind, item_id=self._item, output_index=0, content_index=0, **told)

    def _message(self, status: str, content: list[Any]) -> dict[str, Any]:
        head = {"id": self._item, "type": "message", "status": status, "role": "assistant"}
        return head | {"content": content}

    def _ended(self, ending: Ending) -> int:
        return self._created + ending.total_ns // _NS

    def _response(self, status: str, output: list[Any] | None) -> dict[str, Any]:
        given = self._given
        wanted = given.get("text", {}).get("format")
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "incomplete_details": None,
            "model": self._model,
            "previous_response_id": None,
            "instructions": given.get("instructions") or None,
            "output": output,
            "error": None,
            "tools": [],
            "tool_choice": "auto",
            "truncation": given.get("truncation", "disabled"),
            "parallel_tool_calls": True,
            "text": {"format": {"type": "text"} if wanted is None else _echoed(wanted)},
            "top_p": float(given.get("top_p", 1)),
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_logprobs": 0,
            "temperature": float(given.get("temperature", 1)),
            "reasoning": _reasoning(given.get("reasoning", {})),
            "usage": None,
            "max_output_tokens": given.get("max_output_tokens"),
            "max_tool_calls": None,
            "store": False,
            "background": given.get("background", False),
            "service_tier": "default",
            "metadata": {},
            "safety_identifier": None,
            "prompt_cache_key": None,
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _echoed(wanted: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"type": wanted.get("type", "")}
    told |= {name: wanted[name] for name in ("name", "schema") if wanted.get(name)}
    return told | ({"strict": wanted["strict"]} if "strict" in wanted else {})


def _reasoning(given: dict[str, Any]) -> dict[str, Any] | None:
    told = {name: given[name] for name in ("effort", "summary") if given.get(name)}
    return told or None


def _usage(ending: Ending) -> dict[str, Any]:
    prompt, made = ending.tokens
    return {
        "input_tokens": prompt,
        "output_tokens": made,
        "total_tokens": prompt + made,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
