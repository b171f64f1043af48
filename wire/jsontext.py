"""JSON from strangers: one bounded way in, one exact way out.

Refuses what Python's parser lets through but JSON has not (NaN, Infinity), and turns its other surprises
(nesting, integers of thousands of digits) into one error. A text of 4 MB may hold a million small values that
take a quarter of a second to build; it is counted before it is parsed. Pure; used wherever a peer's or an
upstream's text is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from wire import limits

quote: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode
"""A string as JSON text, non-ASCII characters as they are."""
_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class JsonError(ValueError):
    """The text is not JSON that we accept."""


_STRINGS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""Also one that has no end, so that none is looked at twice."""


def _plain(text: str | bytes) -> str:
    """Text that may be parsed at little cost."""
    plain = text if isinstance(text, str) else text.decode()
    if _fits(plain):
        return plain
    # Perhaps it is prose, in few strings; without them only JSON's own signs are left.
    quotes = plain.count('"') - plain.count('\\"')
    if quotes <= 2 * limits.JSON_VALUES_MAX and _fits(_STRINGS.sub("", plain)):
        return plain
    raise JsonError(
        f"more than {limits.JSON_VALUES_MAX} values, or {limits.JSON_MEMBERS_MAX} members, lists or objects"
    )


def _fits(text: str) -> bool:
    return (
        text.count(",") <= limits.JSON_VALUES_MAX
        and text.count(":") <= limits.JSON_MEMBERS_MAX
        and text.count("[") + text.count("{") <= limits.JSON_MEMBERS_MAX
    )


def _refuse(constant: str) -> NoReturn:
    raise JsonError(f"{constant} is not JSON")


def loads(text: str | bytes) -> Any:
    """Parse; JsonError for anything that is not plain JSON of sane depth and number of values."""
    try:
        return json.loads(_plain(text), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise JsonError(str(error)[:120] or "nested too deep") from error


def pairs(text: str | bytes) -> list[tuple[str, Any]]:
    """The members of a JSON object in order, repeated names included; JsonError if it is no object."""

    class Members(list[tuple[str, Any]]):
        """One object's members."""

    try:
        value = json.loads(_plain(text), parse_constant=_refuse, object_pairs_hook=Members)
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
    return _COMPACT.encode(value)


def body(value: Any) -> bytes:
    """A peer's value as a request body: pure ASCII, so that even lone surrogates pass unharmed.

    Raises:
        JsonError: for infinities (1e999) and for nesting that cannot be written.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise JsonError(str(error)[:120] or "nested too deep") from error
