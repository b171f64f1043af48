"""What the farm needs to start at all: Python packages, the embedded engine, a way to run an Ollama.

Pure: facts and their findings. Looked for by `machinery`, called by `examination`.
"""

from __future__ import annotations

from dataclasses import dataclass

from farm.doctor.finding import as_needed, note, ok, trouble
from wire.finding import Finding, foreign, listed

GET_DOCKER = "https://docs.docker.com/engine/install/"
GET_OLLAMA = "https://ollama.com/download"
DOCKER_ENSURE = "sudo bash scripts/docker_ensure.sh"


@dataclass(frozen=True, slots=True)
class Packages:
    """This Python: its version, and the farm's packages that it has not."""

    python: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Engine:
    """The embedded engine.

    Attributes:
        there: whether it is installed.
        trouble: why it cannot be loaded; "" when it can.
        model_here: whether its model was fetched already.
    """

    there: bool
    trouble: str = ""
    model_here: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What `--mode auto` would do where no Ollama runs yet.

    Attributes:
        mode: "docker", "local", or "" when neither is possible.
        blind: neither is, because docker cannot hand over the GPU.
    """

    mode: str
    blind: bool = False


def packages(found: Packages) -> Finding:
    """Whether the farm can run."""
    if found.missing:
        return trouble(
            "python",
            f"this Python ({found.python}) lacks {listed(found.missing)}",
            "`make demo ONCE=1` in this folder installs everything into .venv; then .venv/bin/python -m farm",
        )
    return ok("python", f"Python {found.python} has all packages of the farm")


def engine(found: Engine, *, needed: bool) -> Finding:
    """Whether `--mode embedded` is possible.

    Args:
        found: what was seen.
        needed: whether nothing else is.
    """
    if not found.there:
        text = "the embedded engine is not installed; only --mode embedded needs it"
        return as_needed("engine", text, "pip install 'gpu-over-nkn[embedded]'", needed=needed)
    if "libgomp" in found.trouble:
        remedy = "apt-get install libgomp1 (Debian, Ubuntu), dnf install libgomp (Fedora), apk add libgomp"
        text = "the embedded engine lacks the system library libgomp; only --mode embedded needs it"
        return as_needed("engine", text, remedy, needed=needed)
    if found.trouble:
        text = f"the embedded engine cannot be loaded: {foreign(found.trouble)}"
        return as_needed("engine", text, "pip install --force-reinstall xllamacpp", needed=needed)
    model = "its model is here" if found.model_here else "its model (98 MB) is fetched at its first start"
    return ok("engine", f"the embedded engine can be loaded; {model}")


def choice(found: Choice, adoptable: str) -> Finding:
    """What `python -m farm --model …` would do.

    Args:
        found: what this machine allows.
        adoptable: URL of the Ollama on the back port, or "".
    """
    if adoptable:
        return ok("mode", f"`python -m farm` would use the Ollama that runs at {adoptable}")
    if found.mode == "docker":
        return ok("mode", "`python -m farm` would run Ollama in docker")
    if found.mode == "local":
        return ok("mode", "`python -m farm` would start the `ollama` of this machine")
    if found.blind:
        return trouble(
            "mode",
            "neither docker (it cannot hand over the GPU) nor an `ollama` command can be used",
            f"{DOCKER_ENSURE}; or {GET_OLLAMA}; or `--gpu-layers 0` for docker without the GPU",
        )
    return trouble(
        "mode",
        "neither docker nor an `ollama` command can be used: no model of your choice can be run",
        f"{GET_DOCKER} or {GET_OLLAMA}; `--mode embedded` runs a very small model without them",
    )


def unseen(check: str, why: str) -> Finding:
    """A point that could not be looked at."""
    return note(check, f"not looked at: {foreign(why)}")
