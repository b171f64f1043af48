"""Ollama's `options`, checked and turned into the engine's sampling parameters.

Pure. Called by `ask` for the check and by `talk` for the engine request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from farm import limits
from farm.api import gojson
from farm.api.words import RefusalError
from farm.embedded import card

_INTEGERS = frozenset(
    {
        "num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch", "num_gpu",
        "main_gpu", "num_thread",
    }
)  # fmt: skip
_FLOATS = frozenset(
    {
        "top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty",
        "frequency_penalty",
    }
)  # fmt: skip
_BOOLEANS = frozenset({"use_mmap"})

_DEFAULTS: Mapping[str, Any] = {
    "num_keep": limits.KEEP_TOKENS,
    "seed": -1,
    "num_predict": -1,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_last_n": 64,
    "temperature": 0.8,
    "repeat_penalty": 1.1,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "stop": [],
}
"""Ollama's own; the engine's differ."""

_INT_MAX = 2**31 - 1
_RANGES = {"num_keep": (-1, _INT_MAX), "repeat_last_n": (-1, card.CONTEXT_MAX)}
"""What the engine takes: it refuses less, and with a far larger `repeat_last_n` it works for a minute."""

_ENGINE_NAMES = {"num_keep": "n_keep"}
_SAMPLING = frozenset(_DEFAULTS) - {"num_predict"}


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one request, defaults filled in.

    Attributes:
        sampling: the engine's parameters.
        predict: most tokens to generate; -1 for no limit of the client's.
        context: tokens of context the client asked for, or None.
        keep: tokens kept at the front when the prompt is cut.
    """

    sampling: dict[str, Any]
    predict: int
    context: int | None
    keep: int

    def window(self, slot_tokens: int) -> int:
        """The context that counts: what was asked for, never more than the slot has, never below 4."""
        return slot_tokens if self.context is None else max(4, min(self.context, slot_tokens))

    def check_finite(self) -> None:
        """Refuse numbers that are too large for 32 bits: Ollama finds them when it asks its runner.

        Raises:
            RefusalError: 500 in Ollama's words.
        """
        floats = (value for value in self.sampling.values() if isinstance(value, float))
        for value in map(gojson.to_float32, floats):
            if math.isinf(value):
                sign = "-" if value < 0 else "+"
                raise RefusalError(500, f"failed to marshal data: json: unsupported value: {sign}Inf")

    def predict_at_most(self, window: int, prompt_tokens: int, *, shift: bool) -> int:
        """Tokens to ask the engine for."""
        most = limits.PREDICT_PER_CONTEXT * window
        if not shift:
            # Ollama samples one token more than fits, without ever reading it back.
            most = max(1, window - prompt_tokens + 1)
        return min(self.predict, most) if self.predict > 0 else most


def parse(given: Mapping[str, Any]) -> Options:
    """Check and complete a request's options; unknown ones are ignored, as in Ollama.

    Raises:
        RefusalError: 500 for a wrong type, in Ollama's words.
    """
    values = dict(_DEFAULTS)
    for name, value in given.items():
        if value is not None:
            values[name] = _checked(name, value)
    sampling = {_ENGINE_NAMES.get(name, name): values[name] for name in _SAMPLING}
    context = values.get("num_ctx")
    return Options(sampling, values["num_predict"], context, max(0, values["num_keep"]))


def _checked(name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _INTEGERS and not number:
        raise RefusalError(500, f'option "{name}" must be of type integer', early=True)
    if name in _FLOATS and not number:
        raise RefusalError(500, f'option "{name}" must be of type float32', early=True)
    if name in _BOOLEANS and not isinstance(value, bool):
        raise RefusalError(500, f'option "{name}" must be of type boolean', early=True)
    if name == "stop":
        if not isinstance(value, list):
            raise RefusalError(500, 'option "stop" must be of type array', early=True)
        if not all(isinstance(item, str) for item in value):
            raise RefusalError(500, 'option "stop" must be of an array of strings', early=True)
        # An empty stop text would end every answer at once.
        return [item for item in value if item]
    if name not in _INTEGERS:
        return value
    least, most = _RANGES.get(name, (-_INT_MAX, _INT_MAX))
    whole = max(least, min(int(value), most))
    return most if name == "repeat_last_n" and whole < 0 else whole
