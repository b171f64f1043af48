"""Whose fault it was, and the stable code that says so on the wire.

    Fault                 common base, never raised itself
    ├── PeerFault         the one who asked: bad_request, denied, busy, cancelled, peer_gone,
    │                     replayed, upload_incomplete
    ├── UpstreamFault     the HTTP service behind us: upstream_refused, upstream_broke, upstream_status,
    │                     line_too_long, truncated, timeout
    └── OurFault          this program or its owner's settings: settings, internal, shutdown

A fault carries fields; the text a person reads is built from them. `code` is part of the
protocol (docs/protocol.md lists every value) and never changes its meaning.
Raised and caught on every floor; this module knows none of them.
"""

from __future__ import annotations

from typing import ClassVar


class Fault(Exception):
    """A refusal or failure with a stable code.

    Attributes:
        code: short stable word that goes on the wire.
        detail: one sentence for a person: what was wrong and what to do.
        status: the HTTP status that says the same.
        retry_after_ms: when asking again makes sense, in milliseconds, or None.
        scope: which of the owner's limits was hit, or None.
    """

    whose: ClassVar[str] = "nobody"

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 500,
        retry_after_ms: int | None = None,
        scope: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.retry_after_ms = retry_after_ms
        self.scope = scope

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.detail!r})"


class PeerFault(Fault):
    """The peer asked for what cannot or may not be done."""

    whose = "peer"


class UpstreamFault(Fault):
    """The HTTP service behind the relay refused, broke off or stayed silent."""

    whose = "upstream"


class OurFault(Fault):
    """This program or its settings are at fault."""

    whose = "ours"


def bad_request(detail: str) -> PeerFault:
    """A request that cannot be understood (400)."""
    return PeerFault("bad_request", detail, status=400)


def denied(detail: str, *, scope: str | None = None) -> PeerFault:
    """A request the owner does not allow (403)."""
    return PeerFault("denied", detail, status=403, scope=scope)


def busy(detail: str, retry_after_ms: int, *, scope: str | None = None) -> PeerFault:
    """No room now (503); ask again after `retry_after_ms` milliseconds."""
    return PeerFault("busy", detail, status=503, retry_after_ms=retry_after_ms, scope=scope)


def cancelled(detail: str = "the peer cancelled the request") -> PeerFault:
    """The peer asked to stop (499, as nginx names it)."""
    return PeerFault("cancelled", detail, status=499)


def peer_gone(seconds: float) -> PeerFault:
    """The peer does not acknowledge any more (499)."""
    return PeerFault("peer_gone", f"the peer was silent for {seconds:g} s", status=499)


def upload_incomplete(detail: str) -> PeerFault:
    """A request in pieces of which some never came (408)."""
    return PeerFault("upload_incomplete", detail, status=408)


def replayed(detail: str) -> PeerFault:
    """A request id that was answered already; nothing is executed twice (409)."""
    return PeerFault("replayed", detail, status=409)


def timed_out(detail: str) -> UpstreamFault:
    """The upstream stayed silent for longer than the peer wanted to wait (504)."""
    return UpstreamFault("timeout", detail, status=504)


def upstream_refused(detail: str) -> UpstreamFault:
    """No connection to the upstream, or its certificate was not accepted (502)."""
    return UpstreamFault("upstream_refused", detail, status=502)


def upstream_broke(detail: str) -> UpstreamFault:
    """The upstream began an answer and did not finish it (502)."""
    return UpstreamFault("upstream_broke", detail, status=502)


def line_too_long(detail: str) -> UpstreamFault:
    """One line of the answer fits no direct message (502)."""
    return UpstreamFault("line_too_long", detail, status=502)


def upstream_status(status: int) -> UpstreamFault:
    """The upstream answered with a status of 400 or more; its body came whole."""
    return UpstreamFault("upstream_status", f"the upstream answered {status}", status=status)


def cut(max_body_b: int) -> UpstreamFault:
    """A body without stream that is larger than the owner allows; its beginning is sent (502)."""
    return UpstreamFault("truncated", f"the body is cut at {max_body_b} bytes (RELAY_MAX_BODY_B)", status=502)


def internal(detail: str) -> OurFault:
    """A mistake of this program (500)."""
    return OurFault("internal", detail)


def shutdown(detail: str = "the relay is stopping") -> OurFault:
    """The relay stops while the request runs (503)."""
    return OurFault("shutdown", detail, status=503, retry_after_ms=10_000)


class SettingsFault(OurFault):
    """A setting that cannot be used; names the key. Ends a program with exit code 2."""

    def __init__(self, key: str, detail: str) -> None:
        super().__init__("settings", f"{key}: {detail}")
        self.key = key
