"""Ollamas: their versions, the system service, how many streams they run, what is in their memory.

Pure. Called by `examination`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from farm.doctor.containers import Container
from farm.doctor.finding import note, ok, trouble
from farm.doctor.graphics import Use
from farm.doctor.servers import Answer, Owner, Servers, Unit, owner_of
from farm.doctor.software import GET_OLLAMA
from wire.finding import Finding, foreign
from wire.ollamahole import HOLE, is_old

_EDIT = (
    'sudo systemctl edit ollama: [Service] Environment="OLLAMA_NUM_PARALLEL=4"; '
    "then sudo systemctl restart ollama"
)


@dataclass(frozen=True, slots=True)
class Binary:
    """The ollama command: its path, and its version or ""."""

    path: str
    version: str = ""


def version_said(text: str) -> str:
    """The command's own version out of what `ollama --version` prints; "" when it does not say.

    It tells first that of the server it reaches, and its own only where the two differ.
    """
    found = re.search(r"client version is (\S+)", text) or re.search(r"version is (\S+)", text)
    return found[1] if found else ""


def binary(found: Binary | None) -> Finding:
    """The ollama command."""
    if found is None:
        return note("ollama", "there is no `ollama` command; only --mode local needs it", GET_OLLAMA)
    shown = f"ollama {foreign(found.version or 'without a version')} at {foreign(found.path)}"
    if not found.version:
        return note(
            "ollama", f"{foreign(found.path)} does not tell its version", f"{foreign(found.path)} --version"
        )
    if is_old(found.version):
        return trouble("ollama", f"{shown} is unsafe: {HOLE}", _UPDATE)
    return ok("ollama", shown)


_UPDATE = "curl -fsSL https://ollama.com/install.sh | sh; in docker: docker pull ollama/ollama"


def running(servers: Servers) -> list[Finding]:
    """The versions of those that run, where they are worth a word."""
    told = []
    for answer in servers.ollamas:
        if is_old(answer.version):
            text = f"the Ollama at {answer.url} is {foreign(answer.version)}, which is unsafe: {HOLE}"
            told.append(trouble("ollama", text, f"{_UPDATE}; then start it again"))
    return told


def service(unit: Unit | None) -> list[Finding]:
    """The system service."""
    if unit is None:
        return []
    if unit.state == "active":
        text = "the service ollama runs; a farm on its port uses it as it is, its settings included"
        remedy = "to give its port to the farm's own: sudo systemctl disable --now ollama"
        return [note("service", text, remedy)]
    if unit.state in {"failed", "activating"}:
        what = "has failed" if unit.state == "failed" else "does not come up: it starts again and again"
        remedy = "journalctl -u ollama -n 50 says why; sudo systemctl disable --now ollama does without it"
        return [trouble("service", f"the service ollama {what}", remedy)]
    return [ok("service", f"the service ollama is installed and {foreign(unit.state)}")]


def parallel(servers: Servers, containers: Sequence[Container], unit: Unit | None) -> list[Finding]:
    """How many streams each runs at the same time."""
    found = [one for one in servers.ollamas if not one.embedded]
    return [_parallel(one, owner_of(one.port, servers, containers, unit)) for one in found]


def _parallel(one: Answer, owner: Owner) -> Finding:
    many = owner.parallel
    if many is None:
        text = (
            f"how many streams the Ollama at {one.url} runs at once cannot be read ({foreign(owner.words)})"
        )
        return note("parallel", text, "`--try MODEL` finds out; it costs tokens")
    if many == 1 and not owner.farm:
        text = f"the Ollama at {one.url} answers one request at a time (OLLAMA_NUM_PARALLEL is not set, or 1)"
        if owner.unit == "ollama":
            return note("parallel", text, _EDIT)
        remedy = "start it with OLLAMA_NUM_PARALLEL=4, or let the farm start one: --back-port 11435"
        return note("parallel", text, remedy)
    return ok(
        "parallel", f"the Ollama at {one.url} runs {many} stream{'s' if many > 1 else ''} of a model at once"
    )


def in_memory(servers: Servers, containers: Sequence[Container], unit: Unit | None) -> list[Use]:
    """The models in the memory of real Ollamas."""
    found = []
    for one in servers.ollamas:
        owner = owner_of(one.port, servers, containers, unit)
        if not one.embedded:
            found += [
                Use(
                    model.name,
                    one.url,
                    model.size,
                    model.on_gpu,
                    container=owner.container,
                    given=owner.gpu,
                    refused=owner.no_gpu,
                )
                for model in one.loaded
            ]
    return found
