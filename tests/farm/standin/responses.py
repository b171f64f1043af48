"""The shapes of /v1/responses and /v1/messages: one event per chunk, and no word at all when a runner dies.
Pure but for ids."""

from __future__ import annotations

import random
import time
from typing import Any

from standin.gojson import written
from standin.voices import BARE_JSON, Ending, Headers, Token, joined

_EVENTS = (
    ("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"), ("Connection", "keep-alive"),
)  # fmt: skip
_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def _event(name: str, body: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {written(body)}\n\n".encode()


class Responses:
    """Keys of events come sorted, those of a body do not."""

    stream_type: Headers = _EVENTS
    json_type = BARE_JSON
    tail = "\n"

    def __init__(self, model: str, asked: dict[str, Any]) -> None:
        self.model, self.asked = model, asked
        self.id, self.item = f"resp_{random.randrange(10**6)}", f"msg_{random.randrange(10**6)}"
        self.created = int(time.time())
        self.number = 0
        self.said = ""

    def _begin(self) -> list[bytes]:
        begun = self._response("in_progress", [], None)
        return [
            self._numbered("response.created", {"response": begun}),
            self._numbered("response.in_progress", {"response": begun}),
        ]

    def loaded(self) -> list[bytes]:
        done = self._response("completed", None, Ending("load"))
        return [*self._begin(), self._numbered("response.completed", {"response": done})]

    def head(self) -> list[bytes]:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return [
            *self._begin(),
            self._numbered(
                "response.output_item.added", {"item": self._item("in_progress", []), "output_index": 0}
            ),
            self._numbered("response.content_part.added", {**self._place, "part": part}),
        ]

    def line(self, token: Token) -> list[bytes]:
        self.said += token.text
        delta = {**self._place, "delta": token.text, "logprobs": []}
        return [self._numbered("response.output_text.delta", delta)]

    def last(self, ending: Ending) -> list[bytes]:
        part = self._part(self.said)
        item = self._item("completed", [part])
        done = self._response("completed", [item], ending)
        return [
            self._numbered("response.output_text.done", {**self._place, "text": self.said, "logprobs": []}),
            self._numbered("response.content_part.done", {**self._place, "part": part}),
            self._numbered("response.output_item.done", {"item": item, "output_index": 0}),
            self._numbered("response.completed", {"response": done}),
        ]

    def broken(self, text: str) -> list[bytes]:
        return []

    def whole(self, tokens: list[Token], ending: Ending | None) -> bytes:
        text = joined(tokens, "text")
        item = self._item("completed", [self._part(text)])
        return written(self._response("completed", [item], ending or Ending(""))).encode() + b"\n"

    def error(self, status: int, text: str) -> str:
        kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
        return written({"error": {"message": text, "type": kind, "param": None, "code": None}})

    @property
    def _place(self) -> dict[str, Any]:
        return {"content_index": 0, "item_id": self.item, "output_index": 0}

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _item(self, status: str, content: list[Any]) -> dict[str, Any]:
        kind = {"id": self.item, "type": "message", "status": status}
        return {**kind, "role": "assistant", "content": content}

    def _numbered(self, name: str, body: dict[str, Any]) -> bytes:
        told = _sorted({**body, "sequence_number": self.number, "type": name})
        self.number += 1
        return _event(name, told)

    def _response(self, status: str, output: list[Any] | None, ending: Ending | None) -> dict[str, Any]:
        usage = None
        if ending is not None:
            usage = {
                "input_tokens": ending.prompt_tokens, "output_tokens": ending.tokens,
                "total_tokens": ending.prompt_tokens + ending.tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            }  # fmt: skip
        return {
            "id": self.id, "object": "response", "created_at": self.created,
            "completed_at": None if ending is None else int(time.time()), "status": status,
            "incomplete_details": None, "model": self.model, "previous_response_id": None,
            "instructions": self.asked.get("instructions"), "output": output, "error": None, "tools": [],
            "tool_choice": "auto", "truncation": "disabled", "parallel_tool_calls": True,
            "text": {"format": {"type": "text"}}, "top_p": self.asked.get("top_p", 1),
            "presence_penalty": 0, "frequency_penalty": 0, "top_logprobs": 0,
            "temperature": self.asked.get("temperature", 1), "reasoning": None, "usage": usage,
            "max_output_tokens": self.asked.get("max_output_tokens"), "max_tool_calls": None, "store": False,
            "background": False, "service_tier": "default", "metadata": {}, "safety_identifier": None,
            "prompt_cache_key": None,
        }  # fmt: skip


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


class Messages:
    """Anthropic's shape. The count of tokens at the start is an estimate."""

    stream_type: Headers = _EVENTS
    json_type = BARE_JSON
    tail = "\n"

    def __init__(self, model: str, estimate: int) -> None:
        self.model, self.estimate = model, estimate
        self.id = f"msg_{random.randbytes(12).hex()}"

    def loaded(self) -> list[bytes]:
        return []  # without messages there is no request

    def head(self) -> list[bytes]:
        message = {
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "usage": {"input_tokens": self.estimate, "output_tokens": 0},
        }  # fmt: skip
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        return [
            _event("message_start", {"type": "message_start", "message": message}),
            _event("content_block_start", block),
        ]

    def line(self, token: Token) -> list[bytes]:
        delta = {"type": "text_delta", "text": token.text}
        return [_event("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})]

    def last(self, ending: Ending) -> list[bytes]:
        usage = {"input_tokens": ending.prompt_tokens, "output_tokens": ending.tokens}
        delta = {"stop_reason": _REASONS.get(ending.reason, ending.reason)}
        return [
            _event("content_block_stop", {"type": "content_block_stop", "index": 0}),
            _event("message_delta", {"type": "message_delta", "delta": delta, "usage": usage}),
            _event("message_stop", {"type": "message_stop"}),
        ]

    def broken(self, text: str) -> list[bytes]:
        return []

    def whole(self, tokens: list[Token], ending: Ending | None) -> bytes:
        end = ending or Ending("")
        body = {
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": [{"type": "text", "text": joined(tokens, "text")}],
            "stop_reason": _REASONS.get(end.reason, end.reason),
            "usage": {"input_tokens": end.prompt_tokens, "output_tokens": end.tokens},
        }  # fmt: skip
        return written(body).encode() + b"\n"

    def error(self, status: int, text: str) -> str:
        kinds = {400: "invalid_request_error", 404: "not_found_error", 503: "overloaded_error"}
        error = {"type": kinds.get(status, "api_error"), "message": text}
        return written({"type": "error", "error": error, "request_id": f"req_{random.randbytes(12).hex()}"})
