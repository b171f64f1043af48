"""What listens and answers on this machine, and what runs it.

Pure: facts, and the question who runs an Ollama. Looked for by `processes` and `answers`, judged by `ports`
and `ollamas`.
"""

from __future__ import annotations

import enum
import shlex
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from farm import launch
from farm.doctor.containers import INSIDE, Container, is_open, publishing
from farm.doctor.variables import HOST, LAYERS, chosen, host_and_port, parallel_of

STANDARD = 11434


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who listens on a TCP port.

    Attributes:
        address: that is bound.
        port: of it.
        pid: of the process, None where the system does not say.
        name: of its program.
        unit: the service it belongs to, as systemctl takes it, or "".
    """

    address: str
    port: int
    pid: int | None = None
    name: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Serve:
    """A process `ollama serve`; `settings`: chosen variables, None where its environment cannot be read."""

    pid: int
    settings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """The system service `ollama`, where systemd runs the machine.

    Attributes:
        state: "active", "inactive", "failed", "activating" …
        pid: of its main process, or 0.
        settings: chosen variables of its unit.
    """

    state: str
    pid: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


def read_unit(shown: str) -> Unit | None:
    """A unit out of what `systemctl show` prints; None when there is no such unit."""
    told = dict(line.partition("=")[::2] for line in shown.splitlines() if "=" in line)
    if told.get("LoadState") != "loaded":
        return None
    try:
        words = shlex.split(told.get("Environment", ""))
    except ValueError:
        words = []
    pid = told.get("MainPID", "")
    return Unit(
        state=told.get("ActiveState", ""),
        pid=int(pid) if pid.isdigit() else 0,
        settings=chosen(dict(word.partition("=")[::2] for word in words)),
    )


class Kind(enum.Enum):
    """What answers on a port."""

    FARM = "farm"
    OLLAMA = "ollama"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory; sizes in bytes."""

    name: str
    size: int
    on_gpu: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A server that was asked what it is.

    Attributes:
        url: where.
        port: of it.
        kind: what it is.
        version: of an Ollama.
        embedded: whether it is the farm's embedded engine.
        loaded: its models in memory.
        models: its models on disk, canonical name → bytes; None when it does not list them.
        health: a farm's own words.
    """

    url: str
    port: int
    kind: Kind
    version: str = ""
    embedded: bool = False
    loaded: tuple[Loaded, ...] = ()
    models: Mapping[str, int] | None = None
    health: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Servers:
    """What listens and answers.

    Attributes:
        listeners: on all ports; None where the system does not say.
        serves: processes `ollama serve`.
        answers: what answered on the ports that were asked.
        orphans: processes that a farm left behind: (name, pid).
        guarded: names of the containers that running farms look after.
    """

    listeners: tuple[Listener, ...] | None = ()
    serves: tuple[Serve, ...] = ()
    answers: tuple[Answer, ...] = ()
    orphans: tuple[tuple[str, int], ...] = ()
    guarded: tuple[str, ...] = ()

    def at(self, port: int) -> Answer | None:
        """What answered on a port."""
        return next((answer for answer in self.answers if answer.port == port), None)

    def listening(self, port: int) -> tuple[Listener, ...]:
        """Who listens on a port."""
        return tuple(one for one in self.listeners or () if one.port == port)

    @property
    def ollamas(self) -> tuple[Answer, ...]:
        """Those that are an Ollama."""
        return tuple(answer for answer in self.answers if answer.kind is Kind.OLLAMA)


@dataclass(frozen=True, slots=True)
class Owner:
    """What runs an Ollama.

    Attributes:
        words: for people: "container x", "the service ollama", "ollama, process 12".
        container: its container's name, or "".
        gpu: whether that container was given a GPU.
        unit: the service, as systemctl takes it, or "".
        made: whether a farm made its container.
        pid: its process, where known.
        settings: chosen variables, or None where they cannot be read.
    """

    words: str
    container: str = ""
    gpu: bool = True
    unit: str = ""
    made: bool = False
    pid: int | None = None
    settings: Mapping[str, str] | None = None

    @property
    def farm(self) -> bool:
        """Whether a farm started it."""
        return self.made or bool(self.settings and launch.MARK in self.settings)

    @property
    def no_gpu(self) -> bool:
        """Whether it was told to use none."""
        return bool(self.settings and self.settings.get(LAYERS) == "0")

    @property
    def parallel(self) -> int | None:
        """Streams at the same time, or None where its settings cannot be read."""
        return None if self.settings is None else parallel_of(self.settings)


def owner_of(port: int, servers: Servers, containers: Sequence[Container], unit: Unit | None) -> Owner:
    """What runs the Ollama on a port, as far as can be seen."""
    box = publishing(containers, port)
    if box is not None:
        return Owner(
            f"container {box.name}",
            container=box.name,
            gpu=box.gpu,
            made=bool(box.farm),
            settings=box.settings,
        )
    held = next((one for one in servers.listening(port) if one.pid is not None), None)
    serve = next((one for one in servers.serves if held is not None and one.pid == held.pid), None)
    if unit is not None and unit.state == "active" and _is_units(port, held, unit):
        settings = serve.settings if serve is not None and serve.settings is not None else unit.settings
        return Owner("the service ollama", unit="ollama", pid=unit.pid or None, settings=settings)
    if held is None:
        return Owner("a program that the system does not name")
    known = None if serve is None else serve.settings
    return Owner(f"{held.name}, process {held.pid}", unit=held.unit, pid=held.pid, settings=known)


def _is_units(port: int, held: Listener | None, unit: Unit) -> bool:
    if held is not None:
        return held.pid == unit.pid
    # Another user's process is not named; the unit's own address is what is left to go by.
    return host_and_port(unit.settings.get(HOST, ""))[1] == port


def port_of(url: str) -> int | None:
    """The port of a URL on this machine; None for another machine's."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.port if parts.hostname and not is_open(parts.hostname) else None
    except ValueError:
        return None


def is_ollamas(one: Container) -> bool:
    """Whether a container looks like an Ollama."""
    return "ollama" in one.image.lower() or any(inside == INSIDE for _, _, inside in one.ports)
