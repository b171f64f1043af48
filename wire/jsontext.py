"""JSON from strangers: one bounded way in, one exact way out.

Refuses what Python's parser lets through but JSON has not (NaN, Infinity), and turns its other surprises
(nesting, integers of thousands of digits) into one error. Pure; used wherever a peer's or an upstream's
text is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

quote: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode
"""A string as JSON text, non-ASCII characters as they are."""


class JsonError(ValueError):
    """The text is not JSON that we accept."""


def _refuse(constant: str) -> NoReturn:
    raise JsonError(f"{constant} is not JSON")


def loads(text: str | bytes) -> Any:
    """Parse; JsonError for anything that is not plain JSON of sane depth."""
    try:
        plain = text if isinstance(text, str) else text.decode()
        return json.loads(plain, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise JsonError(str(error)[:120] or "nested too deep") from error


def pairs(text: str | bytes) -> list[tuple[str, Any]]:
    """The members of a JSON object in order, repeated names included; JsonError if it is no object."""

    class Members(list[tuple[str, Any]]):
        """One object's members."""

    try:
        plain = text if isinstance(text, str) else text.decode()
        value = json.loads(plain, parse_constant=_refuse, object_pairs_hook=Members)
    except (ValueError, RecursionError) as error:
        raise JsonError(str(error)[:120] or "nested too deep") from error
    if not isinstance(value, Members):
        raise JsonError("not an object")
    return value


def dumps(value: Any) -> str:
    """Compact JSON text with non-ASCII characters as they are.

    The caller vouches for what is in it: ValueError for an infinity, and a lone surrogate would fail when
    the text is encoded.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def body(value: Any) -> bytes:
    """A peer's value as a request body: pure ASCII, so that even lone surrogates pass unharmed.

    Raises:
        JsonError: for infinities (1e999) and for nesting that cannot be written.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise JsonError(str(error)[:120] or "nested too deep") from error
