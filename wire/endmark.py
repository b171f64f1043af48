"""Whether a stream said that it is complete.

A clean end of HTTP proves nothing: Ollama ends that way when its runner is killed or a model repeats
itself. Only `done:true`, `[DONE]`, `message_stop` or `response.completed` do. Lines are looked at as
bytes first, since parsing each would cost more than all else. Pure; owned by one `exchange`.
"""

from __future__ import annotations

import re
from typing import Any

from wire import jsontext

_EOT = ("<|eot_id|>", "</s>")
_HINT = re.compile(rb"true|eot_id|/s|stop|completed|\[DONE\]|\"usage\"")
_FINAL_TYPES = frozenset({"message_stop", "response.completed"})

NEEDS_MARK = frozenset(
    {"/api/generate", "/api/chat", "/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"}
)
"""Paths whose streams are only whole with a mark."""


class EndMark:
    """Looks at each line of one stream.

    Attributes:
        done: the stream said that it is complete.
        eot: an end-of-text token was seen, or `done`.
        tokens: how many the stream said it took, prompt and answer; 0 if it did not say.
    """

    __slots__ = ("_eot_text", "done", "tokens")

    def __init__(self) -> None:
        self.done = False
        self.tokens = 0
        self._eot_text = False

    @property
    def eot(self) -> bool:
        """`eot_seen` of the contract."""
        return self._eot_text or self.done

    def feed(self, line: bytes) -> None:
        """Look at one line."""
        if not _HINT.search(line):
            return
        text = line.removeprefix(b"data:").strip()
        if text == b"[DONE]":
            self.done = True
            return
        try:
            value = jsontext.loads(text)
        except jsontext.JsonError:
            return
        if isinstance(value, dict):
            kind = value.get("type")
            self.done |= value.get("done") is True or (isinstance(kind, str) and kind in _FINAL_TYPES)
            self.tokens = max(self.tokens, _tokens(value))
            self._eot_text |= any(mark in text for text in _texts(value) for mark in _EOT)


def _tokens(value: dict[str, Any]) -> int:
    """What Ollama's last line, or an OpenAI or Anthropic event with `usage`, says."""
    inner = value.get("response")
    usage = value.get("usage") or (inner.get("usage") if isinstance(inner, dict) else None)
    counts = [value.get("prompt_eval_count"), value.get("eval_count")]
    if isinstance(usage, dict):
        names = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
        counts += [usage.get(name) for name in names]
    return sum(count for count in counts if isinstance(count, int) and 0 < count < 2**53)


def _texts(value: dict[str, Any]) -> list[str]:
    """The places where token text stands in Ollama's and OpenAI's lines."""
    found = [value.get("response")]
    message = value.get("message")
    if isinstance(message, dict):
        found.append(message.get("content"))
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            delta = choice.get("delta")
            found += [choice.get("text"), delta.get("content") if isinstance(delta, dict) else None]
    return [text for text in found if isinstance(text, str)]
