"""The head of a client's request, checked: what it asks for, and whether it can be read in one way only.

Two servers in a row that read a request differently see different requests, so what is not plain is refused,
though a parser may take it. Pure; called by the `door`.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import httptools

_SPOKEN: Final = frozenset({"1.0", "1.1"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
Pairs = Sequence[tuple[bytes, bytes]]


class BadHeadError(Exception):
    """It is not served; says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """A head.

    Attributes:
        method: such as GET.
        version: "1.0" or "1.1".
        target: path and query as the client wrote them.
        headers: names in lower case; Host is the authority that the client means.
    """

    method: str
    version: str
    target: bytes
    headers: list[tuple[bytes, bytes]]

    @property
    def path(self) -> str:
        """Percent-decoded, as the backend will read it."""
        return urllib.parse.unquote(self.raw_path.decode("latin-1"))

    @property
    def raw_path(self) -> bytes:
        """As the client wrote it."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """What stands behind the first question mark."""
        return self.target.partition(b"?")[2]

    @property
    def expects(self) -> bool:
        """Whether the client waits for 100 before it sends its body."""
        wish = (b"expect", b"100-continue")
        return self.version == "1.1" and any((name, value.lower()) == wish for name, value in self.headers)

    @property
    def framing(self) -> list[tuple[bytes, bytes]]:
        """The headers that say where its body ends; none when there is no body."""
        told = [(name, value) for name, value in self.headers if name in _FRAMING]
        return [pair for pair in told if pair[0] == b"transfer-encoding" or int(pair[1])]


def read(method: str, version: str, url: bytes, headers: Pairs) -> Head:
    """Check a head that llhttp has parsed.

    Args:
        method: of the request.
        version: of HTTP.
        url: as it stands in the request line.
        headers: as they came.

    Raises:
        BadHeadError: it is not served.
    """
    if version not in _SPOKEN:
        raise BadHeadError(f"HTTP/{version} is not spoken here")
    plain = [(name.lower(), value.rstrip(b" \t")) for name, value in headers]
    hosts = [value for name, value in plain if name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        raise BadHeadError("a request has one Host header")
    codings = [value.lower() for name, value in plain if name == b"transfer-encoding"]
    if codings and (codings != [b"chunked"] or version == "1.0"):
        raise BadHeadError("the only transfer coding is chunked, in HTTP/1.1")
    if url.startswith(b"/") or url == b"*":
        target = url
    else:
        authority, target = _proxied(url)
        # RFC 9112 §3.2.2: the authority of this form is the one that counts.
        plain = [(name, authority if name == b"host" else value) for name, value in plain]
    if b"#" in target:
        raise BadHeadError("a target has no fragment")
    return Head(method, version, target, plain)


def _proxied(url: bytes) -> tuple[bytes, bytes]:
    """Authority and target of the form that clients send to proxies."""
    try:
        parts = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise BadHeadError("no target") from None
    if parts.schema is None or parts.host is None or parts.userinfo is not None:
        raise BadHeadError("no target")
    rest = url.partition(b"://")[2]
    cut = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    authority, target = rest[:cut], rest[cut:]
    return authority, target if target.startswith(b"/") else b"/" + target
