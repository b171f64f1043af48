"""Which headers cross a proxy, and which bytes may stand in them (RFC 9110 §5.5, §7.6.1).

Pure; used by the relay for a peer's request and an upstream's answer, by the farm's proxy both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wire import limits
from wire.errors import bad_request

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers about one connection only."""

REROUTING = frozenset(
    {
        "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix",
        "x-forwarded-proto", "x-forwarded-server", "x-http-method", "x-http-method-override",
        "x-method-override", "x-original-url", "x-real-ip", "x-rewrite-url",
    }
)  # fmt: skip
"""Some servers believe these rather than the request line and the connection, by which the owner's rules
were applied: another path, another method, another sender."""

SET_BY_US = REROUTING | {
    "host", "content-length", "origin", "referer", "accept-encoding", "expect", "cookie", "x-relay-stream",
}  # fmt: skip
"""Headers of a peer's request that the relay makes itself or that must not reach the upstream:
Origin and Referer would be judged by Ollama's browser rules, an encoding would hide the lines."""

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CONTROLS = {code: " " for code in (*range(32), 127) if code != ord("\t")}


def end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Drop hop-by-hop headers and those that a Connection header names; order and case are kept."""
    pairs = list(headers)
    named = {
        token.strip().lower()
        for name, value in pairs
        if name.lower() == "connection"
        for token in value.split(",")
    }
    drop = HOP_BY_HOP | named
    return [(name, value) for name, value in pairs if name.lower() not in drop]


def from_peer(headers: Mapping[str, object]) -> dict[str, str]:
    """The headers of a peer's request that go to the upstream.

    Args:
        headers: name → value as the peer's JSON has them; numbers are accepted as values.

    Raises:
        PeerFault: "bad_request" for a name that is no token, a value with a control character or
            beyond ASCII, or more headers than the limits allow.
    """
    if len(headers) > limits.HEADERS_MAX:
        raise bad_request(f"headers: {len(headers)} of them, at most {limits.HEADERS_MAX} are accepted")
    pairs = [(name, _value(name, value)) for name, value in headers.items()]
    return {name: value for name, value in end_to_end(pairs) if name.lower() not in SET_BY_US}


def to_peer(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers of an upstream's answer that go to the peer, names in lower case.

    Repeated names are joined by a comma; cookies of the owner's services stay at home. Folded lines and
    control characters become spaces, so that whoever writes a value into a header of its own is safe.
    What is beyond the limits is left out: a frame must fit a message.
    """
    kept: dict[str, str] = {}
    room = limits.ANSWER_HEADERS_MAX
    for name, value in end_to_end(headers):
        low = name.lower()
        if low in {"set-cookie", "content-length"} or not low or not _TOKEN.issuperset(low):
            continue
        clean = value.translate(_CONTROLS).strip(" \t")
        joined = f"{kept[low]}, {clean}" if low in kept else clean
        more = len(joined) - len(kept[low]) if low in kept else len(low) + len(joined)
        fits = len(joined) <= limits.HEADER_VALUE_MAX and more <= room
        if fits and (low in kept or len(kept) < limits.HEADERS_MAX):
            kept[low] = joined
            room -= more
    return kept


def _value(name: str, value: object) -> str:
    if not name or not _TOKEN.issuperset(name):
        raise bad_request(f"headers: {name[:40]!r} is not a header name")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise bad_request(f"headers: the value of {name} must be a string")
    text = str(value)
    if len(text) > limits.HEADER_VALUE_MAX:
        raise bad_request(f"headers: the value of {name} is longer than {limits.HEADER_VALUE_MAX} characters")
    if any(ord(char) < 32 and char != "\t" for char in text) or "\x7f" in text or not text.isascii():
        raise bad_request(f"headers: the value of {name} holds a character that no header may hold")
    return text.strip()
