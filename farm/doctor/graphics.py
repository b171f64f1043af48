"""GPUs: whether their drivers work, how much of their memory is free, and whether Ollama really uses them.

Pure: facts and their findings. Looked for by `machinery`, called by `examination`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from farm.doctor import limits
from farm.doctor.finding import as_needed, note, ok, trouble
from wire.finding import Finding, foreign, listed

_MIB_PER_GIB = 1024


@dataclass(frozen=True, slots=True)
class Card:
    """One NVIDIA GPU; sizes in MiB, None where it does not tell (its memory is the machine's).

    Attributes:
        index: as nvidia-smi counts.
        name: of the product.
        total: its memory.
        free: of it.
        users: programs that have memory of it: (name, pid, MiB).
    """

    index: str
    name: str
    total: int | None = None
    free: int | None = None
    users: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Graphics:
    """GPUs.

    Attributes:
        cards: NVIDIA's that work.
        driver: version of their driver.
        smi: whether there is nvidia-smi.
        smi_trouble: what it said when it failed.
        vendors: whose display adapters are in the machine: "nvidia", "amd".
        kfd: whether AMD's compute device is there.
        kfd_open: whether this user may use it.
        jetson: JetPack's major version, or "".
    """

    cards: tuple[Card, ...] = ()
    driver: str = ""
    smi: bool = False
    smi_trouble: str = ""
    vendors: frozenset[str] = frozenset()
    kfd: bool = False
    kfd_open: bool = False
    jetson: str = ""

    @property
    def any(self) -> bool:
        """Whether there is a GPU that Ollama could use."""
        return bool(self.cards or self.kfd or self.jetson)

    @property
    def free_b(self) -> int | None:
        """Free memory of all NVIDIA GPUs in bytes; None where that is not known."""
        told = [card.free for card in self.cards]
        if not told or None in told or self.jetson:
            return None
        return sum(free for free in told if free is not None) * 2**20


def read_cards(table: str) -> tuple[tuple[Card, str, str], ...]:
    """Cards with their UUIDs and driver out of nvidia-smi's CSV: index, uuid, name, total, free, driver."""
    rows = [[field.strip() for field in line.split(",")] for line in table.splitlines()]
    return tuple(
        (Card(row[0], row[2], _mib(row[3]), _mib(row[4])), row[1], row[5]) for row in rows if len(row) == 6
    )


def read_users(table: str) -> tuple[tuple[str, str, int, int], ...]:
    """Who has memory, out of nvidia-smi's CSV of gpu_uuid, pid, used_memory, process_name.

    Returns:
        (UUID of the GPU, name of the program, pid, MiB) for each.
    """
    rows = [[field.strip() for field in line.split(",", 3)] for line in table.splitlines()]
    return tuple(
        (row[0], row[3].replace("\\", "/").rpartition("/")[2], int(row[1]), _mib(row[2]) or 0)
        for row in rows
        if len(row) == 4 and row[1].isdigit()
    )


def _mib(text: str) -> int | None:
    number = text.removesuffix("MiB").strip()
    return int(number) if number.isdigit() else None


def gpus(found: Graphics, *, local: bool) -> list[Finding]:
    """Each kind of GPU, whether it can be used.

    Args:
        found: what was seen.
        local: whether an Ollama would run as this user, and not in docker.
    """
    told = [*_nvidia(found), *_amd(found, local=local)]
    if found.jetson:
        text = (
            f"this is a Jetson with JetPack {foreign(found.jetson)}: docker mode runs with --runtime nvidia"
        )
        told.append(ok("jetson", text))
    return told or [ok("gpu", "no GPU that Ollama could use: models run on the CPU")]


def _nvidia(found: Graphics) -> list[Finding]:
    if found.cards:
        kinds = listed(dict.fromkeys(card.name for card in found.cards))
        text = f"{len(found.cards)} × {kinds}, driver {foreign(found.driver or 'unknown')}"
        return [ok("nvidia", text), *map(_memory, found.cards)]
    if found.smi_trouble and not found.jetson:
        return [
            trouble("nvidia", f"nvidia-smi fails: {foreign(found.smi_trouble)}", _cure(found.smi_trouble))
        ]
    if "nvidia" in found.vendors and not found.smi and not found.jetson:
        text = "there is an NVIDIA GPU without its driver (no nvidia-smi)"
        return [trouble("nvidia", text, "on Ubuntu: sudo ubuntu-drivers install && sudo reboot")]
    return []


def _cure(words: str) -> str:
    if "version mismatch" in words.lower():
        return "the driver was updated under the running kernel: reboot"
    if "communicate" in words:
        return (
            "reboot if it was just installed or updated; with Secure Boot enrol its key; "
            "sudo dmesg | grep -iE 'nvrm|nvidia' says more"
        )
    if "did not answer" in words:
        return "a GPU that no longer answers needs a reboot; sudo dmesg | grep -iE 'nvrm|nvidia' says more"
    return "sudo dmesg | grep -iE 'nvrm|nvidia' says more"


def _memory(card: Card) -> Finding:
    if card.total is None or card.free is None:
        return ok(
            "gpu-memory", f"GPU {foreign(card.index)} does not tell its memory: it shares the machine's"
        )
    text = f"GPU {foreign(card.index)}: {_gib(card.free)} of {_gib(card.total)} GiB free"
    others = [
        user for user in card.users if "ollama" not in user[0].lower() and "llama" not in user[0].lower()
    ]
    if card.free >= limits.GPU_FREE_SHARE * card.total or (card.users and not others):
        return ok("gpu-memory", text)
    who = listed(f"{name} (process {pid}, {_gib(mib)} GiB)" for name, pid, mib in others)
    remedy = "end what has the memory, or choose a smaller model"
    return note("gpu-memory", text + (f"; used by {who}" if who else ""), remedy)


def _gib(mib: int) -> str:
    return f"{mib / _MIB_PER_GIB:.1f}"


def _amd(found: Graphics, *, local: bool) -> list[Finding]:
    if found.kfd and found.kfd_open:
        return [ok("amd", "there is an AMD GPU with its compute driver (/dev/kfd), and you may use it")]
    if found.kfd:
        text = "you may not use the AMD GPU (/dev/kfd), nor may an Ollama that you start without docker"
        remedy = "sudo usermod -aG render,video $USER, then log in again"
        return [as_needed("amd", text, remedy, needed=local)]
    if "amd" in found.vendors:
        text = "there is an AMD GPU without its compute driver (/dev/kfd); small built-in ones do without it"
        return [note("amd", text, "if it is a card: load the kernel's amdgpu driver; ROCm's guide tells how")]
    return []


@dataclass(frozen=True, slots=True)
class Use:
    """A model in memory: sizes in bytes, and how the Ollama that has it came by a GPU.

    Attributes:
        model: its name.
        url: of its Ollama.
        size: in memory.
        on_gpu: of that, on GPUs.
        container: in which that Ollama runs, or "".
        given: whether that container was given a GPU.
        refused: whether it was told to use none (`--gpu-layers 0`).
    """

    model: str
    url: str
    size: int
    on_gpu: int
    container: str = ""
    given: bool = True
    refused: bool = False


def uses(models: Iterable[Use], *, there: bool) -> list[Finding]:
    """Whether the models in memory are on the GPU.

    Args:
        models: those of real Ollamas.
        there: whether the machine has a GPU.
    """
    return [_used(one, there=there) for one in models]


def _used(one: Use, *, there: bool) -> Finding:
    where = f"{foreign(one.model)} at {one.url}"
    if one.size and one.on_gpu >= one.size:
        return ok("gpu-use", f"{where} is on the GPU as a whole")
    if one.on_gpu:
        share = 100 * one.on_gpu // max(one.size, 1)
        remedy = "free GPU memory, a smaller model, a shorter --ctx or fewer --num-parallel"
        return note("gpu-use", f"{where} is only in part on the GPU ({share} %): it runs much slower", remedy)
    if not there or one.refused:
        why = "as --gpu-layers 0 wants it" if one.refused else "there is no GPU"
        return ok("gpu-use", f"{where} runs on the CPU: {why}")
    text = f"GPU not used: {where} runs on the CPU alone"
    if one.container and not one.given:
        text += f"; its container {foreign(one.container)} was given none"
    return trouble("gpu-use", text, _cure_use(one))


def _cure_use(one: Use) -> str:
    name = foreign(one.container)
    if not name:
        return (
            "restart that Ollama: it looks for GPUs only at its start; the log has a line `inference compute`"
        )
    if one.given:
        return f"docker exec {name} nvidia-smi; if that fails, docker restart {name}"
    return f"docker rm -f {name}, then start it with --gpus all (`python -m farm --mode docker` does)"
