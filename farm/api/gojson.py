"""JSON as Go's encoding/json reads and writes it, since clients compare bytes and people read its errors.

Pure. Called by every module of the adapter that touches a body.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import struct
from json.encoder import encode_basestring
from typing import Any, NoReturn, Self

from farm.api import gosyntax


class JsonError(ValueError):
    """A body that is no JSON; the text is Go's."""


class Number(float):
    """A number that is no 64-bit integer. `literal` is how it was written: Go's errors show it."""

    literal: str

    def __new__(cls, literal: str) -> Self:
        """Read a JSON number; one beyond 64-bit floats becomes infinite."""
        made = super().__new__(cls, literal)
        made.literal = literal
        return made


INT64 = range(-(2**63), 2**63)
_INT64_CHARACTERS = 20
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
_BLANK = " \t\r\n"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# Whole pairs first, then halves of one, then any other escape: a backslash may be escaped itself.
_ESCAPE = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)


def encode(value: object) -> bytes:
    """Compact JSON, UTF-8, `<`, `>` and `&` escaped, floats as Go writes them."""
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), _text(value)).encode()


def decode(body: bytes) -> Any:
    """The first JSON value of a body; what stands behind it is ignored, bad UTF-8 becomes U+FFFD.

    Numbers that are no 64-bit integers become `Number`.

    Raises:
        JsonError: "EOF" for an empty body, else Go's words for what is wrong.
    """
    text = body.decode("utf-8", _ONE_PER_BYTE)
    start = len(text) - len(text.lstrip(_BLANK))
    if start == len(text):
        raise JsonError("EOF")
    if _SURROGATE.search(text):
        text = _ESCAPE.sub(lambda found: "\\ufffd" if found[2] else found[0], text)
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except (RecursionError, ValueError):
        # Well-formed for Go, and still too deep for this parser.
        raise JsonError(gosyntax.why(body) or "invalid character '[' exceeded max depth") from None
    return value


def quoted(text: str) -> str:
    """A text as Go's %q shows it."""
    return json.dumps(text, ensure_ascii=False)


def floats(value: float) -> str:
    """A 64-bit number as Go writes it."""
    return _decimal(repr(float(value)), value)


def float32(value: float) -> str:
    """The shortest decimal that is this number in 32 bits, written as Go writes it."""
    wanted = to_float32(value)
    # Six digits never lie, nine always suffice.
    digits = next(n for n in range(6, 10) if to_float32(float(f"{wanted:.{n}g}")) == wanted)
    return _decimal(f"{wanted:.{digits}g}", wanted)


def to_float32(value: float) -> float:
    """The number rounded to 32 bits; infinite when it does not fit."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _decimal(shortest: str, value: float) -> str:
    """Shortest digits in Go's notation: an exponent below 1e-6 and from 1e21 on."""
    sign = "-" if shortest.startswith("-") else ""
    mantissa, _, exponent = shortest.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).rstrip("0").lstrip("0") or "0"
    if not value:
        return f"{sign}0"
    # The point stands before the first digit times ten to the power of `point`.
    leading = len(whole + fraction) - len((whole + fraction).lstrip("0"))
    point = len(whole) - leading + int(exponent or 0)
    if 1e-6 <= abs(value) < 1e21:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        padded = digits.ljust(point, "0")
        return sign + padded[:point] + (f".{padded[point:]}" if len(padded) > point else "")
    power = point - 1
    tail = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{sign}{tail}e{'-' if power < 0 else '+'}{abs(power):0{1 if power < 0 else 2}d}"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{','.join(f'{encode_basestring(key)}:{_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        if all(type(item) is int for item in value):  # tokens, thousands of them
            return json.dumps(value, separators=(",", ":"))
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, Number):
        return value.literal  # told back as it came
    return floats(value) if isinstance(value, float) else json.dumps(value)


def _one_per_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - registered for decoding
    return "\ufffd" * (error.end - error.start), error.end


_ONE_PER_BYTE = "one-replacement-per-byte"
codecs.register_error(_ONE_PER_BYTE, _one_per_byte)


def _integer(literal: str) -> int | Number:
    # Python refuses to read integers of thousands of digits at all.
    value = int(literal) if len(literal) <= _INT64_CHARACTERS else None
    return value if value is not None and value in INT64 else Number(literal)


def _refuse_constant(name: str) -> NoReturn:
    # Python's parser takes NaN and Infinity, Go's takes neither.
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer, parse_float=Number)
