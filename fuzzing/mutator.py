"""Bytes that are nearly right: examples cut, doubled, spliced, with what readers stumble over. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

SPICES = (
    b"\x00", b"\xff", b"\r\n", b"\n", b"\r", b"\t", b" ", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":",
    b"%2e", b"%00", b"//", b"@", b"..", b"?", b"#", b"null", b"NaN", b"1e999", b"-0", b"9" * 40, b"\\u0000",
    b"\\ud800", "é".encode(), "\u2028".encode(), "．".encode(), "\U0001f600".encode(), b"0\r\n\r\n",
    b"[" * 50, b'{"a":' * 50, b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"\x0a\xff\xff\xff\xff\x0f",
)  # fmt: skip


def mutated(dice: random.Random, examples: Sequence[bytes]) -> bytes:
    """One of the examples after a few accidents."""
    data = dice.choice(examples)
    for _ in range(dice.choice((0, 1, 1, 2, 3, 8))):
        data = dice.choice(_ACCIDENTS)(dice, data, examples)
    return data


def _two(dice: random.Random, data: bytes) -> tuple[int, int]:
    one, other = dice.randint(0, len(data)), dice.randint(0, len(data))
    return min(one, other), max(one, other)


def _cut(dice: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _two(dice, data)
    return data[:start] + data[end:]


def _doubled(dice: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _two(dice, data)
    return data[:end] + data[start : start + 2000] + data[end:]


def _flipped(dice: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]


def _spiced(dice: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = dice.randint(0, len(data))
    return data[:at] + dice.choice(SPICES) + data[at:]


def _spliced(dice: random.Random, data: bytes, examples: Sequence[bytes]) -> bytes:
    other = dice.choice(examples)
    return data[: dice.randint(0, len(data))] + other[dice.randint(0, len(other)) :]


def _swapped(dice: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _two(dice, data)
    middle = (start + end) // 2
    return data[:start] + data[middle:end] + data[start:middle] + data[end:]


_ACCIDENTS: tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...] = (
    _cut, _doubled, _flipped, _flipped, _spiced, _spiced, _spliced, _swapped,
)  # fmt: skip
