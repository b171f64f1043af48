"""What the body of an inference request names: models, and options that load one anew or pin it in memory.

Names are matched in any case and every place counts, since Ollama decides between them in its own way.
Pure; called by `policy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wire import jsontext
from wire.errors import bad_request

LOADING = frozenset(
    {
        "num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "use_mlock", "num_thread", "numa",
        "low_vram", "f16_kv", "vocab_only",
    }
)  # fmt: skip
"""Ollama's options whose change ends the runner and loads the model again."""
_PINNING = "keep_alive"


@dataclass(frozen=True, slots=True)
class Named:
    """What was found.

    Attributes:
        models: every name.
        options: those of LOADING, and `keep_alive`.
    """

    models: tuple[str, ...]
    options: tuple[str, ...]


def read(body: bytes) -> Named:
    """Look through a body.

    Raises:
        PeerFault: "bad_request": it is not one JSON object.
    """
    try:
        pairs = jsontext.pairs(body)
    except jsontext.JsonError as error:
        raise bad_request("the body of an inference request must be one JSON object") from error
    models = tuple(
        value for key, value in pairs if key.lower() in {"model", "name"} and isinstance(value, str)
    )
    given = [key.lower() for key, value in pairs if key.lower() == _PINNING and value is not None]
    for key, value in pairs:
        if key.lower() == "options":
            given += [name for name in _members(value) if name in LOADING]
    return Named(models, tuple(given))


def _members(value: Any) -> list[str]:
    """The names in an object as `jsontext.pairs` gives it."""
    return [name.lower() for name, _ in value] if isinstance(value, list) and _is_object(value) else []


def _is_object(value: list[Any]) -> bool:
    return all(isinstance(one, tuple) and len(one) == 2 for one in value)
