"""Refusals in Ollama's own words, and the two shapes they take on the wire.

Pure. Raised by everything that reads a request, written out by `app` and `talk`.
"""

from __future__ import annotations

from farm.embedded import gojson

JSON_UTF8 = "application/json; charset=utf-8"
JSON_BARE = "application/json"
UNSUPPORTED = "is not built into the embedded engine"


class RefusalError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
        text: the words, as Ollama has them.
        early: found before the request was accepted; such errors are framed a little differently.
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


def cloud_model() -> RefusalError:
    """403 for names that would leave this machine; on /v1 in the native shape as well."""
    return RefusalError(403, "ollama cloud is disabled: remote model is unavailable", native=True)


def input_too_long() -> RefusalError:
    """400 for a prompt that does not fit when truncation was switched off."""
    return RefusalError(400, "the input length exceeds the context length")


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


BROKEN = "an error was encountered while running the model: unexpected EOF"
"""What a stream says when the engine ended in the middle of it."""

_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def native_error(text: str) -> bytes:
    """The body of an error under /api."""
    return gojson.encode({"error": text})


def openai_error(status: int, text: str) -> bytes:
    """The body of an error under /v1."""
    kind = _TYPES.get(status, "api_error")
    return gojson.encode({"error": {"message": text, "type": kind, "param": None, "code": None}})


def error_answer(refusal: RefusalError, *, openai: bool, streamed: bool = False) -> tuple[str, bytes]:
    """Content type and body of an error answer.

    Args:
        refusal: what went wrong.
        openai: whether it was asked under /v1.
        streamed: whether a stream was asked for and the error came after the request was accepted.
    """
    if openai and not refusal.native:
        body = openai_error(refusal.status, refusal.text)
        return (JSON_UTF8, body) if refusal.early else (JSON_BARE, body + b"\n")
    return (JSON_BARE if streamed and not refusal.early else JSON_UTF8, native_error(refusal.text))
