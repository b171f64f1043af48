"""All facts in, all findings out, in the order in which a person wants to read them.

Pure. Called by `cli`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from farm.demand import canonical
from farm.doctor import containers, front, graphics, ollamas, ports, software, storage, surroundings, trial
from farm.doctor.containers import Container, Docker
from farm.doctor.finding import note
from farm.doctor.front import Front
from farm.doctor.graphics import Graphics
from farm.doctor.ollamas import Binary
from farm.doctor.servers import Kind, Servers, Unit, port_of
from farm.doctor.software import Choice, Engine, Packages
from farm.doctor.storage import Storage
from farm.doctor.surroundings import Surroundings
from farm.doctor.trial import Trial
from wire.finding import Finding


@dataclass(frozen=True, slots=True)
class Asked:
    """What the owner told the doctor.

    Attributes:
        front_port: of the farm.
        back_port: of its first backend.
        others: further ports to look at.
        model: that should be there, or "".
    """

    front_port: int
    back_port: int
    others: tuple[int, ...] = ()
    model: str = ""

    @property
    def ports(self) -> tuple[int, ...]:
        """All ports of interest."""
        return tuple(dict.fromkeys((self.back_port, self.front_port, *self.others)))


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen; None where a probe did not tell (`silent` has why) or there is nothing."""

    asked: Asked
    packages: Packages | None = None
    engine: Engine | None = None
    choice: Choice | None = None
    docker: Docker | None = None
    containers: tuple[Container, ...] = ()
    graphics: Graphics | None = None
    binary: Binary | None = None
    unit: Unit | None = None
    servers: Servers | None = None
    storage: Storage | None = None
    surroundings: Surroundings | None = None
    fronts: tuple[Front, ...] = ()
    trial: Trial | None = None
    silent: Mapping[str, str] = field(default_factory=dict)

    @property
    def adoptable(self) -> str:
        """URL of the Ollama on the back port, or ""."""
        answer = self.servers.at(self.asked.back_port) if self.servers else None
        return answer.url if answer is not None and answer.kind is Kind.OLLAMA else ""

    @property
    def stuck(self) -> bool:
        """Whether no model of the owner's choice can be run here."""
        return self.choice is not None and not self.choice.mode and not self.adoptable


def examine(facts: Facts) -> list[Finding]:
    """What there is to say."""
    return [
        *_software(facts),
        *_graphics(facts),
        *_docker(facts),
        *_servers(facts),
        *_storage(facts),
        *_surroundings(facts),
        *(finding for one in facts.fronts for finding in front.told(one, _unreached(one, facts.servers))),
        *(trial.judged(facts.trial) if facts.trial else []),
        *(software.unseen(check, why) for check, why in facts.silent.items()),
    ]


def _software(facts: Facts) -> list[Finding]:
    told = []
    if facts.choice is not None:
        told.append(software.choice(facts.choice, facts.adoptable))
    if facts.packages is not None:
        told.append(software.packages(facts.packages))
    if facts.engine is not None:
        told.append(software.engine(facts.engine, needed=facts.stuck))
    return told


def _graphics(facts: Facts) -> list[Finding]:
    if facts.graphics is None:
        return []
    local = facts.choice is None or facts.choice.mode != "docker"
    told = graphics.gpus(facts.graphics, local=local)
    if facts.servers is None:
        return told
    used = ollamas.in_memory(facts.servers, facts.containers, facts.unit)
    told += graphics.uses(used, there=facts.graphics.any)
    if facts.graphics.any and not used and any(not one.embedded for one in facts.servers.ollamas):
        text = "no model is in memory, so it cannot be seen whether the GPU is used"
        told.append(note("gpu-use", text, "`--try MODEL` loads one; it costs tokens"))
    return told


def _docker(facts: Facts) -> list[Finding]:
    if facts.docker is None:
        return []
    seen = facts.graphics
    gpu = seen is not None and bool(seen.cards or seen.jetson)
    return containers.docker(facts.docker, gpu=gpu, needed=facts.stuck)


def _servers(facts: Facts) -> list[Finding]:
    told = [] if "ollama" in facts.silent else [ollamas.binary(facts.binary)]
    told += ollamas.service(facts.unit)
    servers, asked = facts.servers, facts.asked
    if servers is None:
        return told
    boxes, unit = facts.containers, facts.unit
    told += ollamas.running(servers)
    wanted = tuple(dict.fromkeys((*asked.ports, *(one.port for one in servers.ollamas))))
    told += ports.ports(wanted, servers, boxes, unit, front=asked.front_port, back=asked.back_port)
    told += ports.exposed(servers, boxes, unit)
    told += ollamas.parallel(servers, boxes, unit)
    return told + containers.leftovers(boxes, servers.guarded, servers.orphans)


def _storage(facts: Facts) -> list[Finding]:
    found, asked = facts.storage, facts.asked.model
    told = [] if found is None else storage.models(found)
    if not asked:
        return told
    answer = facts.servers.at(facts.asked.back_port) if facts.servers else None
    served = answer.models if answer is not None and answer.kind is Kind.OLLAMA else None
    said, needs = storage.model(asked, found, served)
    told.append(said)
    if needs and facts.surroundings and not _is_loaded(facts, asked):
        gpu = facts.graphics.free_b if facts.graphics else None
        told += storage.fit(asked, needs, memory=facts.surroundings.available, gpu=gpu)
    return told


def _is_loaded(facts: Facts, asked: str) -> bool:
    found = facts.servers.ollamas if facts.servers else ()
    return any(canonical(model.name) == canonical(asked) for one in found for model in one.loaded)


def _unreached(one: Front, servers: Servers | None) -> set[str]:
    """URLs of a local farm's backends that are not among what answered."""
    if servers is None or one.health is None or port_of(one.url) is None:
        return set()
    return {url for url in front.urls(one.health) if (port := port_of(url)) and servers.at(port) is None}


def _surroundings(facts: Facts) -> list[Finding]:
    if facts.surroundings is None:
        return []
    return [surroundings.memory(facts.surroundings), *surroundings.shell(facts.surroundings)]
