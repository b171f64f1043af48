"""A peer's `json`, `body_b64` or `data` as the bytes of a request. Pure; called by `policy`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from wire import jsontext
from wire.errors import bad_request


def decode(req: dict[str, Any], uploaded: bytes | None = None) -> tuple[bytes | None, bool]:
    """(body, whether it is JSON of ours); (None, False) if the request has none.

    Args:
        req: what the peer said.
        uploaded: the body that came in pieces beside it.

    Raises:
        PeerFault: "bad_request" if more than one is given, or one that cannot be sent.
    """
    given = [name for name in _DECODERS if req.get(name) is not None]
    if len(given) > 1:
        raise bad_request(f"only one of json, body_b64 and data may be given, not {' and '.join(given)}")
    if given and uploaded is not None:
        raise bad_request(f"{given[0]} must not be given beside an upload")
    if uploaded is not None:
        return uploaded, False
    return _DECODERS[given[0]](req[given[0]]) if given else (None, False)


def _json(value: Any) -> tuple[bytes, bool]:
    try:
        return jsontext.body(value), True
    except jsontext.JsonError as error:
        raise bad_request(f"json cannot be sent on: {error}") from error


def _base64(value: Any) -> tuple[bytes, bool]:
    if not isinstance(value, str):
        raise bad_request("body_b64 must be a string")
    try:
        return base64.b64decode(value, validate=True), False
    except (binascii.Error, ValueError) as error:
        raise bad_request("body_b64 is not base64") from error


def _data(value: Any) -> tuple[bytes, bool]:
    """Existing peers send text here, some an object."""
    if isinstance(value, dict | list):
        return _json(value)
    if not isinstance(value, str):
        raise bad_request("data must be a string")
    try:
        return value.encode(), False
    except UnicodeEncodeError as error:
        raise bad_request("data holds a lone surrogate") from error


_DECODERS: dict[str, Callable[[Any], tuple[bytes, bool]]] = {
    "json": _json,
    "body_b64": _base64,
    "data": _data,
}
