"""What this machine has to run a model with: docker, an Ollama, GPUs, folders of models.

Only looks, changes nothing. Called by `sources` and by the doctor.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from farm import limits
from farm.launch import Gpu


@dataclass(frozen=True, slots=True)
class Card:
    """One NVIDIA GPU.

    Attributes:
        index: as nvidia-smi counts.
        uuid: "GPU-…".
        name: of the product.
        memory: with its unit.
    """

    index: str
    uuid: str
    name: str
    memory: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is.

    Attributes:
        docker: the docker command, when its daemon answers.
        docker_trouble: why docker cannot be used; "" when it can.
        nvidia_runtime: whether docker can hand NVIDIA GPUs to containers.
        cards: NVIDIA GPUs whose driver works.
        nvidia_trouble: what nvidia-smi said when it failed; "" otherwise.
        amd: whether there is an AMD GPU with its compute driver.
        jetson: whether this is a Jetson; the JetPack major version or "".
        ollama: the ollama command.
    """

    docker: str | None
    docker_trouble: str
    nvidia_runtime: bool
    cards: tuple[Card, ...]
    nvidia_trouble: str
    amd: bool
    jetson: str
    ollama: str | None

    @property
    def gpu(self) -> Gpu:
        """The kind of GPU."""
        if self.jetson:
            return Gpu.JETSON
        if self.cards:
            return Gpu.NVIDIA
        return Gpu.AMD if self.amd else Gpu.NONE


def look() -> Machine:
    """Look at this machine; takes up to `limits.LOOK_S` for each command that does not answer."""
    docker = shutil.which("docker")
    runtimes, docker_trouble = _docker(docker) if docker else ("", "the docker command is not installed")
    cards, nvidia_trouble = _nvidia()
    return Machine(
        docker=docker if not docker_trouble else None,
        docker_trouble=docker_trouble,
        nvidia_runtime="nvidia" in runtimes,
        cards=cards,
        nvidia_trouble=nvidia_trouble,
        amd=Path("/dev/kfd").exists(),
        jetson=_jetpack(),
        ollama=os.environ.get("OLLAMA_BINARY") or shutil.which("ollama"),
    )


def _docker(command: str) -> tuple[str, str]:
    """Its runtimes, and what is wrong with it."""
    code, out, err = ask(command, "info", "--format", "{{json .Runtimes}}{{json .CDISpecDirs}}")
    if code:
        return "", _first_line(err) or "docker info failed"
    return out, ""


def _nvidia() -> tuple[tuple[Card, ...], str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return (), ""
    code, out, err = ask(command, "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader")
    if code:
        return (), _first_line(out) or _first_line(err) or "nvidia-smi failed"
    rows = [[field.strip() for field in line.split(",")] for line in out.splitlines() if line.strip()]
    return tuple(Card(*row) for row in rows if len(row) == 4), ""


def _jetpack() -> str:
    """JetPack's major version by the release of its Linux (R35: 5, R36: 6), or ""."""
    try:
        release = Path("/etc/nv_tegra_release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "5" if "R35" in release else "6"


def ask(*argv: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command that only looks; 127 when it cannot be run or hangs."""
    try:
        done = subprocess.run(  # noqa: S603 - commands of this module and of the doctor, no shell
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=limits.LOOK_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 127, "", f"{argv[0]} did not answer within {limits.LOOK_S:.0f} s"
    except OSError as error:
        return 127, "", f"{argv[0]}: {error.strerror}"
    return done.returncode, done.stdout, done.stderr


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def models_dir(home: Path, system: tuple[Path, ...], fallback: Path) -> Path:
    """The folder whose `models` hold what was pulled before.

    Args:
        home: of this user.
        system: folders of an Ollama that runs as a service.
        fallback: used, and made later, when there is none yet.
    """
    for folder in (home / ".ollama", *system):
        blobs = folder / "models" / "blobs"
        if blobs.is_dir() and os.access(blobs, os.R_OK | os.W_OK | os.X_OK):
            return folder
    return fallback


SYSTEM_FOLDERS = (Path("/usr/share/ollama/.ollama"), Path("/var/lib/ollama/.ollama"), Path("/var/lib/ollama"))
"""Where packages and the installer's service keep models."""


def runtimes_of(text: str) -> list[str]:
    """Names in docker's JSON of runtimes."""
    try:
        return sorted(json.JSONDecoder().raw_decode(text)[0])
    except (ValueError, TypeError, IndexError):
        return []
