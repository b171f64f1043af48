"""Models, what of a request's options needs a runner of its own, and how long a model is kept. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NEVER_S = (2**63 - 1) / 1e9
"""The longest duration Go knows: what a negative keep_alive means."""
RUNNER_OPTIONS = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread")
_DEFAULTS: dict[str, Any] = {
    "num_ctx": 4096, "num_batch": 512, "num_gpu": -1, "main_gpu": 0, "use_mmap": None, "num_thread": 0,
}  # fmt: skip
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Model:
    """`load_s` seconds to load; `refusal`: the words of the 500 that it then is. The first `stuck` loads
    hang before the runner says its first word: no time-out ends that. Models of one `gguf` share a runner."""

    load_s: float = 0.0
    refusal: str = ""
    stuck: int = 0
    gguf: str = ""
    size: int = 98_363_180
    loaded_size: int = 143_762_688
    vram: int = 0
    trained_ctx: int = 8192
    parameters: Mapping[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ("completion",)
    family: str = "llama"
    parameter_size: str = "134.52M"
    quantization: str = "Q4_1"

    @property
    def details(self) -> dict[str, Any]:
        return {
            "parent_model": "", "format": "gguf", "family": self.family, "families": [self.family],
            "parameter_size": self.parameter_size, "quantization_level": self.quantization,
        }  # fmt: skip


def full_name(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def digest_of(name: str) -> str:
    return hashlib.sha256(full_name(name).lower().encode()).hexdigest()


def runner_options(model: Model, given: Mapping[str, Any], num_ctx: int) -> dict[str, Any]:
    """The options by which runners are told apart."""
    wanted = _DEFAULTS | {"num_ctx": num_ctx} | dict(model.parameters) | dict(given)
    options = {name: wanted[name] for name in RUNNER_OPTIONS}
    return options | {"num_ctx": max(int(options["num_ctx"]), 4)}


def same_runner(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Any number of layers will do for a request that says -1."""
    ignored = {"num_gpu"} if new["num_gpu"] < 0 else set()
    return all(old[name] == new[name] for name in RUNNER_OPTIONS if name not in ignored)


def keep_alive_of(value: Any) -> float | None:
    """Seconds, or None for not given. ValueError has Ollama's words."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        kind = {bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}[type(value)]
        raise ValueError(f"Unsupported type: '{kind}'")  # noqa: TRY004 - of a value, for the client
    seconds = _duration(value) if isinstance(value, str) else float(value)
    return NEVER_S if seconds < 0 else min(seconds, NEVER_S)


def _duration(text: str) -> float:
    body = text.lstrip("+-")
    if body == "0":
        return 0.0
    if re.fullmatch(r"[\d.]+", body) and body != ".":
        raise ValueError(f'time: missing unit in duration "{text}"')
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", body)
    if not parts or "".join(map("".join, parts)) != body:
        raise ValueError(f'time: invalid duration "{text}"')
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return -total if text.startswith("-") else total
