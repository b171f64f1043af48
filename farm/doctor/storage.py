"""Where models are: the folder that the farm takes, its disk, and whether a model is there.

Pure: facts and their findings. Looked for by `machinery`, called by `examination`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from farm.demand import canonical
from farm.doctor import limits
from farm.doctor.finding import note, ok, size, trouble
from wire.finding import Finding, foreign, listed


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of models.

    Attributes:
        path: of it.
        there: whether it is there; None when that cannot be seen.
        readable: whether its models can be read.
        writable: whether models can be added, or the folder made.
    """

    path: str
    there: bool | None = False
    readable: bool = False
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Storage:
    """Where models are.

    Attributes:
        folder: the one that the farm takes.
        why: what said so: "--models-dir", "OLLAMA_MODELS", or "".
        others: those of an Ollama that the farm passes over.
        models: in `folder`: canonical name → bytes.
        free: bytes on its disk, or None.
    """

    folder: Folder
    why: str = ""
    others: tuple[Folder, ...] = ()
    models: Mapping[str, int] = field(default_factory=dict)
    free: int | None = None


def name_of(parts: Sequence[str]) -> str:
    """The model's name out of its description's path below `manifests`: host, folder, name, tag."""
    return canonical(f"{'/'.join(parts[:-1])}:{parts[-1]}")


def bytes_of(manifest: Any) -> int:
    """The size of a model, out of its description; 0 for what is none."""
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    sizes = [layer.get("size") for layer in layers or () if isinstance(layer, dict)]
    return sum(one for one in sizes if isinstance(one, int))


def models(found: Storage) -> list[Finding]:
    """The folder and its disk."""
    return [_folder(found), *_passed_over(found), *_disk(found)]


def _folder(found: Storage) -> Finding:
    folder = found.folder
    shown = foreign(folder.path) + (f" ({found.why})" if found.why else "")
    allow = f"ls -ld {foreign(folder.path)}; --models-dir takes another folder"
    if folder.there is None or (folder.there and not folder.readable):
        return trouble("models", f"the models in {shown} cannot be read", allow)
    if folder.there and not folder.writable:
        return trouble("models", f"models in {shown} can be read, but none can be added", allow)
    if not folder.there and not folder.writable:
        return trouble("models", f"there is no {shown}, and it cannot be made", allow)
    if not folder.there:
        return ok("models", f"no models yet; {shown} is made at the first start")
    count = len(found.models)
    names = f"{count} model{'' if count == 1 else 's'}" + (f" ({listed(found.models)})" if count else "")
    return ok("models", f"{shown} holds {names}")


def _passed_over(found: Storage) -> list[Finding]:
    told = []
    for other in found.others:
        if other.there is False or (other.readable and other.writable):
            continue
        text = (
            f"{foreign(other.path)} belongs to an Ollama service and you may not write there: "
            "a farm of yours keeps models of its own"
        )
        remedy = "leave that service running, and the farm uses it with its models"
        told.append(note("models-service", text, remedy))
    return told


def _disk(found: Storage) -> list[Finding]:
    if found.free is None:
        return []
    text = f"{size(found.free)} free on the disk of the models"
    if found.free < limits.DISK_OUT_B:
        return [trouble("disk", text, "`ollama rm MODEL` removes one; or --models-dir on another disk")]
    if found.free < limits.DISK_LOW_B:
        return [note("disk", text, "a 4B model takes 3.3 GB, a 27B one 17 GB")]
    return [ok("disk", text)]


def model(asked: str, found: Storage | None, served: Mapping[str, int] | None) -> tuple[Finding, int]:
    """Whether a model is there, and its size in bytes or 0.

    Args:
        asked: as the owner writes it.
        found: what lies on the disk.
        served: what the Ollama on the back port lists, when there is one.
    """
    name, shown = canonical(asked), foreign(asked)
    here = served if served is not None else (found.models if found else {})
    where = "the Ollama that runs" if served is not None else "the folder of models"
    if name in here:
        return ok("model", f"{shown} is there ({size(here[name])})"), here[name]
    text = f"{shown} is not in {where}"
    if here:
        text += f", which has {listed(here)}"
    return note("model", text, "the farm fetches it when it starts, unless --no-pull is given"), 0


def fit(asked: str, needs: int, *, memory: int, gpu: int | None) -> list[Finding]:
    """Whether a model that is not in memory yet would fit.

    Args:
        asked: as the owner writes it.
        needs: its bytes; it takes somewhat more.
        memory: available bytes.
        gpu: free bytes of all GPUs, or None.
    """
    shown = foreign(asked)
    if needs > memory + (gpu or 0):
        room = f"{size(memory)} of memory" + (f" and {size(gpu)} of GPU memory" if gpu is not None else "")
        text = f"{shown} ({size(needs)}) does not fit: {room} free"
        return [trouble("fit", text, "a smaller model, or free memory")]
    if gpu is not None and needs > gpu:
        room = f"{size(gpu)} free"
        text = f"{shown} ({size(needs)}) does not fit into the GPUs ({room}): some layers run on the CPU"
        return [note("fit", text, "free GPU memory, or a smaller model")]
    return []
