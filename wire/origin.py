"""A configured base URL, and the only way a peer's path is joined to it.

`urljoin(base, "//evil/x")` and `base + "@evil/"` both leave the host, so neither is used: the
path is checked character by character and set behind an authority that never comes from a peer.
Pure; used by the relay's settings and policy.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from typing import Final

from wire import limits
from wire.errors import bad_request

PORTS: Final = {"http": 80, "https": 443}
"""Where a URL names none."""
_DECODINGS_MAX: Final = 4
_PATH_CHARS: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/%"
)
_QUERY_CHARS: Final = _PATH_CHARS | {"?", "[", "]"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host, port and path prefix of one target.

    Attributes:
        scheme: "http" or "https".
        host: lower case; an IPv6 address without brackets.
        port: always a number.
        prefix: path before the peer's, without a slash at its end.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Read a base URL such as `http://127.0.0.1:8080`.

        Raises:
            ValueError: with a sentence that says what is wrong with it.
        """
        if not isinstance(url, str) or not url.isprintable() or " " in url or "\\" in url:
            raise ValueError("must be a URL such as http://127.0.0.1:8080")
        if "@" in url:
            raise ValueError("must not hold a user name or password")  # and is not shown: it may hold one
        parts = urllib.parse.urlsplit(url)
        scheme = parts.scheme.lower()
        if scheme not in PORTS:
            raise ValueError(f"{url!r} must begin with http:// or https://")
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        if parts.query or parts.fragment:
            raise ValueError(f"{url!r} must hold only scheme, host, port and path")
        try:
            port = parts.port if parts.port is not None else PORTS[scheme]
        except ValueError as error:
            raise ValueError(f"{url!r} has a port that is not between 0 and 65535") from error
        return cls(scheme, parts.hostname.lower(), port, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"

    def join(self, path: str) -> str:
        """The URL of a peer's path on this target.

        Raises:
            PeerFault: "bad_request" if the path is not absolute, leaves the target, or holds
                characters that a request line must not hold.
        """
        return f"{self}{clean_path(path)}"

    def path_of(self, url: str) -> str | None:
        """Path and query of `url` if it lies on this target, else None. Never raises."""
        try:
            parts = urllib.parse.urlsplit(url)
            other = (parts.scheme.lower(), (parts.hostname or "").lower(), parts.port)
        except ValueError:
            return None
        port = other[2] if other[2] is not None else PORTS.get(other[0])
        if (other[0], other[1], port) != (self.scheme, self.host, self.port) or parts.username is not None:
            return None
        path = parts.path or "/"
        if not (path == self.prefix or path.startswith(f"{self.prefix}/")):
            return None
        rest = path[len(self.prefix) :] or "/"
        return f"{rest}?{parts.query}" if parts.query else rest


def clean_path(path: str) -> str:
    """Check a peer's path (with query) and return it unchanged.

    Raises:
        PeerFault: "bad_request", see `Origin.join`.
    """
    if len(path) > limits.PATH_MAX:
        raise bad_request(f"path is longer than {limits.PATH_MAX} characters")
    bare, _, query = path.partition("?")
    if not bare.startswith("/") or bare.startswith("//"):
        raise bad_request("path must begin with exactly one slash")
    if not _PATH_CHARS.issuperset(bare) or not _QUERY_CHARS.issuperset(query):
        raise bad_request("path holds characters that must be percent-encoded, or a fragment")
    decoded = _decoded(bare)
    if "\\" in decoded or any(ord(char) < 32 for char in decoded):
        raise bad_request("path holds a backslash or a control character")
    # Some servers cut `;parameters` off a segment before they look at it.
    if any(part.partition(";")[0] in {".", ".."} for part in decoded.split("/")) or "//" in decoded:
        raise bad_request("path holds an empty, `.` or `..` segment")
    return path


def _decoded(path: str) -> str:
    """Servers differ in how often they decode; a path is judged as the most eager one would see it."""
    for _ in range(_DECODINGS_MAX):
        once = urllib.parse.unquote(path, errors="replace")
        if once == path:
            return path
        path = once
    raise bad_request("path is percent-encoded over and over")


def bare_path(path: str) -> str:
    """The path as the upstream will route it: decoded once, no query, no slash at its end."""
    decoded = urllib.parse.unquote(path.partition("?")[0], errors="replace")
    return decoded.rstrip("/") or "/"
