"""JSON as Go's encoding/json reads and writes it, since clients compare bytes and people read its errors.

Pure. Called by every module of the adapter that touches a body.
"""

from __future__ import annotations

import json
import re
import struct
from typing import Any, NoReturn


class JsonError(ValueError):
    """A body that is no JSON; the text is Go's."""


_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
_BLANK = " \t\r\n"
_SURROGATES = re.compile("[\ud800-\udfff]")

# What Python's parser missed → where Go's says it was looking.
_LOOKING = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Expecting value": "looking for beginning of value",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}


def encode(value: object) -> bytes:
    """Compact JSON, UTF-8, `<`, `>` and `&` escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text).encode()


def decode(body: bytes) -> Any:
    """The first JSON value of a body; what stands behind it is ignored, bad UTF-8 becomes U+FFFD.

    Raises:
        JsonError: "EOF" for an empty body, else Go's words for what is wrong.
    """
    text = body.decode("utf-8", "replace")
    start = len(text) - len(text.lstrip(_BLANK))
    if start == len(text):
        raise JsonError("EOF")
    if body.startswith(b"\xef\xbb\xbf"):
        raise JsonError("invalid character 'ï' looking for beginning of value")
    if (first := body[0]) < 0x20 and chr(first) not in _BLANK:
        raise JsonError(f"invalid character '\\x{first:02x}' looking for beginning of value")
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise JsonError("exceeded max depth") from None
    except json.JSONDecodeError as error:
        raise JsonError(_go_words(text, error)) from None
    return _mend(value) if "\\ud" in text.lower() else value


def float32(value: float) -> str:
    """The shortest decimal that is this number in 32 bits, written as Go writes it."""
    wanted = to_float32(value)
    # Six digits never lie, nine always suffice.
    digits = next(n for n in range(6, 10) if to_float32(float(f"{wanted:.{n}g}")) == wanted)
    text = f"{wanted:.{digits}g}"
    if wanted and not 1e-6 <= abs(wanted) < 1e21:
        mantissa, _, exponent = f"{wanted:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0').zfill(1 if exponent[0] == '-' else 2)}"
    return f"{float(text):.20f}".rstrip("0").rstrip(".") if "e" in text else text


def to_float32(value: float) -> float:
    """The number rounded to 32 bits."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _refuse_constant(name: str) -> NoReturn:
    # Python's parser takes NaN and Infinity, Go's takes neither.
    raise JsonError(f"invalid character '{name[0]}' looking for beginning of value")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _go_words(text: str, error: json.JSONDecodeError) -> str:
    position = error.pos
    if error.msg.startswith("Illegal trailing comma"):
        position += 1
    while position < len(text) and text[position] in _BLANK:
        position += 1
    if position >= len(text) or error.msg.startswith("Unterminated string"):
        return "unexpected EOF"
    known = (words for start, words in _LOOKING.items() if error.msg.startswith(start))
    return f"invalid character {text[position]!r} {next(known, 'looking for beginning of value')}"


def _mend(value: Any) -> Any:
    """Half a surrogate pair is no character: U+FFFD, as Go has it."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if isinstance(value, dict):
        return {_mend(key): _mend(item) for key, item in value.items()}
    return value
