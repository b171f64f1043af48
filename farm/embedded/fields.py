"""Request bodies read as Go structs: names match in any case, types are checked, null is not set.

Pure. What a struct looks like is data (`structs`); the words of its errors are Go's, and the first of them
counts, unless a type reads itself: its error ends the reading. Called by whatever reads a body.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from farm.api import gojson
from farm.api.words import RefusalError

STRING = "string"
BOOL = "bool"
INT = "int"
INT32 = "int32"
UINT8 = "uint8"
FLOAT = "float64"
FLOAT32 = "float32"
ANY = "any"
RAW = "json.RawMessage"
"""Kept as it stands; unlike with `ANY`, numbers of any size pass."""
_RANGES = {INT: gojson.INT64, INT32: range(-(2**31), 2**31), UINT8: range(256)}


@dataclass(frozen=True, slots=True)
class Several:
    """A list: `kind` of its items and Go's name for the whole type."""

    kind: Kind
    go: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """An object with any keys: `kind` of its values and Go's name."""

    kind: Kind
    go: str


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct: Go's name, and field → kind."""

    go: str
    fields: Mapping[str, Kind]

    @property
    def name(self) -> str:
        """As errors about its fields name it; a struct without a name has none."""
        return "" if self.go.startswith("struct") else self.go.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Own:
    """A type that reads itself: takes the JSON value, raises `WrongError`."""

    read: Callable[[Any], Any]


Kind = str | Several | Mapped | Struct | Own
MAP = Mapped(ANY, "map[string]interface {}")


class WrongError(Exception):
    """A value that does not fit; `str` of it is Go's sentence.

    Args:
        said: a type's own words; empty for a plain mismatch, of which the rest tells.
        value: what stood in the JSON, as Go names it.
        go: the type it should have been.
        where: the struct it stands in; None outside of any.
        path: field names from the outermost struct on.
    """

    def __init__(
        self, said: str = "", *, value: str = "", go: str = "", where: str | None = None, path: str = ""
    ) -> None:
        super().__init__(said)
        self.said, self.value, self.go, self.where, self.path = said, value, go, where, path

    def __str__(self) -> str:
        """Go's sentence."""
        if self.said:
            return self.said
        into = "Go value" if self.where is None else f"Go struct field {self.where}.{self.path}"
        return f"json: cannot unmarshal {self.value} into {into} of type {self.go}"

    def within(self, where: str | None, path: str) -> WrongError:
        """The same, found by a type that read itself as the field `path` of the struct `where`."""
        if self.said or where is None:
            return self
        whole = f"{path}.{self.path}" if self.path else path
        return WrongError(value=self.value, go=self.go, where=where, path=whole)


def struct(body: bytes, kind: Struct, *, empty: str = "missing request body") -> dict[str, Any]:
    """Read a body as a struct.

    Args:
        body: the request's bytes.
        kind: what to read. Fields that are absent or null are absent in the result, whose names are in
            lower case.
        empty: the words for an empty body.

    Raises:
        RefusalError: 400 in Go's words.
    """
    try:
        value = gojson.decode(body)
    except gojson.JsonError as error:
        words = empty if str(error) == "EOF" else str(error)
        raise RefusalError(400, words, early=True) from None
    try:
        return {} if value is None else dict(unmarshal(value, kind))
    except WrongError as wrong:
        raise RefusalError(400, str(wrong), early=True) from None


def unmarshal(value: Any, kind: Kind) -> Any:
    """A JSON value read as `kind`.

    Raises:
        WrongError: it is none.
    """
    reader = _Reader()
    try:
        found = reader.read(value, kind, None, "")
    except RecursionError:
        raise WrongError("invalid character '{' exceeded max depth") from None
    if reader.saved is not None:
        raise reader.saved
    return found


class _Reader:
    """Reads one value through to its end, keeping the first mismatch, as Go does."""

    def __init__(self) -> None:
        self.saved: WrongError | None = None

    def read(self, value: Any, kind: Kind, where: str | None, path: str) -> Any:
        """The value as `kind`; None for null and for a mismatch."""
        if isinstance(kind, Own):
            try:
                return kind.read(value)
            except WrongError as wrong:
                raise wrong.within(where, path) from None
        if value is None or kind == RAW:
            return value
        if isinstance(kind, str):
            return self._scalar(value, kind, where, path)
        if not isinstance(value, list if isinstance(kind, Several) else dict):
            return self._save(_named(value), kind.go, where, path)
        return self._inside(value, kind, where, path)

    def _inside(
        self, value: list[Any] | dict[str, Any], kind: Several | Mapped | Struct, where: str | None, path: str
    ) -> Any:
        if isinstance(value, list):
            assert isinstance(kind, Several)  # noqa: S101 - `read` looked
            return [self.read(item, kind.kind, where, path) for item in value]
        if isinstance(kind, Struct):
            return self._struct(value, kind, path)
        return {key: self.read(item, kind.kind, where, path) for key, item in value.items()}

    def _struct(self, value: dict[str, Any], kind: Struct, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        by_name = {name.lower(): name for name in kind.fields}
        for key, item in value.items():
            name = by_name.get(key.lower())
            if name is None:
                continue
            told = self.read(item, kind.fields[name], kind.name, f"{path}.{name}" if path else name)
            if told is not None:
                found[name.lower()] = told
        return found

    def _scalar(self, value: Any, kind: str, where: str | None, path: str) -> Any:
        if kind == ANY:
            huge = infinite(value)
            return value if huge is None else self._save(f"number {huge.literal}", FLOAT, where, path)
        if _fits(value, kind):
            return value
        numeric = kind not in {STRING, BOOL} and isinstance(value, int | float) and value is not True
        literal = value.literal if isinstance(value, gojson.Number) else value
        told = f"number {literal}" if numeric and value is not False else _named(value)
        return self._save(told, kind, where, path)

    def _save(self, value: str, go: str, where: str | None, path: str) -> None:
        if self.saved is None:
            self.saved = WrongError(value=value, go=go, where=where, path=path)


def infinite(value: Any) -> gojson.Number | None:
    """A number in `value`, at any depth, that no 64-bit float holds."""
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, gojson.Number) and math.isinf(item):
            return item
        if isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
    return None


def _fits(value: Any, kind: str) -> bool:
    if kind == STRING:
        return isinstance(value, str)
    if kind == BOOL or isinstance(value, bool):
        return kind == BOOL and isinstance(value, bool)
    if kind in _RANGES:
        return isinstance(value, int) and value in _RANGES[kind]
    number = gojson.to_float32(value) if kind == FLOAT32 and _is_number(value) else value
    return _is_number(value) and not math.isinf(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _named(value: Any) -> str:
    """The kind of a JSON value, as Go's errors name it."""
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", list: "array", dict: "object"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "number")


def go_type(value: Any) -> str:
    """The type that a value read as `ANY` has in Go."""
    names = {
        type(None): "<nil>", bool: "bool", str: "string", list: "[]interface {}",
        dict: "map[string]interface {}",
    }  # fmt: skip
    return names.get(type(value), FLOAT)
