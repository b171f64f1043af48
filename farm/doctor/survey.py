"""All looks together, side by side, and what they saw as `Facts`.

Called by `cli`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from farm.doctor import asking, grounds, limits, machinery, trying
from farm.doctor.containers import Container, Docker
from farm.doctor.examination import Asked, Facts
from farm.doctor.front import Front, urls
from farm.doctor.graphics import Graphics
from farm.doctor.probing import gather
from farm.doctor.servers import Kind, Servers, port_of
from farm.doctor.software import Choice
from farm.doctor.trial import Trial
from farm.machine import Machine
from farm.plan import FarmPlan

_CHECKS = {"cards": "gpu-memory", "servers": "port", "surroundings": "memory"}
"""Look → the check under which its silence is told, where that has another name."""


def look(asked: Asked, plan: FarmPlan, *, front: str | None, models_dir: str | None) -> Facts:
    """Look at everything; costs nothing, takes as long as the slowest look.

    Args:
        asked: ports and model of interest.
        plan: a farm as it would be started.
        front: URL of a farm, or None for the one on the front port.
        models_dir: folder of models, or None.
    """
    looks: dict[str, Callable[[], Any]] = {
        "python": machinery.packages,
        "engine": machinery.engine,
        "machine": _machine,
        "cards": machinery.cards,
        "containers": machinery.containers,
        "ollama": machinery.binary,
        "service": machinery.unit,
        "servers": partial(_servers, asked.ports),
        "models": partial(grounds.storage, models_dir),
        "surroundings": grounds.surroundings,
    }
    if front is not None:
        looks["front"] = partial(asking.front, front)
    found, silent = gather(looks, limits.PROBE_S)
    servers = _guarded(found.get("servers"), found.get("containers", ()))
    choice, docker, graphics = _joined(plan, found)
    return Facts(
        asked=asked,
        packages=found.get("python"),
        engine=found.get("engine"),
        choice=choice,
        docker=docker,
        containers=found.get("containers", ()),
        graphics=graphics,
        binary=found.get("ollama"),
        unit=found.get("service"),
        servers=servers,
        storage=found.get("models"),
        surroundings=found.get("surroundings"),
        fronts=_fronts(found.get("front"), servers),
        silent={_CHECKS.get(name, name): why for name, why in silent.items()},
    )


def _machine() -> tuple[Machine, Docker]:
    there = machinery.seen()
    return there, machinery.docker(there)


def _joined(plan: FarmPlan, found: dict[str, Any]) -> tuple[Choice | None, Docker | None, Graphics | None]:
    """What two looks tell together."""
    if "machine" not in found:
        return None, None, None
    there, docker = found["machine"]
    own, driver = found.get("cards", ((), ""))
    return machinery.chosen_way(plan, there), docker, machinery.graphics(there, own, driver)


def _servers(ports: Sequence[int]) -> Servers:
    from farm.doctor import answers  # needs psutil, whose lack is a finding, not the end

    return answers.servers(ports)


def _guarded(servers: Servers | None, containers: Sequence[Container]) -> Servers | None:
    """The servers, and which of the farms' containers somebody looks after."""
    made = [one for one in containers if one.farm]
    if servers is None or not made:
        return servers
    from farm.doctor import processes

    backends = {port_of(url) for answer in servers.answers for url in urls(answer.health or {})}
    known = [one.name for one in made if one.farm.isdigit() and int(one.farm) in backends]
    return replace(servers, guarded=(*known, *processes.guarded(one.name for one in made)))


def _fronts(given: Front | None, servers: Servers | None) -> tuple[Front, ...]:
    """The farm that was named, else every one on the ports of interest."""
    if given is not None or servers is None:
        return (given,) if given is not None else ()
    return tuple(Front(one.url, one.health) for one in servers.answers if one.kind is Kind.FARM)


def tried(facts: Facts, model: str, at_once: int) -> Facts:
    """The same with what a trial found; the model is in memory now, so that its GPU can be seen."""
    url = _whom(facts)
    if not url:
        nobody = ("neither a farm nor an Ollama answers",)
        return replace(facts, trial=Trial("this machine", model, at_once, errors=nobody))
    trial = trying.run(url, model, at_once)
    found, _ = gather({"servers": partial(_servers, facts.asked.ports)}, limits.PROBE_S)
    return replace(
        facts, trial=trial, servers=_guarded(found.get("servers", facts.servers), facts.containers)
    )


def _whom(facts: Facts) -> str:
    """Who is asked: a farm if there is one, else the Ollama on the back port, else any."""
    farms = [one.url for one in facts.fronts if one.health is not None]
    others = [one.url for one in facts.servers.ollamas] if facts.servers else []
    return next(iter([*farms, *filter(None, [facts.adoptable]), *others]), "")
