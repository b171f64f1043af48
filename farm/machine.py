"""What this machine has to run a model with: docker, an Ollama, GPUs, folders of models.

Only looks, changes nothing. Called by `sources` and by the doctor.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from farm import limits
from farm.launch import Gpu

NO_DOCKER = "the docker command is not installed"


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


def look(within_s: float = limits.LOOK_S) -> Machine:
    """Look at this machine; takes up to `within_s` for each command that does not answer."""
    docker = shutil.which("docker")
    runtimes, docker_trouble = _docker(docker, within_s) if docker else ("", NO_DOCKER)
    cards, nvidia_trouble = _nvidia(within_s)
    return Machine(
        docker=docker if not docker_trouble else None,
        docker_trouble=docker_trouble,
        # Not every installation of NVIDIA's toolkit names a runtime; `--gpus` needs the hook alone.
        nvidia_runtime="nvidia" in runtimes_of(runtimes) or shutil.which(_HOOK) is not None,
        cards=cards,
        nvidia_trouble=nvidia_trouble,
        amd=Path("/dev/kfd").exists(),
        jetson=_jetpack(),
        ollama=os.environ.get("OLLAMA_BINARY") or shutil.which("ollama"),
    )


_HOOK = "nvidia-container-runtime-hook"


def _docker(command: str, within_s: float) -> tuple[str, str]:
    """Its runtimes, and what is wrong with it."""
    code, out, err = ask(command, "info", "--format", "{{json .Runtimes}}", within_s=within_s)
    if code:
        return "", _first_line(err) or "docker info failed"
    return out, ""


def _nvidia(within_s: float) -> tuple[tuple[Card, ...], str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return (), ""
    wanted = "--query-gpu=index,uuid,name,memory.total"
    code, out, err = ask(command, wanted, "--format=csv,noheader", within_s=within_s)
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


def ask(*argv: str, within_s: float = limits.LOOK_S) -> tuple[int, str, str]:
    """Exit code, output and errors of a command that only looks; 127 when it cannot be run or hangs."""
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    try:
        process = subprocess.Popen(  # noqa: S603 - commands of this module and of the doctor, no shell
            argv, stdin=quiet, stdout=pipe, stderr=pipe, text=True, errors="replace"
        )
    except OSError as error:
        return 127, "", f"{argv[0]}: {error.strerror}"
    try:
        out, err = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        # Not for ever: what asks a GPU that is gone may stay in the kernel, where no signal reaches it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limits.LOOK_KILLED_S)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        return 127, "", f"{argv[0]} did not answer within {within_s:.0f} s"
    except BaseException:  # a signal: nothing is to stay behind
        process.kill()
        raise
    return process.returncode, out, err


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def visible(cards: Sequence[Card], named: str | None) -> list[Card]:
    """The GPUs that CUDA_VISIBLE_DEVICES names, in its order; all when it is not set.

    Args:
        cards: all GPUs.
        named: indices, or beginnings of UUIDs, separated by commas.
    """
    if named is None:
        return list(cards)
    words = [word.strip() for word in named.split(",")]
    return [card for word in words if word for card in cards if _is_meant(card, word)]


def _is_meant(card: Card, word: str) -> bool:
    return card.index == word or (word.startswith("GPU-") and card.uuid.startswith(word))


@dataclass(frozen=True, slots=True)
class Models:
    """Where models are kept.

    Attributes:
        root: the folder that holds `models`.
        store: the folder of the models themselves where that is another one; or "".
    """

    root: str
    store: str = ""

    def __str__(self) -> str:
        return self.store or str(Path(self.root, "models"))


def models_of(given: str | None, environment: Mapping[str, str]) -> Models:
    """The owner's folder, else Ollama's own variable, else what is here already, else ./models.

    Args:
        given: `--models-dir`; a folder with `models` in it, or the models themselves.
        environment: the farm's.
    """
    if given is None and environment.get("OLLAMA_MODELS"):
        store = str(_whole(environment["OLLAMA_MODELS"]))
        return Models(store, store)
    if given is not None:
        root = _whole(given)
        itself = _is_folder(root / "blobs") and _is_folder(root / "manifests")
        return Models(str(root), str(root) if itself else "")
    return Models(str(models_dir(_whole("~"), SYSTEM_FOLDERS, Path("models").absolute())))


def _whole(path: str) -> Path:
    with contextlib.suppress(RuntimeError):  # a user without a home
        return Path(path).expanduser().absolute()
    return Path(path).absolute()


def _is_folder(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def models_dir(home: Path, system: tuple[Path, ...], fallback: Path) -> Path:
    """The folder whose `models` hold what was pulled before.

    Args:
        home: of this user.
        system: folders of an Ollama that runs as a service.
        fallback: used, and made later, when there is none yet.
    """
    for folder in (home / ".ollama", *system):
        blobs = folder / "models" / "blobs"
        with contextlib.suppress(OSError):  # a folder that may not be looked into
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
