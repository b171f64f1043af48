"""Docker and its containers.

Pure: facts and their findings. Looked for by `machinery`, called by `examination`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from farm import launch
from farm.doctor.finding import as_needed, note, ok, trouble
from farm.doctor.software import DOCKER_ENSURE, GET_DOCKER
from farm.doctor.variables import chosen
from wire.finding import Finding, foreign, listed

INSIDE = 11434
"""Ollama's port in its container."""


@dataclass(frozen=True, slots=True)
class Docker:
    """Docker.

    Attributes:
        there: whether there is the command.
        trouble: why it cannot be used; "" when it can.
        version: of its daemon.
        default_runtime: its name.
        nvidia: whether it has the runtime that hands over NVIDIA GPUs.
        snap: whether the command comes from a snap.
        elsewhere: scheme of DOCKER_HOST when that leads to another machine, else "".
        member: whether the user database has this user in the group docker.
    """

    there: bool
    trouble: str = ""
    version: str = ""
    default_runtime: str = ""
    nvidia: bool = False
    snap: bool = False
    elsewhere: str = ""
    member: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """One container.

    Attributes:
        name: without a slash.
        image: as it was asked for.
        running: or stopped.
        ports: published: (address, port of this machine, port inside).
        farm: back port of the farm that made it, or "".
        settings: chosen variables.
        gpu: whether it was given any.
    """

    name: str
    image: str
    running: bool
    ports: tuple[tuple[str, int, int], ...] = ()
    farm: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False


def read(inspected: Any) -> tuple[Container, ...]:
    """Containers out of what `docker inspect` prints; what is no container is passed over."""
    entries = inspected if isinstance(inspected, list) else []
    return tuple(_container(entry) for entry in entries if isinstance(entry, dict) and entry.get("Name"))


def _container(entry: Mapping[str, Any]) -> Container:
    config, host = _part(entry, "Config"), _part(entry, "HostConfig")
    environment = dict(
        word.partition("=")[::2] for word in config.get("Env") or () if isinstance(word, str) and "=" in word
    )
    given = host.get("DeviceRequests") or host.get("Devices") or host.get("Runtime") == "nvidia"
    return Container(
        name=str(entry["Name"]).lstrip("/"),
        image=str(config.get("Image") or ""),
        running=bool(_part(entry, "State").get("Running")),
        ports=tuple(_ports(_part(host, "PortBindings"))) + tuple(_ports(_network_ports(entry))),
        farm=str((config.get("Labels") or {}).get(launch.LABEL, "")),
        settings=chosen(environment),
        gpu=bool(given),
    )


def _part(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = entry.get(name)
    return found if isinstance(found, dict) else {}


def _network_ports(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a port was left to docker to choose, only these say which it chose."""
    return _part(_part(entry, "NetworkSettings"), "Ports")


def _ports(bindings: Mapping[str, Any]) -> Iterable[tuple[str, int, int]]:
    for inside, places in bindings.items():
        for place in places or ():
            outside, number = str(place.get("HostPort", "")), inside.partition("/")[0]
            if outside.isdigit() and number.isdigit() and int(outside):
                yield str(place.get("HostIp") or "0.0.0.0"), int(outside), int(number)


def publishing(containers: Iterable[Container], port: int) -> Container | None:
    """The running container that has a port of this machine."""
    for one in containers:
        if one.running and any(outside == port for _, outside, _ in one.ports):
            return one
    return None


def is_open(address: str) -> bool:
    """Whether an address that is bound can be reached from other machines."""
    try:
        return not ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return address != "localhost"


def docker(found: Docker, *, gpu: bool, needed: bool) -> list[Finding]:
    """Whether `--mode docker` is possible.

    Args:
        found: what was seen.
        gpu: whether there is an NVIDIA GPU whose driver works.
        needed: whether there is no other way to run an Ollama.
    """
    if not found.there:
        return [note("docker", "docker is not installed; only --mode docker needs it", GET_DOCKER)]
    if found.trouble:
        return [as_needed("docker", *_why(found), needed=needed)]
    runtime = f"; its default runtime is {foreign(found.default_runtime)}" if found.default_runtime else ""
    told = [ok("docker", f"Docker {foreign(found.version)} answers{runtime}")]
    if found.elsewhere:
        text = f"DOCKER_HOST ({foreign(found.elsewhere)}://…) leads to another machine; a farm needs its own"
        told = [note("docker", text, "unset DOCKER_HOST")]
    if found.snap:
        text = "docker comes from a snap, which sees neither all folders nor, as a rule, the GPU"
        told.append(note("docker", text, f"install docker.io or docker-ce instead: {GET_DOCKER}"))
    if gpu and not found.nvidia:
        text = "docker cannot hand the NVIDIA GPU to containers: it has no runtime `nvidia`"
        remedy = f"{DOCKER_ENSURE} (Ubuntu 24.04; docs/docker-gpu.md has the rest)"
        told.append(as_needed("docker-gpu", text, remedy, needed=needed))
    elif gpu:
        text = "docker can hand the NVIDIA GPU to containers"
        trial = "docker run --rm --gpus all nvidia/cuda:12.8.0-base-ubuntu24.04 nvidia-smi"
        told.append(ok("docker-gpu", text, f"to see it: {trial}"))
    return told


def _why(found: Docker) -> tuple[str, str]:
    """Text and remedy for a docker that does not answer."""
    words = found.trouble.lower()
    if "permission denied" in words and found.member:
        text = "you are in the group docker, but this session began before that"
        return text, "log in again, or run `newgrp docker`"
    if "permission denied" in words:
        remedy = "sudo usermod -aG docker $USER, then log in again (members of that group can become root)"
        return "you may not talk to Docker's daemon", remedy
    if "cannot connect" in words or "did not answer" in words:
        remedy = "sudo systemctl enable --now docker; its log: journalctl -u docker -n 50"
        return f"Docker's daemon does not answer: {foreign(found.trouble)}", remedy
    return f"docker cannot be used: {foreign(found.trouble)}", "what it says itself: docker info"


def leftovers(
    containers: Sequence[Container], guarded: Iterable[str], orphans: Sequence[tuple[str, int]]
) -> list[Finding]:
    """What farms left behind that are gone.

    Args:
        containers: all.
        guarded: names of those that a running farm looks after.
        orphans: processes: (name, pid).
    """
    looked_after = set(guarded)
    left = [one.name for one in containers if one.farm and one.name not in looked_after]
    told = []
    if left:
        text = f"{_count(left, 'container')} left behind by a farm that is gone: {listed(left)}"
        told.append(trouble("leftovers", text, f"docker rm -f {' '.join(map(foreign, left))}"))
    if orphans:
        named = listed(f"{name} (process {pid})" for name, pid in orphans)
        pids = " ".join(str(pid) for _, pid in orphans)
        text = f"{_count(orphans, 'process', 'es')} left behind by a farm that is gone: {named}"
        remedy = f"kill {pids}; the next start of a farm ends them too"
        told.append(trouble("leftovers", text, remedy))
    return told or [ok("leftovers", "nothing is left behind by earlier farms")]


def _count(things: Sequence[object], noun: str, plural: str = "s") -> str:
    return f"{len(things)} {noun}{plural if len(things) > 1 else ''}"
