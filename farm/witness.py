"""Watches one answer go by: whether it said that it is complete, its counts, and what to add if it did not.

Ollama ends a stream cleanly when its runner is killed or the model repeats itself, so a clean end proves
nothing. Pieces are only looked at, never changed. Pure; owned by the front, one for each answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from farm import limits
from farm.api import gojson
from farm.api.words import Shape, native_error, openai_error
from wire import jsontext
from wire.endmark import NEEDS_MARK, EndMark

BROKEN: Final = (
    "the answer is not complete: the backend ended it without its end mark (its runner died, or the model "
    "went round in a circle); ask again"
)
_COUNTS: Final = {
    "prompt": re.compile(rb'"(?:prompt_eval_count|prompt_tokens|input_tokens)":(\d+)'),
    "prompt_ns": re.compile(rb'"prompt_eval_duration":(\d+)'),
    "completion": re.compile(rb'"(?:eval_count|completion_tokens|output_tokens)":(\d+)'),
}
_FAILURES: Final = frozenset({"error", "response.failed", "response.incomplete"})
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]]|true', re.DOTALL)
_STREAMS: Final = (b"application/x-ndjson", b"text/event-stream")


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens that an answer told of.

    Attributes:
        prompt: read.
        completion: generated.
        prompt_ns: nanoseconds that reading them took, or 0.
    """

    prompt: int = 0
    completion: int = 0
    prompt_ns: int = 0


class Witness:
    """Sees one answer.

    Args:
        path: of the route.
        shape: of its errors.
        status: of the answer.
        content_type: of the answer.
    """

    def __init__(self, path: str, shape: Shape, status: int, content_type: bytes) -> None:
        streamed = status == 200 and content_type.startswith(_STREAMS)
        self._events = content_type.startswith(b"text/event-stream")
        self._path = path
        self._shape = shape
        self._marked = streamed and path in NEEDS_MARK
        self._mark = EndMark()
        self._told_failure = False
        self._line = b""  # the beginning of a line whose end has not come
        self._skips = False  # to the end of a line that is too long to be kept
        self._tail = b""

    @property
    def whole(self) -> bool:
        """Whether nothing is missing that this kind of answer has to have."""
        return not self._marked or self._mark.done

    @property
    def silent_end(self) -> bool:
        """Whether an end now would hide that the answer is not complete."""
        return not self.whole and not self._told_failure

    @property
    def counts(self) -> Counts:
        """Tokens, as far as the end of the answer tells them."""
        return Counts(**{name: _last(pattern, self._tail) for name, pattern in _COUNTS.items()})

    def see(self, piece: bytes) -> None:
        """The next piece goes by."""
        self._tail = piece[-limits.WITNESS_TAIL_B :] if len(piece) >= limits.WITNESS_TAIL_B else (
            (self._tail + piece)[-limits.WITNESS_TAIL_B :]
        )  # fmt: skip
        if not self._marked or self._mark.done:
            return
        if self._skips:
            _, end, piece = piece.partition(b"\n")
            self._skips = not end
        *lines, self._line = (self._line + piece).split(b"\n")
        for line in lines:
            self._look(line)
        if len(self._line) > limits.WITNESS_LINE_B:
            self._look(self._line)
            self._line, self._skips = b"", True

    def mend(self) -> bytes | None:
        """What tells a reader of the stream that it is not complete; None in the middle of a line."""
        if not self._tail.endswith(b"\n"):
            return None if self._tail else self._failure()
        blank = b"\n" if self._events and not self._tail.endswith(b"\n\n") else b""
        return blank + self._failure()

    def _look(self, line: bytes) -> None:
        if len(line) > limits.WITNESS_LINE_B:
            # The mark stands in front; what makes a line this long, tokens or a picture, stands behind.
            self._mark.done |= _says_done(line[: limits.WITNESS_HEAD_B])
            return
        if b'"error"' in line or b"response.failed" in line or b"response.incomplete" in line:
            self._told_failure |= _is_failure(line)
        self._mark.feed(line)

    def _failure(self) -> bytes:
        if self._shape is Shape.NATIVE:
            return native_error(BROKEN) + b"\n"
        if self._shape is Shape.ANTHROPIC:
            error = {"type": "error", "error": {"type": "api_error", "message": BROKEN}}
            return b"event: error\ndata: " + gojson.encode(error) + b"\n\n"
        if self._path == "/v1/responses":
            # The second place is where the official client looks.
            found: dict[str, object] = {"type": "server_error", "message": BROKEN}
            event = {
                "type": "error",
                "code": "server_error",
                "message": BROKEN,
                "param": None,
                "error": found,
            }
            return b"event: error\ndata: " + gojson.encode(event) + b"\n\n"
        return b"data: " + openai_error(500, BROKEN) + b"\n\n"


def _is_failure(line: bytes) -> bool:
    try:
        value = jsontext.loads(line.removeprefix(b"data:").strip())
    except jsontext.JsonError:
        return False
    return isinstance(value, dict) and (bool(value.get("error")) or value.get("type") in _FAILURES)


def _says_done(head: bytes) -> bool:
    """Whether the front of an object has `"done":true` of its own, not in a text or an object inside it."""
    depth, before = 0, b""
    for found in _TOKENS.finditer(head):
        token = found[0]
        depth += (token in b"{[") - (token in b"}]")
        if depth == 1 and before == b'"done"' and token == b"true":
            return True
        before = token
    return False


def _last(pattern: re.Pattern[bytes], text: bytes) -> int:
    found = pattern.findall(text)
    return int(found[-1]) if found else 0
