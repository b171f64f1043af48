"""The front of a GGUF file: its lists of words and its tensors, which `show` tells.

Pure: reads a buffer, such as a mapped file. The format is that of ggml, version 3. Called by `catalogue`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TENSOR_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 8: "Q8_0"}


class Buffer(Protocol):
    """Bytes, or what can be cut like them."""

    def __getitem__(self, part: slice, /) -> bytes:
        """A part of it."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What stands in front of the weights.

    Attributes:
        lists: the values that are lists, by name.
        tensors: name, type and shape of each tensor, in the order of the file.
    """

    lists: Mapping[str, list[Any]]
    tensors: tuple[dict[str, Any], ...]


def read_header(data: Buffer) -> GgufHeader:
    """Read the header.

    Raises:
        ValueError: this is no GGUF file, or one cut short.
    """
    cursor = _Cursor(data)
    if cursor.take(len(_MAGIC)) != _MAGIC:
        raise ValueError("no GGUF file")
    cursor.number("<I")  # the version: what follows is the same in 2 and 3
    tensors, values = cursor.number("<Q"), cursor.number("<Q")
    lists: dict[str, list[Any]] = {}
    for _ in range(values):
        name = cursor.text()
        value = cursor.value(cursor.number("<I"))
        if isinstance(value, list):
            lists[name] = value
    return GgufHeader(lists, tuple(cursor.tensor() for _ in range(tensors)))


class _Cursor:
    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise ValueError("the file is cut short")
        self._at += size
        return part

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_SCALARS[kind])
        inner, size = self.number("<I"), self.number("<Q")
        if inner in _SCALARS:
            form = _SCALARS[inner]
            return list(struct.unpack(f"<{size}{form[1]}", self.take(size * struct.calcsize(form))))
        return [self.value(inner) for _ in range(size)]

    def tensor(self) -> dict[str, Any]:
        name = self.text()
        shape = [self.number("<Q") for _ in range(self.number("<I"))]
        kind = self.number("<I")
        self.number("<Q")  # where its numbers begin
        return {"name": name, "type": _TENSOR_TYPES.get(kind, f"unknown({kind})"), "shape": shape}
