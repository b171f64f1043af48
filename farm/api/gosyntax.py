"""What is wrong with a text that is no JSON, in the words of Go's scanner.

Pure. Walks over the bytes once, only after the parser has failed; called by `gojson`.
"""

from __future__ import annotations

import re

from farm import limits

_VALUE = "looking for beginning of value"
_KEY = "looking for beginning of object key string"
_BLANK = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_DIGITS = re.compile(rb"[0-9]+")
_WHOLE = re.compile(rb"0|[1-9][0-9]*")
_HEX = re.compile(rb"[0-9a-fA-F]*")
_LITERALS = {b"t": b"true", b"f": b"false", b"n": b"null"}
_SHORT = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 0x27: "\\'", 0x5C: "\\\\"}
_UNPRINTABLE = frozenset([*range(0x80, 0xA1), 0xAD])


class _WrongError(Exception):
    """Go's words."""


def quoted(byte: int) -> str:
    """A byte as Go shows it in its errors: taken for a character of Latin-1."""
    if byte in _SHORT:
        return f"'{_SHORT[byte]}'"
    if byte < 0x20 or byte == 0x7F:
        return f"'\\x{byte:02x}'"
    return f"'\\u{byte:04x}'" if byte in _UNPRINTABLE else f"'{chr(byte)}'"


def why(data: bytes) -> str | None:
    """What is wrong with the first JSON value of `data`; None when it is well-formed."""
    try:
        _walk(data)
    except _WrongError as wrong:
        return str(wrong)
    return None


def _walk(data: bytes) -> None:
    """One step per token: a value, an opening, or what follows a value."""
    open_ones: list[int] = []
    at = _blank(data, 0)
    for _ in range(limits.JSON_WALK_MAX):
        first = _need(data, at)
        if first in b"[{":
            open_ones.append(first)
            if len(open_ones) > limits.JSON_DEPTH_MAX:
                raise _wrong(data, at, "exceeded max depth")
            at = _blank(data, at + 1)
            if _need(data, at) == first + 2:  # "]" and "}" stand two behind their openings
                open_ones.pop()
                at += 1
            else:
                at = _key(data, at) if first == ord("{") else at
                continue
        else:
            at = _scalar(data, at)
        at = _blank(data, at)
        while open_ones and _need(data, at) == open_ones[-1] + 2:
            open_ones.pop()
            at = _blank(data, at + 1)
        if not open_ones:
            return
        at = _next(data, at, open_ones[-1])
    raise _WrongError("invalid character somewhere in a long body")


def _next(data: bytes, at: int, container: int) -> int:
    """Behind the comma between two members: where the next value begins."""
    in_object = container == ord("{")
    if data[at : at + 1] != b",":
        raise _wrong(data, at, "after object key:value pair" if in_object else "after array element")
    at = _blank(data, at + 1)
    return _key(data, at) if in_object else at


def _key(data: bytes, at: int) -> int:
    """Behind `"key":`, where its value begins."""
    if _need(data, at) != ord('"'):
        raise _wrong(data, at, _KEY)
    at = _blank(data, _string(data, at + 1))
    if _need(data, at) != ord(":"):
        raise _wrong(data, at, "after object key")
    return _blank(data, at + 1)


def _scalar(data: bytes, at: int) -> int:
    first = data[at : at + 1]
    if first == b'"':
        return _string(data, at + 1)
    if first in _LITERALS:
        return _literal(data, at, _LITERALS[first])
    if first in b"-0123456789":
        return _number(data, at)
    raise _wrong(data, at, _VALUE)


def _literal(data: bytes, at: int, word: bytes) -> int:
    for offset, wanted in enumerate(word):
        if _need(data, at + offset) != wanted:
            raise _wrong(data, at + offset, f"in literal {word.decode()} (expecting '{chr(wanted)}')")
    return at + len(word)


def _number(data: bytes, at: int) -> int:
    at += data[at : at + 1] == b"-"
    at = _some(data, at, _WHOLE, "in numeric literal")
    if data[at : at + 1] == b".":
        at = _some(data, at + 1, _DIGITS, "after decimal point in numeric literal")
    if data[at : at + 1] in {b"e", b"E"}:
        at += 1 + (data[at + 1 : at + 2] in {b"+", b"-"})
        at = _some(data, at, _DIGITS, "in exponent of numeric literal")
    return at


def _some(data: bytes, at: int, wanted: re.Pattern[bytes], where: str) -> int:
    found = wanted.match(data, at)
    if found is None:
        _need(data, at)
        raise _wrong(data, at, where)
    return found.end()


def _string(data: bytes, at: int) -> int:
    """Behind the closing quote."""
    found = _PLAIN.match(data, at)
    at = found.end() if found else at
    byte = _need(data, at)
    if byte == ord('"'):
        return at + 1
    if byte != ord("\\"):
        raise _wrong(data, at, "in string literal")
    if _need(data, at + 1) != ord("u"):
        raise _wrong(data, at + 1, "in string escape code")
    digits = _HEX.match(data, at + 2)
    at = digits.end() if digits else at
    _need(data, at)
    raise _wrong(data, at, "in \\u hexadecimal character escape")


def _blank(data: bytes, at: int) -> int:
    found = _BLANK.match(data, at)
    return found.end() if found else at


def _need(data: bytes, at: int) -> int:
    if at >= len(data):
        raise _WrongError("unexpected EOF")
    return data[at]


def _wrong(data: bytes, at: int, where: str) -> _WrongError:
    return _WrongError(f"invalid character {quoted(data[at])} {where}")
