"""Embeddings: requests of /api/embed, /api/embeddings and /v1/embeddings, vectors, and their bodies.

Pure. Called by `app`; the vectors come from the engine, not normalised.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from farm.api import gojson
from farm.api.words import RefusalError, unknown_model, unknown_model_pull
from farm.embedded import card, fields, structs
from farm.embedded.fields import ANY, INT, STRING, Struct

_OPENAI = Struct(
    "openai.EmbedRequest", {"input": ANY, "model": STRING, "dimensions": INT, "encoding_format": STRING}
)
_FORMATS = ("float", "base64")


@dataclass(frozen=True, slots=True)
class EmbedAsk:
    """What to embed.

    Attributes:
        model: the name as asked.
        texts: one vector each; empty to only load the model.
        truncate: cut long texts instead of refusing them.
        dimensions: length of the vectors, 0 for all.
        options: Ollama options as given.
        keep_alive: as in `Ask`.
        base64: /v1 only: vectors as base64 of little-endian 32-bit floats.
    """

    model: str
    texts: tuple[str, ...]
    truncate: bool = True
    dimensions: int = 0
    options: dict[str, Any] | None = None
    keep_alive: float | None = None
    base64: bool = False


def read_embed(body: bytes) -> EmbedAsk:
    """The body of /api/embed. Raises RefusalError in Ollama's words."""
    given = fields.struct(body, structs.EMBED)
    return _embed(given, truncate=given.get("truncate", True))


def read_embeddings(body: bytes) -> EmbedAsk:
    """The body of the old /api/embeddings. Raises RefusalError in Ollama's words."""
    given = fields.struct(body, structs.EMBEDDINGS)
    name = given.get("model", "")
    if not card.known(card.check(name, empty=RefusalError(400, "model is required"))):
        raise unknown_model_pull(name)
    texts = (given["prompt"],) if given.get("prompt") else ()
    return EmbedAsk(
        name, texts, truncate=False, options=given.get("options"), keep_alive=given.get("keep_alive")
    )


def read_openai(body: bytes) -> EmbedAsk:
    """The body of /v1/embeddings. Raises RefusalError in Ollama's words."""
    given = fields.struct(body, _OPENAI, empty="EOF")
    form = given.get("encoding_format", "")
    if form and form.lower() not in _FORMATS:
        why = f"Invalid value for 'encoding_format' = {form}. Supported values: ['float', 'base64']."
        raise RefusalError(400, why, early=True)
    value = given.get("input")
    if value is None or value == []:
        raise RefusalError(400, "invalid input", early=True)
    wanted = given | {"input": [""] if value == "" else value}
    return _embed(wanted, truncate=True, base64=form.lower() == "base64")


def _embed(given: dict[str, Any], *, truncate: bool, base64: bool = False) -> EmbedAsk:
    name = given.get("model", "")
    base = card.check(name, empty=unknown_model(name))
    value = given.get("input", [])
    texts = ([value] if value else []) if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RefusalError(400, "invalid input type")
    if not card.known(base):
        raise unknown_model_pull(name)
    dimensions = max(0, given.get("dimensions", 0))
    return EmbedAsk(
        name, tuple(texts), truncate, dimensions, given.get("options"), given.get("keep_alive"), base64
    )


_BOS, _EOS = 1, 2


def cut_to_fit(tokens: list[int], window: int) -> list[int]:
    """A text's tokens, cut when they are more than `window`; Ollama keeps room for marks that never come."""
    room = window - (tokens[0] != _BOS) - (tokens[-1] != _EOS)
    return tokens if len(tokens) <= window else tokens[:room]


def normalised(vector: Sequence[float], dimensions: int = 0) -> list[float]:
    """The vector with length 1, cut to its first `dimensions` numbers before (0: all)."""
    cut = vector[:dimensions] if dimensions else vector
    length = math.sqrt(math.fsum(number * number for number in cut)) or 1.0
    return [gojson.to_float32(number / length) for number in cut]


def embed_body(
    model: str, vectors: Sequence[Sequence[float]], *, total_ns: int, load_ns: int, tokens: int
) -> bytes:
    """The body of /api/embed: numbers with the digits that 32 bits need."""
    rows = ",".join(_row(vector) for vector in vectors)
    numbers = {"total_duration": total_ns, "load_duration": load_ns, "prompt_eval_count": tokens}
    told = {name: number for name, number in numbers.items() if number and vectors}
    tail = gojson.encode(told)[1:] if told else b"}"
    comma = "," if told else ""
    return f'{{"model":{gojson.encode(model).decode()},"embeddings":[{rows}]{comma}'.encode() + tail


def embeddings_body(vector: Sequence[float]) -> bytes:
    """The body of /api/embeddings: 64-bit numbers, not normalised."""
    return gojson.encode({"embedding": list(vector)})


def openai_body(ask: EmbedAsk, vectors: Sequence[Sequence[float]], tokens: int) -> bytes:
    """The body of /v1/embeddings."""
    write = _packed if ask.base64 else _row
    rows = ",".join(
        f'{{"object":"embedding","embedding":{write(vector)},"index":{index}}}'
        for index, vector in enumerate(vectors)
    )
    usage = gojson.encode({"model": ask.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
    return f'{{"object":"list","data":[{rows}],'.encode() + usage[1:] + b"\n"


def _row(vector: Sequence[float]) -> str:
    return f"[{','.join(map(gojson.float32, vector))}]"


def _packed(vector: Sequence[float]) -> str:
    return f'"{base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()}"'
