"""How an Ollama is started, as data: command line, environment, mounts.

Pure: what the machine has comes in, commands come out; `--dry-run` prints them. Made by `sources`, carried
out by `guarded`.
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

IMAGE: Final = "ollama/ollama:latest"
ROCM_IMAGE: Final = "ollama/ollama:rocm"
LABEL: Final = "io.gpu-over-nkn.farm"
"""Label of the farm's containers; its value is the back port."""
MARK: Final = "OLLAMA_FARM_PORT"
"""Variable that every process of an Ollama inherits that is no container; its value is the back port."""
_INSIDE: Final = 11434
_HOME: Final = "/root"
_NOT_FORWARDED: Final = frozenset({"OLLAMA_HOST", "OLLAMA_MODELS", MARK})


class Gpu(enum.Enum):
    """What kind of GPU a container is given."""

    NONE = "none"
    NVIDIA = "nvidia"
    AMD = "amd"
    JETSON = "jetson"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One Ollama.

    Attributes:
        port: on loopback.
        parallel: streams at the same time.
        gpu_layers: layers on the GPU, below 0: as many as fit.
        keep_alive: how long an idle model stays in memory.
        ctx: context of a stream in tokens.
        models: folder that holds `models/`.
        device: the one GPU it may use: UUID or index; None: all.
        shared: whether other Ollamas use the same folder.
        image: of the container; "" for the published one.
        store: folder of the models themselves, where it is not `models` in that folder; or "".
    """

    port: int
    parallel: int
    gpu_layers: int
    keep_alive: str
    ctx: int
    models: str
    device: str | None = None
    shared: bool = False
    image: str = ""
    store: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """What is run.

    Attributes:
        argv: the command.
        environment: variables on top of the farm's own.
        undo: command that removes what is left of it; may be empty.
        image: container image it needs, or "".
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    undo: tuple[str, ...] = ()
    image: str = ""

    def shown(self) -> str:
        """As a person would type it."""
        before = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*before, shlex.join(self.argv)])


def _settings(wanted: Wanted) -> dict[str, str]:
    """Ollama's own variables, wherever it runs."""
    found = {
        "OLLAMA_NUM_PARALLEL": str(wanted.parallel),
        # No Ollama reads this one; the layers are made real by `num_gpu` of every load.
        "OLLAMA_NUM_GPU_LAYERS": str(wanted.gpu_layers),
        "OLLAMA_KEEP_ALIVE": wanted.keep_alive,
        # One context for all requests: each other value would load the model anew.
        "OLLAMA_CONTEXT_LENGTH": str(wanted.ctx),
    }
    # Not OLLAMA_MULTIUSER_CACHE: with it a second conversation that begins alike ends the runner of 0.24 (an
    # assertion in `seq_cp`) as soon as two streams are allowed.
    if wanted.shared:
        found["OLLAMA_NOPRUNE"] = "1"  # one that starts would delete what another is still pulling
    return found


def local(binary: str, wanted: Wanted, kind: Gpu) -> Launch:
    """An Ollama of this machine."""
    store = wanted.store or f"{wanted.models}/models"
    environment = {"OLLAMA_HOST": f"127.0.0.1:{wanted.port}", "OLLAMA_MODELS": store}
    environment |= _settings(wanted)
    # Not for containers, which have a label: a living one would look like something left behind.
    environment[MARK] = str(wanted.port)
    if wanted.device is not None:
        variable = "ROCR_VISIBLE_DEVICES" if kind is Gpu.AMD else "CUDA_VISIBLE_DEVICES"
        environment[variable] = wanted.device
    return Launch((binary, "serve"), environment)


def docker(
    binary: str, wanted: Wanted, kind: Gpu, inherited: Mapping[str, str], jetpack: str = "6"
) -> Launch:
    """An Ollama in a container that is removed when it ends.

    Args:
        binary: the docker command.
        wanted: what it is to be.
        kind: which GPU it is given.
        inherited: the farm's environment; the owner's OLLAMA_ variables go into the container.
        jetpack: major version, for `Gpu.JETSON`.
    """
    name = container(wanted.port)
    image = wanted.image or (ROCM_IMAGE if kind is Gpu.AMD else IMAGE)
    settings = {"OLLAMA_HOST": "0.0.0.0"} | _settings(wanted)
    # By name alone: docker takes the value from its own environment, where `ps` does not show it.
    owners = sorted(
        {key for key in inherited if key.startswith("OLLAMA_")} - _NOT_FORWARDED - settings.keys()
    )
    if kind is Gpu.JETSON:
        settings["JETSON_JETPACK"] = jetpack
    argv = [binary, "run", "--rm", "--name", name, "--label", f"{LABEL}={wanted.port}"]
    argv += _devices(kind, wanted.device)
    for given in (*owners, *(f"{key}={value}" for key, value in settings.items())):
        argv += ["-e", given]
    home = f"{_HOME}/.ollama"
    mount = f"{wanted.store}:{home}/models" if wanted.store else f"{wanted.models}:{home}"
    argv += ["-v", mount, "-p", f"127.0.0.1:{wanted.port}:{_INSIDE}", image]
    return Launch(tuple(argv), undo=(binary, "rm", "-f", name), image=image)


def container(port: int) -> str:
    """The name of the container behind a back port."""
    return f"ollama-farm-{port}"


def _devices(kind: Gpu, device: str | None) -> list[str]:
    if kind is Gpu.NVIDIA:
        return ["--gpus", "all" if device is None else f"device={device}"]
    if kind is Gpu.AMD:
        return ["--device", "/dev/kfd", "--device", "/dev/dri"] + (
            [] if device is None else ["-e", f"ROCR_VISIBLE_DEVICES={device}"]
        )
    return ["--runtime", "nvidia"] if kind is Gpu.JETSON else []
