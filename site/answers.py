"""What a request is answered with, and the strict headers that stand on every answer.

Pure; knows no socket, file or clock. Called by `doorman`. The order of judgement is that of `answer`: whose
name, which method, a body, the form of the target, and only then the table of files.
"""

from __future__ import annotations

import http
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

import bounds
from asked import Asked, Refusal
from shelf import Item

POLICY = {
    "default-src": "'none'",
    # The NKN SDK seals with libsodium, which is WebAssembly. No text becomes JavaScript by that word.
    "script-src": "'self' 'wasm-unsafe-eval'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    # Nodes and seed servers are anywhere, by wss and https. Without TLS only this machine, for a dev node and
    # a farm: elsewhere it could be read on the way, and browsers refuse it to an https page in any case.
    "connect-src": "https: wss: http://127.0.0.1:* http://localhost:* ws://127.0.0.1:* ws://localhost:*",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""Content-Security-Policy. An address in brackets, [::1], cannot be written in it."""

_UNUSED = (
    "accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "geolocation", "gyroscope",
    "magnetometer", "microphone", "midi", "payment", "publickey-credentials-get", "serial", "usb",
    "xr-spatial-tracking",
)  # fmt: skip
"""What a browser would let a page ask for and ours never does."""

STRICT = (
    ("Content-Security-Policy", "; ".join(f"{name} {value}" for name, value in POLICY.items())),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", ", ".join(f"{name}=()" for name in _UNUSED)),
)
_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_METHODS = ("GET", "HEAD")
_GZIP = re.compile(r"gzip(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        headers: those of its own; the strict ones, Date and Connection are added when it is written.
        body: empty also for what has none, as 304.
        close: whether the connection ends with it.
        bare: no Content-Length, as for 304.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    close: bool = False
    bare: bool = False

    def head(self, date: str) -> bytes:
        """Status line and headers; the body follows unless the method was HEAD."""
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}", f"Date: {date}"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *STRICT)]
        if not self.bare:
            lines.append(f"Content-Length: {len(self.body)}")
        if self.close:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Site:
    """Answers requests.

    Attributes:
        items: URL path → file.
        names: what the server is called in Host, in lower case; "*.example.org" stands for one more label.
        strict_transport: whether browsers are told to use https alone for names of a domain; only with a
            certificate of the owner's, since it cannot be taken back when the next one is not trusted.
    """

    items: Mapping[str, Item]
    names: frozenset[str]
    strict_transport: bool = False

    def answer(self, asked: Asked) -> Reply:
        """The answer to a request; the connection stays open only if nothing of it is left unread."""
        try:
            reply = self._answer(asked)
        except Refusal as refusal:
            reply = refused(refusal, close=refusal.status not in {404, 412})
        headers = reply.headers
        if self.strict_transport and _in_a_domain(asked.host):
            headers = (*headers, ("Strict-Transport-Security", f"max-age={bounds.HSTS_S}"))
        return Reply(reply.status, headers, reply.body, reply.close or not asked.keep, reply.bare)

    def _answer(self, asked: Asked) -> Reply:
        if not self._is_own(asked.host):
            # A foreign name that points to this machine: a page of that name would be of one origin with us.
            raise Refusal(421, "This server is not known by the name in Host; --host NAME makes it so.")
        if asked.method not in _METHODS:
            raise Refusal(405, "Only GET and HEAD are answered here.")
        if asked.body:
            raise Refusal(413, "No request here has a body.")
        if not asked.target.startswith("/") or "#" in asked.target:
            raise Refusal(400, "The target of the request is not a path.")
        item = self.items.get(asked.path)
        if item is None:
            raise Refusal(404, "There is no such file.")
        return _file(item, asked.headers)

    def _is_own(self, host: str) -> bool:
        return host in self.names or f"*.{host.partition('.')[2]}" in self.names


def refused(refusal: Refusal, *, close: bool = True) -> Reply:
    """A refusal as an answer."""
    headers: tuple[tuple[str, str], ...] = (_TEXT, ("Cache-Control", "no-store"))
    if refusal.status == 405:
        headers = (*headers, ("Allow", ", ".join(_METHODS)))
    return Reply(refusal.status, headers, f"{refusal.detail}\n".encode(), close=close)


def hint(url: str) -> Reply:
    """The answer to whoever speaks without TLS.

    Not a redirection: browsers keep one for good, also for what listens on this port later, and a program
    would go on sending in the clear first without anybody noticing.
    """
    return refused(Refusal(400, f"This port speaks HTTPS: {url}"))


def _file(item: Item, headers: Mapping[str, str]) -> Reply:
    packed = item.packed is not None and _takes_gzip(headers.get("accept-encoding", ""))
    body, tag = (item.packed or b"", f'"{item.tag}-gz"') if packed else (item.body, f'"{item.tag}"')
    common = [("ETag", tag), ("Cache-Control", item.caching)]
    if item.packed is not None:
        common.append(("Vary", "Accept-Encoding"))
    if "if-match" in headers and not _names(headers["if-match"], tag, weak=False):
        raise Refusal(412, "The file is not the one that was meant.")
    if "if-none-match" in headers and _names(headers["if-none-match"], tag, weak=True):
        return Reply(304, tuple(common), bare=True)
    own = [("Content-Type", item.kind), ("Accept-Ranges", "none"), *common]
    return Reply(200, tuple([*own, ("Content-Encoding", "gzip")] if packed else own), body)


def _names(value: str, tag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags names this one (RFC 9110 §8.8.3.2)."""
    listed = [word.strip() for word in value.split(",")]
    if weak:
        listed = [word.removeprefix("W/") for word in listed]
    return value.strip() == "*" or tag in listed


def _takes_gzip(value: str) -> bool:
    for word in value.lower().split(","):
        found = _GZIP.fullmatch(word.strip())
        if found is not None:
            return found[1] is None or float(found[1]) > 0
    return False


def _in_a_domain(host: str) -> bool:
    """Whether a name is one of a domain; a rule for localhost would hold for every server of this machine."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")
    return False


def _phrase(status: int) -> str:
    return {413: "Content Too Large"}.get(status) or http.HTTPStatus(status).phrase
