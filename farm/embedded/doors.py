"""What a request meets before its route: paths to clean, pages that may not ask, browsers that ask first.

Pure, in Ollama's order and words. Called by `app`; who may ask is `farm.gate`'s rule.
"""

from __future__ import annotations

import html
import posixpath
import urllib.parse
from dataclasses import dataclass, field

from farm import gate

Headers = list[tuple[bytes, bytes]]
PLAIN = b"text/plain"
_UNQUOTED = "/:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer. `bodied`: whether it says anything about its body, a length of 0 at least."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    bodied: bool = True


def cleaned(path: str) -> str:
    """The path without doubled slashes, "." and ".."; a slash at its end stays."""
    clean = posixpath.normpath(path) if path else "/"
    if clean.startswith("//"):
        clean = clean[1:]
    return f"{clean}/" if path.endswith("/") and clean != "/" else clean


def redirect(method: str, path: str, query: str, *, moved: bool) -> Reply:
    """The answer that sends a client to another path.

    Args:
        method: of the request.
        path: where to.
        query: without its question mark.
        moved: for good, and the path is not percent-encoded; else it was only not clean.
    """
    path = urllib.parse.quote(path, safe=_UNQUOTED) if moved else path
    target = f"{path}?{query}" if query else path
    for_good = moved and method == "GET"
    headers: Headers = [(b"location", target.encode())]
    if method not in {"GET", "HEAD"}:
        return Reply(307, headers)
    headers.append((b"content-type", b"text/html; charset=utf-8"))
    words = "Moved Permanently" if for_good else "Temporary Redirect"
    page = f'<a href="{html.escape(target)}">{words}</a>.\n\n'.encode()
    return Reply(301 if for_good else 307, headers, page)


def no_route() -> Reply:
    """404 for a path that leads nowhere."""
    return Reply(404, [(b"content-type", PLAIN)], b"404 page not found")


def wrong_method(allowed: Headers) -> Reply:
    """405 for a path that takes other methods."""
    return Reply(405, [*allowed, (b"content-type", PLAIN)], b"405 method not allowed")


def judge(method: str, headers: Headers, allowed: Headers) -> tuple[Reply | None, Headers]:
    """What is answered instead of the route, and what every answer carries so that a page may read it.

    Args:
        method: of the request.
        headers: of the request, names in lower case.
        allowed: the Allow header of a path that does not take this method, or nothing.
    """
    verdict = gate.judge_headers(headers, loopback=True)
    if verdict is gate.Verdict.FOREIGN:
        return Reply(403, allowed), []
    found = dict(headers)
    origin, host = found.get(b"origin", b""), found.get(b"host", b"")
    if verdict is gate.Verdict.ALLOWED and method == "OPTIONS":
        return Reply(204, [*gate.preflight_headers(origin), *allowed], bodied=False), []
    if method == "OPTIONS" and _is_named(host):
        return Reply(204, allowed, bodied=False), []
    return None, gate.cors_headers(origin) if verdict is gate.Verdict.ALLOWED else []


def unexpected(headers: Headers) -> Reply | None:
    """417 for an Expect header that asks for anything but 100-continue."""
    expected = dict(headers).get(b"expect", b"").lower()
    return Reply(417, [(b"connection", b"close")]) if expected not in {b"", b"100-continue"} else None


def _is_named(host: bytes) -> bool:
    """Whether Host is a name of this machine and no address: then Ollama answers OPTIONS by itself."""
    name = host.decode("latin-1").lower().rpartition(":")[0] or host.decode("latin-1").lower()
    return not host or name == "localhost" or name.endswith((".localhost", ".local", ".internal"))
