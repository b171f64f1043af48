"""What to start, as data: the farm's ports and sizes, the engine child's command line and environment.

Pure. Made by `settings`, read by `house` and the embedded backend's runner; knows no process and no engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

KEY_VARIABLE = "FARM_ENGINE_KEY"
"""The engine's access key travels in the environment: a command line is shown to every user."""


@dataclass(frozen=True, slots=True)
class FarmPlan:
    """One farm.

    Attributes:
        host: address the front binds; the back is always loopback.
        front_port: 0 picks a free one.
        back_port: 0 picks a free one.
        slots: streams that run at the same time.
        slot_tokens: context of each.
        keep_alive_s: seconds an idle model stays loaded, infinite for ever.
    """

    host: str
    front_port: int
    back_port: int
    slots: int
    slot_tokens: int
    keep_alive_s: float


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
