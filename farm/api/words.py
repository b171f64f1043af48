"""Refusals in Ollama's own words, and the shapes they take on the wire.

Pure. Raised by everything that reads a request, written out by `app`.
"""

from __future__ import annotations

import enum

from farm.api import gojson

JSON_UTF8 = "application/json; charset=utf-8"
JSON_BARE = "application/json"
UNSUPPORTED = "is not built into the embedded engine"


class Shape(enum.Enum):
    """Whose form an answer has."""

    NATIVE = "Ollama's own, under /api"
    OPENAI = "OpenAI's, under /v1"
    ANTHROPIC = "Anthropic's, of /v1/messages"


class RefusalError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
        text: the words, as Ollama has them.
        early: found while the request was read; such errors are framed a little differently under /v1.
        native: keeps the native shape on /v1 too.
    """

    def __init__(self, status: int, text: str, *, early: bool = False, native: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.early = early
        self.native = native


def unknown_model(name: str) -> RefusalError:
    """404 of generate, chat, show and delete."""
    return RefusalError(404, f"model '{name}' not found")


def unknown_model_pull(name: str) -> RefusalError:
    """404 of embed and embeddings."""
    return RefusalError(404, f'model "{name}" not found, try pulling it first')


def cloud_model(what: str = "remote model is unavailable") -> RefusalError:
    """403 for names that would leave this machine; on /v1 in the native shape as well."""
    return RefusalError(403, f"ollama cloud is disabled: {what}", native=True)


def no_thinking(name: str) -> RefusalError:
    """400 for a model that does not think."""
    return RefusalError(400, f'"{name}" does not support thinking')


def input_too_long(status: int = 400) -> RefusalError:
    """400 for a prompt that does not fit when truncation was switched off; 500 on the oldest route."""
    return RefusalError(status, "the input length exceeds the context length")


def busy() -> RefusalError:
    """503 when too many wait; the two blanks are Ollama's."""
    return RefusalError(503, "server busy, please try again.  maximum pending requests exceeded")


def runner_stopped() -> RefusalError:
    """500 when the engine ended before the first token."""
    return RefusalError(
        500,
        "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
        "error, check ollama server logs for details",
    )


def embedding_lost(url: str, status: int) -> RefusalError:
    """What an embedding says when the engine at `url` ended in the middle of it."""
    return RefusalError(status, f'do embedding request: Post "{url}/embedding": EOF')


BROKEN = "an error was encountered while running the model: unexpected EOF"
"""What a stream says when the engine ended in the middle of it."""

_OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
_ANTHROPIC_TYPES = _OPENAI_TYPES | {403: "permission_error", 503: "overloaded_error"}


def native_error(text: str) -> bytes:
    """The body of an error under /api."""
    return gojson.encode({"error": text})


def openai_error(status: int, text: str) -> bytes:
    """The body of an error under /v1."""
    kind = _OPENAI_TYPES.get(status, "api_error")
    return gojson.encode({"error": {"message": text, "type": kind, "param": None, "code": None}})


def anthropic_error(status: int, text: str, number: str) -> bytes:
    """The body of an error of /v1/messages; `number` are 24 hex digits."""
    error = {"type": _ANTHROPIC_TYPES.get(status, "api_error"), "message": text}
    return gojson.encode({"type": "error", "error": error, "request_id": f"req_{number}"})


def error_answer(
    refusal: RefusalError, shape: Shape, *, streamed: bool = False, number: str = ""
) -> tuple[str, bytes]:
    """Content type and body of an error answer.

    Args:
        refusal: what went wrong.
        shape: of the route that was asked.
        streamed: whether the error takes the place of a stream's first piece.
        number: 24 hex digits for the id that `Shape.ANTHROPIC` has.
    """
    if shape is Shape.NATIVE or refusal.native:
        return (JSON_BARE if streamed else JSON_UTF8, native_error(refusal.text))
    if shape is Shape.OPENAI:
        body = openai_error(refusal.status, refusal.text)
    else:
        body = anthropic_error(refusal.status, refusal.text, number)
    return (JSON_UTF8, body) if refusal.early else (JSON_BARE, body + b"\n")
