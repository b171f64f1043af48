"""A run's result, and its JSON: written from these classes and read back into them.

The names in the file are the names here; docs/farm-bench.md lists them. No prompt and no key is in it.
Pure; called by `run`, `cli`, `comparison` and `plot`.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from farm.bench.figures import Figures
from farm.bench.plan import Api, Endpoint, Plan
from wire import jsontext

SCHEMA: Final = "farm-bench/1"


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom the run asked.

    Attributes:
        url: base URL.
        api, endpoint: the language and the kind of request.
        version: the server's own word, None if it tells none.
        model: as it was asked for.
    """

    url: str
    api: Api
    endpoint: Endpoint
    version: str | None
    model: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What every step had in common.

    Attributes:
        requests, duration_s: one of them bounds a step.
        max_tokens: per answer; 0 left it to the server.
        seed: of sampling and arrivals.
        warmup: requests before the first step.
        timeout_s: for one request.
        prompts: how many there were.
        prompts_sha256: over all of them; equal digests, equal prompts.
    """

    requests: int | None
    duration_s: float | None
    max_tokens: int
    seed: int
    warmup: int
    timeout_s: float
    prompts: int
    prompts_sha256: str


@dataclass(frozen=True, slots=True)
class Result:
    """One run.

    Attributes:
        schema: SCHEMA.
        started_at: UTC, ISO 8601.
        interrupted: a signal ended it early.
        client: versions of what made the load, and the cores it had.
        target: whom it asked.
        settings: what every step had in common.
        steps: the figures, in the order they were measured.
    """

    schema: str
    started_at: str
    interrupted: bool
    client: dict[str, str]
    target: Asked
    settings: Settings
    steps: tuple[Figures, ...]


def settings(plan: Plan) -> Settings:
    """The settings of a plan, as they are recorded."""
    return Settings(
        requests=plan.bounds.requests,
        duration_s=plan.bounds.duration_s,
        max_tokens=plan.max_tokens,
        seed=plan.seed,
        warmup=plan.warmup,
        timeout_s=plan.timeout_s,
        prompts=len(plan.prompts),
        prompts_sha256=_digest(plan.prompts),
    )


def _digest(prompts: Sequence[str]) -> str:
    # As JSON, so that two prompts never read like one; ASCII, so that lone surrogates do no harm.
    return hashlib.sha256(json.dumps(prompts).encode()).hexdigest()


def to_json(result: Result) -> str:
    """The file's text."""
    return json.dumps(dataclasses.asdict(result), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str | bytes) -> Result:
    """Read a file's text.

    Raises:
        ValueError: a sentence that says what is wrong; names the place in the file.
    """
    value = jsontext.loads(text)
    if not isinstance(value, dict) or "schema" not in value:
        raise ValueError("is no result of `farm bench --json`")
    if value["schema"] != SCHEMA:
        raise ValueError(f"has schema {value['schema']!r}; this program reads {SCHEMA!r}")
    result: Result = _read(Result, value, "the file")
    return result


def _read(kind: Any, value: Any, place: str) -> Any:
    """A value of a type out of JSON: classes by their fields, unions by the first that fits."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        return None if value is None else _read(inner[0], value, place)
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, _of(dict, value, place), place)
    if origin is tuple:
        items = enumerate(_of(list, value, place))
        return tuple(_read(inner[0], item, f"{place}[{index}]") for index, item in items)
    if origin is dict:
        members = _of(dict, value, place).items()
        return {name: _read(inner[1], item, f"{place}.{name}") for name, item in members}
    if issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    return _of(kind, value, place)


def _read_fields(kind: Any, value: dict[str, Any], place: str) -> Any:
    hints = typing.get_type_hints(kind)
    lacking = [name for name in hints if name not in value]
    if lacking:
        raise ValueError(f"{place} lacks {lacking[0]!r}")
    return kind(**{name: _read(hint, value[name], f"{place}.{name}") for name, hint in hints.items()})


def _of(kind: Any, value: Any, place: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"{place} is not of type {kind.__name__}")
    return value
