"""Which web pages may talk to the farm: Ollama's own rule, since the backend behind us no longer sees Origin.

A page of any site can make the browser of the owner send requests to 127.0.0.1. Browsers say whose page
it is in Origin, and a name that was made to point to 127.0.0.1 shows in Host. Programs send no Origin.
Pure; called by the proxy.
"""

from __future__ import annotations

import enum
import ipaddress
import urllib.parse
from collections.abc import Iterable


class Verdict(enum.Enum):
    """What to do with a request."""

    OWN = "no page, or a page of the farm itself"
    ALLOWED = "a page on this machine"
    FOREIGN = "a page of somebody else: 403"


_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "0.0.0.0"})
_APP_SCHEMES = frozenset({"app", "file", "tauri", "vscode-webview", "vscode-file"})
_LOCAL_ENDINGS = (".localhost", ".local", ".internal")
_STAINLESS = (
    "Arch", "Async", "Custom-Poll-Interval", "Helper-Method", "Lang", "Os", "Package-Version", "Poll-Helper",
    "Retry-Count", "Runtime", "Runtime-Version", "Timeout",
)  # fmt: skip
_ASKED_HEADERS = ",".join(
    ["Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "Openai-Beta"]
    + [f"X-Stainless-{name}" for name in _STAINLESS]
).encode()
"""What a page may send; the last of them are those of the official openai client."""


def judge(origin: str | None, host: str | None, *, loopback: bool) -> Verdict:
    """Judge one request.

    Args:
        origin: its Origin header.
        host: its Host header.
        loopback: whether the farm listens only on this machine; then a public name in Host is an attack.
    """
    if loopback and not is_local_host(host or ""):
        return Verdict.FOREIGN
    if not origin:
        return Verdict.OWN
    scheme, _, rest = origin.partition("://")
    if host and rest == host and scheme in {"http", "https"}:
        return Verdict.OWN
    name = _host_name(rest)
    if scheme in _APP_SCHEMES or (scheme in {"http", "https"} and name in _LOCAL_NAMES):
        return Verdict.ALLOWED
    return Verdict.FOREIGN


def judge_headers(headers: Iterable[tuple[bytes, bytes]], *, loopback: bool) -> Verdict:
    """`judge` for the headers of an ASGI request, whose names are in lower case."""
    found = {name: value.decode("latin-1") for name, value in headers if name in {b"origin", b"host"}}
    return judge(found.get(b"origin"), found.get(b"host"), loopback=loopback)


def cors_headers(origin: bytes) -> list[tuple[bytes, bytes]]:
    """What an answer carries so that a page on this machine may read it."""
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]


def preflight_headers(origin: bytes) -> list[tuple[bytes, bytes]]:
    """The answer to a browser that asks before it sends."""
    return [
        (b"access-control-allow-headers", _ASKED_HEADERS),
        (b"access-control-allow-methods", b"GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"),
        (b"access-control-allow-origin", origin),
        (b"access-control-max-age", b"43200"),
        (b"vary", b"Origin"),
        (b"vary", b"Access-Control-Request-Method"),
        (b"vary", b"Access-Control-Request-Headers"),
    ]


def is_local_host(host: str) -> bool:
    """Whether a Host header names this machine or its network: empty, a local name or a private address."""
    name = _host_name(host)
    if name in {"", "localhost"} or name.endswith(_LOCAL_ENDINGS):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


def _host_name(authority: str) -> str:
    """The name without port and brackets; "?" for what is no authority."""
    try:
        return (urllib.parse.urlsplit(f"//{authority}").hostname or "").lower()
    except ValueError:
        return "?"
