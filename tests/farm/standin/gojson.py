"""JSON as Go writes and reads it, as far as the recordings show it. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_KIND = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}

_GO = {str: "string", bool: "bool", int: "int", dict: "map[string]interface {}", list: "[]api.Message"}


class Unread(Exception):
    """A body that is no such request: Go's words."""


def written(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return re.sub("[<>&\u2028\u2029]", lambda found: _ESCAPED[found[0]], text)


def read(body: bytes, struct: str, types: dict[str, type]) -> dict[str, Any]:
    """The first JSON value, an object; keys match in any case, the last one counts. `types` names the fields
    whose type is looked at."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise Unread("EOF")
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        raise Unread(_words(body, text, error.pos)) from None
    if not isinstance(value, dict):
        raise Unread(f"json: cannot unmarshal {_kind(value)} into Go value of type {struct}")
    asked = {key.lower(): told for key, told in value.items() if told is not None}
    for name, wanted in types.items():
        if name in asked and not _is(asked[name], wanted):
            field = f"{struct.rpartition('.')[2]}.{name}"
            kind = _kind(asked[name])
            raise Unread(f"json: cannot unmarshal {kind} into Go struct field {field} of type {_GO[wanted]}")
    return asked


def _is(value: Any, wanted: type) -> bool:
    return isinstance(value, wanted) and not (isinstance(value, bool) and wanted is int)


def _kind(value: Any) -> str:
    return _KIND.get(type(value), "null")


def _words(body: bytes, text: str, at: int) -> str:
    if body[:1] == b"\xef" or body[:1] == b"\x1f":
        first = "ï" if body[:1] == b"\xef" else "\\x1f"
        return f"invalid character '{first}' looking for beginning of value"
    rest = text[at:].lstrip()
    if not rest:
        return "unexpected EOF"
    before = text[:at].rstrip()[-1:]
    where = "object key string" if before in {"{", ","} or text[:1] == "{" == before else "value"
    return f"invalid character '{rest[0]}' looking for beginning of {where}"
