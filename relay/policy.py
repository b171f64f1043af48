"""Who may ask what: peers, services, paths, models, unverified TLS.

Everything is refused that is not listed: reading and inference are, what changes the owner's machine or
spends its account is not. Pure; called by `engine` before anything is admitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay import cloud, requestbody
from relay.frames import StreamMode
from wire import headers, limits, redact
from wire.errors import bad_request, denied
from wire.origin import Origin, bare_path, clean_path

SERVICE_ALIASES = {"ollama_farm": "ollama", "llm": "ollama"}
DEFAULT_SERVICE = "ollama"

READING = frozenset({"/", "/api/version", "/api/tags", "/api/ps", "/_health", "/v1/models", "/models"})
"""GET and HEAD; existing peers ask for `/models` too, as llama.cpp has it."""
INFERENCE = frozenset(
    {
        "/api/show",
        "/api/generate",
        "/api/chat",
        "/api/embed",
        "/api/embeddings",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
    }
)
"""POST."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_ONE_MODEL = "/v1/models/"


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request that may be sent: nothing in it needs to be checked again.

    Attributes:
        path: for the log, without query.
        timeout_s: idle time-out of a stream that has begun, total time otherwise.
        verify: check the target's TLS certificate.
    """

    service: str
    method: str
    url: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    timeout_s: float
    verify: bool
    stream: StreamMode


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's rules.

    Attributes:
        targets: service name → where it is.
        allow_peers: public keys that may ask; empty: anyone who knows the address.
        allow_admin: services on which everything is allowed.
        verify_default: check certificates when the peer does not say.
        allow_unverified: whether a peer may switch that off for its own request.
    """

    targets: Mapping[str, Origin]
    allow_peers: frozenset[bytes] = frozenset()
    allow_admin: frozenset[str] = frozenset()
    verify_default: bool = True
    allow_unverified: bool = True

    def knows(self, key: bytes) -> bool:
        """Whether this peer is answered at all."""
        return not self.allow_peers or key in self.allow_peers

    def judge(self, req: dict[str, Any], stream: StreamMode) -> UpstreamRequest:
        """Turn a peer's `req` into a request that may be sent.

        Raises:
            PeerFault: "bad_request" or "denied", with what was wrong and what to do.
        """
        service, path = self._where(req)
        method = _text(req, "method", "GET").upper()
        if method not in METHODS:
            raise bad_request(
                f"method {redact.printable(method, 20)!r} is not one of {', '.join(sorted(METHODS))}"
            )
        bare = bare_path(path)
        body, is_json = requestbody.decode(req)
        if service not in self.allow_admin:
            _check_path(service, method, bare)
            if bare in INFERENCE and body is not None:
                cloud.refuse_body(body)
        given = req.get("headers") or {}
        if not isinstance(given, dict):
            raise bad_request("headers must be an object of names and values")
        kept = headers.from_peer(given)
        if service not in self.allow_admin:
            # The body was judged as it stands; no server shall unpack it into another one.
            kept = {name: value for name, value in kept.items() if name.lower() != "content-encoding"}
        if is_json and not any(name.lower() == "content-type" for name in kept):
            kept["Content-Type"] = "application/json"
        return UpstreamRequest(
            service=service,
            method=method,
            url=self.targets[service].join(path),
            path=bare,
            headers=kept,
            body=body,
            timeout_s=_timeout_s(req),
            verify=self._verify(req),
            stream=stream,
        )

    def _where(self, req: dict[str, Any]) -> tuple[str, str]:
        if req.get("url") is not None:
            url = _text(req, "url", "")
            for name, origin in self.targets.items():
                path = origin.path_of(url)
                if path is not None:
                    return name, clean_path(path)
            raise denied(
                "url is not on a configured target; use service and path (relay.info lists the services)"
            )
        asked = _text(req, "service", DEFAULT_SERVICE)
        name = asked if asked in self.targets else SERVICE_ALIASES.get(asked, asked)
        if name not in self.targets:
            # One target under another name: the aliases mean it as well.
            if asked in {DEFAULT_SERVICE, *SERVICE_ALIASES} and (found := self._alias_target()):
                return found, clean_path(_text(req, "path", "/"))
            known = ", ".join(sorted(self.targets))
            raise bad_request(
                f"service {redact.printable(asked, 40)!r} is not configured here; known: {known}"
            )
        return name, clean_path(_text(req, "path", "/"))

    def _alias_target(self) -> str | None:
        return next((alias for alias in SERVICE_ALIASES if alias in self.targets), None)

    def _verify(self, req: dict[str, Any]) -> bool:
        asked = _switch(req, "verify")
        if _switch(req, "insecure_tls"):
            asked = False
        if asked is None:
            return self.verify_default
        if asked:
            return True
        if not self.allow_unverified:
            raise denied("verify:false is not allowed here (RELAY_ALLOW_UNVERIFIED=0)")
        return False


def _check_path(service: str, method: str, path: str) -> None:
    if path.startswith(_ONE_MODEL):
        cloud.refuse_name(path.removeprefix(_ONE_MODEL))
    reading = path in READING or path.startswith(_ONE_MODEL)
    if (reading and method in {"GET", "HEAD"}) or (path in INFERENCE and method == "POST"):
        return
    hint = f"its owner can allow it with RELAY_ALLOW_ADMIN={service}"
    raise denied(f"{method} {redact.path(path)} is neither reading nor inference; {hint}")


def _timeout_s(req: dict[str, Any]) -> float:
    value = req.get("timeout_ms")
    value = limits.TIMEOUT_MS if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise bad_request("timeout_ms must be a positive number of milliseconds")
    return min(value, limits.TIMEOUT_MAX_MS) / 1000


def _text(req: dict[str, Any], name: str, default: str) -> str:
    value = req.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise bad_request(f"{name} must be a string")
    return value


def _switch(req: dict[str, Any], name: str) -> bool | None:
    """Yes, no, or not said; anything else is refused, since a guess would switch a check off."""
    value = req.get(name)
    if value is None or isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, str | int) and word in _SWITCHES:
        return _SWITCHES[word]
    raise bad_request(f"{name} must be true or false")


_SWITCHES: dict[str | int, bool] = {
    **dict.fromkeys(("1", "true", "yes", "on", 1), True),
    **dict.fromkeys(("0", "false", "no", "off", 0), False),
}
