"""The few variables of a running Ollama that say something here; no other one is ever kept or shown.

Pure; used wherever an environment is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from farm import launch

PARALLEL: Final = "OLLAMA_NUM_PARALLEL"
HOST: Final = "OLLAMA_HOST"
LAYERS: Final = "OLLAMA_NUM_GPU_LAYERS"
"""No Ollama reads it; the farm sets it, and so its wish can be seen."""
CHOSEN: Final = (PARALLEL, HOST, LAYERS, launch.MARK)


def chosen(environment: Mapping[str, str]) -> dict[str, str]:
    """What is kept of an environment."""
    return {name: environment[name] for name in CHOSEN if name in environment}


def host_and_port(value: str) -> tuple[str, int]:
    """OLLAMA_HOST as Ollama reads it, without a user name that may stand in it.

    Returns:
        "127.0.0.1" and 11434 for what is not said.
    """
    scheme, there, rest = value.strip().strip("\"'").rpartition("://")
    standard = {"http": 80, "https": 443}.get(scheme, 11434) if there else 11434
    authority = rest.partition("/")[0].rpartition("@")[2]
    if authority.startswith("["):
        host, _, port = authority[1:].partition("]")
    elif authority.count(":") == 1:
        host, _, port = authority.partition(":")
    else:
        host, port = authority, ""  # no port, or an IPv6 address by itself
    number = port.lstrip(":")
    return host or "127.0.0.1", int(number) if number.isdigit() and int(number) < 65536 else standard


def parallel_of(settings: Mapping[str, str]) -> int:
    """How many streams of a model an Ollama runs at the same time; 1 when nobody says it."""
    value = settings.get(PARALLEL, "").strip().strip("\"'")
    return int(value) if value.isdigit() and int(value) else 1
