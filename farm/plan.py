"""What the owner asked for, as data, and what the embedded engine is started with.

Pure. Made by `settings`, read by `house`, `sources` and the embedded backend's runner; knows no process.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from wire.errors import SettingsFault

KEY_VARIABLE = "FARM_ENGINE_KEY"
"""The engine's access key travels in the environment: a command line is shown to every user."""


class Mode(enum.Enum):
    """What runs the model."""

    AUTO = "auto"
    DOCKER = "docker"
    LOCAL = "local"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class FarmPlan:
    """One farm.

    Attributes:
        mode: what runs the model.
        model: the name to keep warm.
        host: address the front binds; backends are always on loopback.
        front_port: 0 picks a free one.
        back_port: of the first backend, the others follow; 0 picks free ones.
        slots: streams that run at the same time on one backend.
        slot_tokens: context of each.
        gpu_layers: layers on the GPU; below 0: as many as fit.
        keep_alive: how long an idle model stays in memory, as Ollama writes it.
        keep_alive_s: the same in seconds, infinite for ever.
        models_dir: folder of the models, or None to look for it.
        pull: whether a model that is missing is fetched.
        per_gpu: one backend for each GPU.
        image: container image, or "" for the published one.
        waiting_max: requests that may wait.
        allow_admin: whether other machines may change this one.
    """

    mode: Mode
    model: str
    host: str
    front_port: int
    back_port: int
    slots: int
    slot_tokens: int
    gpu_layers: int
    keep_alive: str
    keep_alive_s: float
    models_dir: str | None
    pull: bool
    per_gpu: bool
    image: str
    waiting_max: int
    allow_admin: bool

    def back_ports(self, backends: int) -> range:
        """The ports of so many backends.

        Raises:
            SettingsFault: they do not fit, or the front's port is one of them.
        """
        found = range(self.back_port, self.back_port + backends)
        if found[-1] > 65535:
            raise SettingsFault("--back-port", f"leaves no room for {backends} backends")
        if self.front_port in found and self.front_port:
            taken = f"{self.front_port} is one of the back ports {found[0]} to {found[-1]}"
            raise SettingsFault("--front-port", taken)
        return found


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """One engine child.

    Attributes:
        model: path of the GGUF file.
        slots: streams that run at the same time.
        slot_tokens: context of each in tokens.
        threads: compute threads.
        batch: tokens per prefill step.
    """

    model: str
    slots: int
    slot_tokens: int
    threads: int
    batch: int

    def argv(self, python: str) -> list[str]:
        """The command line: the plan itself as one JSON argument of `farm.engine`."""
        return [python, "-m", "farm.engine", json.dumps(asdict(self))]

    def environment(
        self, inherited: Mapping[str, str], *, root: str, pathsep: str, key: str
    ) -> dict[str, str]:
        """The child's environment.

        Args:
            inherited: the farm's own.
            root: folder that holds the package `farm`.
            pathsep: what separates folders in PYTHONPATH.
            key: what callers of the engine must present.
        """
        paths = [root, *filter(None, [inherited.get("PYTHONPATH")])]
        # OpenMP's threads spin at barriers by default, which costs a factor of 5 to 10 as soon as
        # anything else wants a core; an owner who set the variable is left alone.
        waiting = inherited.get("OMP_WAIT_POLICY", "PASSIVE")
        own = {"PYTHONPATH": pathsep.join(paths), "OMP_WAIT_POLICY": waiting, KEY_VARIABLE: key}
        return {**inherited, **own}


def engine_threads(cores: int) -> int:
    """Compute threads on a machine with so many cores: one is left to the HTTP side, one is the least."""
    return max(1, cores - 1)
