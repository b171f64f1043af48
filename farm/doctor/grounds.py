"""Looks at folders, memory and this shell's variables. Changes nothing; keeps no value that may be a secret.

Called by `cli`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from farm import machine
from farm.doctor import limits
from farm.doctor.storage import Folder, Storage, bytes_of, name_of
from farm.doctor.surroundings import PROXIES, Surroundings


def storage(named: str | None) -> Storage:
    """The folders of models.

    Args:
        named: `--models-dir`, or None.
    """
    own = machine.models_of(named, os.environ)
    path = Path(str(own))
    others = (folder / "models" for folder in machine.SYSTEM_FOLDERS)
    variable = "OLLAMA_MODELS" if os.environ.get("OLLAMA_MODELS") else ""
    return Storage(
        folder=_folder(path),
        why="--models-dir" if named is not None else variable,
        others=tuple(_folder(other) for other in others if other != path),
        models=dict(_models(path / "manifests")),
        free=_free(path),
    )


def _folder(path: Path) -> Folder:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Folder(str(path), there=False, writable=_may_make(path))
    except OSError:
        return Folder(str(path), there=None)
    blobs = path / "blobs"
    held = blobs if os.access(blobs, os.F_OK) else path
    return Folder(
        str(path),
        there=True,
        readable=os.access(held, os.R_OK | os.X_OK),
        writable=os.access(held, os.W_OK | os.X_OK),
    )


def _may_make(path: Path) -> bool:
    """Whether a folder that is not there could be made."""
    there = next((above for above in path.parents if os.access(above, os.F_OK)), path)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _models(manifests: Path) -> Iterator[tuple[str, int]]:
    for count, (folder, _, names) in enumerate(os.walk(manifests)):
        if count > limits.MANIFESTS_MAX:
            return
        parts = Path(folder).relative_to(manifests).parts
        for name in names[: limits.MANIFESTS_MAX] if len(parts) == 3 else ():
            with contextlib.suppress(OSError, ValueError):
                text = (Path(folder) / name).read_bytes()[: limits.MANIFEST_MAX_B]
                yield name_of((*parts, name)), bytes_of(json.loads(text))


def _free(path: Path) -> int | None:
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free
    return None


def surroundings() -> Surroundings:
    """This shell and the machine's size."""
    import psutil

    memory = psutil.virtual_memory()
    left_out = ",".join(os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Surroundings(
        proxies=tuple(name for name in PROXIES if os.environ.get(name)),
        no_proxy=left_out,
        ollama_host=os.environ.get("OLLAMA_HOST", ""),
        available=memory.available,
        memory=memory.total,
        cores=cores,
    )
