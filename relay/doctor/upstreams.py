"""The targets: does each answer, and as what?

Pure; takes answers as they came, for they may be another version's. Looked for by `looking`, called by
`examination`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay import cloud
from relay.doctor import limits
from relay.doctor.finding import fail, ok, warn
from wire.errors import PeerFault
from wire.finding import Finding, foreign, listed
from wire.ollamahole import HOLE, is_old
from wire.origin import Origin

HEALTH, VERSION, TAGS = "/_health", "/api/version", "/api/tags"
PATHS = (HEALTH, VERSION, TAGS)
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_UPDATE = (
    "curl -fsSL https://ollama.com/install.sh | sh; in docker: docker pull ollama/ollama; then start it again"
)


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: its status, its JSON or None, how long it took; or why there is none."""

    status: int = 0
    told: Any = None
    ms: float = 0.0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One of RELAY_TARGETS.

    Attributes:
        name: of the service.
        origin: where it is.
        said: path → its answer.
        admin: whether peers may do everything there.
    """

    name: str
    origin: Origin
    said: Mapping[str, Said] = field(default_factory=dict)
    admin: bool = False

    def of(self, path: str) -> Said:
        """What it said there."""
        return self.said.get(path, Said(trouble=f"no answer within {limits.ANSWER_S:g} s"))

    @property
    def shown(self) -> str:
        """Name and place."""
        return f"{foreign(self.name)} ({self.origin})"


def judged(target: Target) -> list[Finding]:
    """What there is to say of it."""
    answers = [target.of(path) for path in PATHS]
    if all(answer.trouble for answer in answers):
        return [_silent(target, answers[1].trouble)]
    health, version = target.of(HEALTH).told, target.of(VERSION).told
    if isinstance(health, dict) and {"status", "slots", "backends"} <= health.keys():
        return [_farm(target, health), *_version(target, health.get("version"))]
    if isinstance(version, dict) and isinstance(version.get("version"), str):
        return [_ollama(target, version["version"]), *_version(target, version["version"])]
    return [_other(target, next(answer for answer in answers if not answer.trouble))]


def _silent(target: Target, why: str) -> Finding:
    text = f"{target.shown} does not answer: {foreign(why)}"
    if "CERTIFICATE" in why.upper():
        remedy = "give it a certificate that this machine trusts; in your own network RELAY_VERIFY_DEFAULT=0"
        return fail("target", text, remedy)
    here = target.origin.host in _LOOPBACK
    if here and target.origin.port == 11434:
        return fail("target", text, "ollama serve, or sudo systemctl start ollama")
    if here and target.origin.port == 8080:
        other = (
            f'RELAY_TARGETS={{"{foreign(target.name)}":"http://127.0.0.1:11434"}} for an Ollama without it'
        )
        return fail("target", text, f"python -m farm --model MODEL starts the farm; {other}")
    return fail(
        "target", text, f"is it running there? curl -m 3 {target.origin}{VERSION} shows; else RELAY_TARGETS"
    )


def _farm(target: Target, health: Mapping[str, Any]) -> Finding:
    status, models = foreign(health.get("status")), health.get("models")
    what = f"{target.shown} is a farm"
    if status == "ready":
        there = f"; in memory: {listed(map(str, models))}" if isinstance(models, list) and models else ""
        return ok("target", f"{what}, ready{there}")
    if status == "starting":
        doing = f": {foreign(health['doing'])}" if health.get("doing") else ""
        return warn(
            "target", f"{what} that is starting{doing}", f"wait; curl {target.origin}{HEALTH} shows how far"
        )
    if status == "down":
        return fail("target", f"{what} none of whose backends answers", "python -m farm doctor")
    return warn("target", f"{what} that says it is {status}", "python -m farm doctor")


def _ollama(target: Target, version: str) -> Finding:
    what = f"{target.shown} is Ollama {foreign(version)}"
    entries = target.of(TAGS).told
    entries = entries.get("models") if isinstance(entries, dict) else None
    if not isinstance(entries, list):
        return warn("target", f"{what} that does not list its models", f"curl {target.origin}{TAGS}")
    names = [str(one.get("name")) for one in entries if isinstance(one, dict)]
    own = [name for name in names if not _is_cloud(name)]
    if names and not own:
        return warn(
            "target", f"{what} with cloud models only, which peers may not use", "ollama pull gemma3:4b"
        )
    if not own:
        return warn("target", f"{what} without a model", "ollama pull gemma3:4b")
    return ok("target", f"{what} with {listed(own)}")


def _is_cloud(name: str) -> bool:
    try:
        cloud.refuse_name(name)
    except PeerFault:
        return True
    return False


def _version(target: Target, version: Any) -> list[Finding]:
    """A finding for a version with a known hole; it is open to peers where they may do everything."""
    if not (isinstance(version, str) and is_old(version)):
        return []
    text = f"the Ollama of {target.shown} is {foreign(version)}, which is unsafe: {HOLE}"
    if target.admin:
        return [fail("version", f"{text}; RELAY_ALLOW_ADMIN lets peers do that", _UPDATE)]
    return [warn("version", text, _UPDATE)]


def _other(target: Target, answer: Said) -> Finding:
    if answer.status >= 500:
        text = f"{target.shown} answers HTTP {answer.status}"
        return warn("target", text, f"curl -i {target.origin}/ shows; its own log says why")
    text = f"{target.shown} answers (HTTP {answer.status}); it is neither an Ollama nor a farm"
    return ok("target", text)


def all_judged(targets: Sequence[Target]) -> list[Finding]:
    """Each of them."""
    return [finding for target in targets for finding in judged(target)]
