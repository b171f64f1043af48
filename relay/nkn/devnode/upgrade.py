"""From HTTP to websocket: which requests a node upgrades, and how it answers.

Any path and any origin are taken, extensions and subprotocols offered are passed over in silence.
Pure; used by `door`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from relay.nkn.devnode.answer import TEXT, Answer, Asked

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
REFUSED = Answer(
    400,
    b"Bad Request\n",
    (*TEXT, ("Sec-Websocket-Version", "13"), ("X-Content-Type-Options", "nosniff")),
)
"""The answer to what asks for no websocket; the connection stays open."""


def accepted(asked: Asked) -> bytes | None:
    """The answer that turns the connection into a websocket; None if that was not asked for."""
    key = asked.headers.get("sec-websocket-key", "")
    wanted = (
        asked.method == "GET"
        and "upgrade" in _words(asked, "connection")
        and "websocket" in _words(asked, "upgrade")
        and asked.headers.get("sec-websocket-version") == "13"
    )
    if not wanted or not _is_key(key):
        return None
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def _words(asked: Asked, name: str) -> set[str]:
    return {word.strip().lower() for word in asked.headers.get(name, "").split(",")}


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
