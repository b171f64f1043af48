"""Docker or local: which way an Ollama is started on this machine, or how the owner gets one.

Looks at nothing; called by `sources` with what `machine` saw.
"""

from __future__ import annotations

from farm.machine import NO_DOCKER, Machine
from farm.plan import FarmPlan, Mode
from wire.errors import OurFault

_GET_DOCKER = "docker: https://docs.docker.com/engine/install/"
_GET_OLLAMA = "Ollama: https://ollama.com/download"
_EMBEDDED = "`--mode embedded` runs a small model with what is installed already"


def decide(plan: FarmPlan, there: Machine) -> Mode:
    """Docker or local.

    Raises:
        OurFault: neither is possible; how to get one.
    """
    docker_ok = there.docker is not None and not blind(plan, there)
    if plan.mode is Mode.DOCKER:
        if there.docker is None:
            raise OurFault("docker", f"--mode docker: {there.docker_trouble}. Get {_GET_DOCKER}")
        if not docker_ok:
            raise OurFault("docker", blind(plan, there))
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
        raise OurFault("docker", f"{blind(plan, there)}; or get {_GET_OLLAMA}")
    raise OurFault(
        "ollama",
        f"neither docker ({there.docker_trouble}) nor an `ollama` is here. Get one, "
        f"{_GET_DOCKER}, {_GET_OLLAMA}; or {_EMBEDDED}",
    )


def blind(plan: FarmPlan, there: Machine) -> str:
    """Why a container would not see the GPU that this machine has; "" when that is no trouble."""
    if plan.gpu_layers == 0 or not there.cards or there.nvidia_runtime:
        return ""
    return (
        "docker cannot hand this machine's NVIDIA GPU to containers: `sudo bash scripts/docker_ensure.sh` "
        "sets that up once, `--gpu-layers 0` goes without the GPU"
    )


def passed_over(plan: FarmPlan, there: Machine) -> str:
    """Why `auto` did not take docker; "" when it could not have been meant."""
    if plan.mode is not Mode.AUTO:
        return ""
    if there.docker is not None:
        return f"the local Ollama is used: {blind(plan, there)}"
    return "" if there.docker_trouble == NO_DOCKER else f"the local Ollama is used: {there.docker_trouble}"
