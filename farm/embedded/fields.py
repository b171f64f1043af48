"""Request bodies read as Go structs: names match in any case, types are checked, null is not set.

Pure. A spec is a dict from field to kind; called by `ask`, `openai` and `app`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from farm.embedded import gojson
from farm.embedded.words import RefusalError

STRING = "string"
BOOL = "bool"
INT = "int"
FLOAT = "float64"
MAP = "map[string]interface {}"
ANY = "any"


@dataclass(frozen=True, slots=True)
class Several:
    """A list: `kind` of its items and Go's name for the whole type."""

    kind: Kind
    go: str


Spec = Mapping[str, "Kind"]
Kind = str | Several | Spec


def struct(body: bytes, name: str, spec: Spec, *, empty: str = "missing request body") -> dict[str, Any]:
    """Read a body as the struct `name`.

    Args:
        body: the request's bytes.
        name: Go's name, for the errors: "api.GenerateRequest".
        spec: field → kind. Fields that are absent or null are absent in the result.
        empty: the words for an empty body.

    Raises:
        RefusalError: 400 in Go's words.
    """
    try:
        value = gojson.decode(body)
    except gojson.JsonError as error:
        words = empty if str(error) == "EOF" else str(error)
        raise RefusalError(400, words, early=True) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        words = f"json: cannot unmarshal {_json_type(value)} into Go value of type {name}"
        raise RefusalError(400, words, early=True)
    return _struct(value, spec, name.rpartition(".")[2])


def _struct(value: dict[str, Any], spec: Spec, where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        low = key.lower()
        if low in spec and item is not None:
            found[low] = _typed(item, spec[low], f"{where}.{low}")
    return found


def _typed(value: Any, kind: Kind, where: str) -> Any:
    if kind == ANY:
        return value
    if isinstance(kind, Several):
        if not isinstance(value, list):
            raise _mismatch(value, kind.go, where)
        return [_item(item, kind, where) for item in value]
    if isinstance(kind, str):
        if not _is(value, kind):
            raise _mismatch(value, kind, where)
        return value
    if not isinstance(value, dict):
        raise _mismatch(value, "struct", where)
    return _struct(value, kind, where)


def _item(value: Any, kind: Several, where: str) -> Any:
    if not isinstance(kind.kind, str | Several) and not isinstance(value, dict):
        raise _mismatch(value, kind.go.removeprefix("[]"), where)
    return _typed(value, kind.kind, where)


def _is(value: Any, kind: str) -> bool:
    if kind in {INT, FLOAT}:
        number = isinstance(value, int) and not isinstance(value, bool)
        return number or (kind == FLOAT and isinstance(value, float))
    wanted = {STRING: str, BOOL: bool, MAP: dict}[kind]
    return isinstance(value, wanted)


def _mismatch(value: Any, kind: str, where: str) -> RefusalError:
    words = f"json: cannot unmarshal {_json_type(value)} into Go struct field {where} of type {kind}"
    return RefusalError(400, words, early=True)


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, float):
        return f"number {value!r}"
    names = {int: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]
