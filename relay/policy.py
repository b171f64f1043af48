"""Who may ask what: peers, services, paths, models, unverified TLS.

Everything is refused that is not listed: reading and inference are, what changes the owner's machine or
spends its account is not. Pure; called by `engine` before anything is admitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay import cloud, named, requestbody
from relay.events import StreamMode
from relay.rights import EVERYBODY, Register, Rights
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
        batch_ms: how long a line may wait for company.
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
    batch_ms: int = limits.BATCH_MS


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's rules.

    Attributes:
        targets: service name → where it is.
        allow_peers: public keys that may ask; empty: anyone who knows the address.
        allow_admin: services on which everything is allowed.
        verify_default: check certificates when the peer does not say.
        allow_unverified: whether a peer may switch that off for its own request.
        register: what each key may do.
    """

    targets: Mapping[str, Origin]
    allow_peers: frozenset[bytes] = frozenset()
    allow_admin: frozenset[str] = frozenset()
    verify_default: bool = True
    allow_unverified: bool = True
    register: Register = EVERYBODY

    def knows(self, key: bytes) -> bool:
        """Whether this peer is answered at all."""
        return self.rights(key) is not None

    def rights(self, key: bytes) -> Rights | None:
        """What this peer may do; None for a stranger."""
        if key in self.register.peers:
            return self.register.peers[key]
        if key in self.allow_peers:
            return self.register.default or Rights()
        return None if self.allow_peers else self.register.default

    def judge(
        self,
        req: dict[str, Any],
        stream: StreamMode,
        uploaded: bytes | None = None,
        rights: Rights = Rights(),  # noqa: B008 - a frozen value
    ) -> UpstreamRequest:
        """Turn a peer's `req` into a request that may be sent.

        Args:
            req: as it came.
            stream: how it wants its answer.
            uploaded: the body, if it came in pieces.
            rights: the peer's.

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
        body, is_json = requestbody.decode(req, uploaded)
        _check_rights(rights, service, bare, body)
        admin = rights.admin or service in self.allow_admin
        if not admin:
            _check_path(service, method, bare)
            if bare in INFERENCE and body is not None:
                cloud.refuse_body(body)
        kept = _headers(req, admin=admin)
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
            batch_ms=_batch_ms(req),
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


def _check_rights(rights: Rights, service: str, path: str, body: bytes | None) -> None:
    if not rights.may_use(service):
        raise denied("this service is not among those its owner allows your key", scope="service")
    if not rights.may_ask(path):
        raise denied("this path is not among those its owner allows your key", scope="path")
    if path.startswith(_ONE_MODEL):
        _check_model(rights, path.removeprefix(_ONE_MODEL))
    if path not in INFERENCE or (rights.models is None and rights.options):
        return
    found = named.read(body or b"")
    if rights.models is not None and not found.models:
        raise denied("the request names no model; its owner allows your key some only", scope="model")
    for model in found.models:
        _check_model(rights, model)
    if found.options and not rights.options:
        name = found.options[0]
        raise denied(
            f"{name} loads a model anew or pins it; its owner does not allow your key that", scope="options"
        )


def _check_model(rights: Rights, model: str) -> None:
    if not rights.may_run(model):
        raise denied("this model is not among those its owner allows your key", scope="model")


def _headers(req: dict[str, Any], *, admin: bool) -> dict[str, str]:
    given = req.get("headers") or {}
    if not isinstance(given, dict):
        raise bad_request("headers must be an object of names and values")
    kept = headers.from_peer(given)
    if admin:
        return kept
    # The body was judged as it stands; no server shall unpack it into another one.
    return {name: value for name, value in kept.items() if name.lower() != "content-encoding"}


def _timeout_s(req: dict[str, Any]) -> float:
    value = req.get("timeout_ms")
    value = limits.TIMEOUT_MS if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise bad_request("timeout_ms must be a positive number of milliseconds")
    return min(value, limits.TIMEOUT_MAX_MS) / 1000


def _batch_ms(req: dict[str, Any]) -> int:
    value = req.get("batch_ms")
    value = limits.BATCH_MS if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limits.BATCH_MS:
        raise bad_request(f"batch_ms must be a whole number of milliseconds from 0 to {limits.BATCH_MS}")
    return value


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
