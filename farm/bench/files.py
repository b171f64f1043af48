"""Result files: whether they can be written, told before the load; written whole or not at all; read bounded.

Called by `cli` and `settings`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from farm.bench import limits
from wire.errors import SettingsFault


def claim(flag: str, name: str) -> None:
    """See that a file can be written at the end of a long run.

    Raises:
        SettingsFault: names the flag, the path and why not.
    """
    path = Path(name)
    try:
        if path.is_dir():
            raise SettingsFault(flag, f"{name} is a folder")
        if _replaceable(path):
            handle, made = _beside(path)
            os.close(handle)
            Path(made).unlink()
        elif not os.access(path, os.W_OK):
            raise SettingsFault(flag, f"{name} cannot be written")
    except OSError as error:
        raise SettingsFault(flag, f"{name} cannot be written: {error.strerror}") from error


def write(name: str, data: bytes) -> None:
    """Write a file: beside it first, then in its place, so that nobody reads half of it.

    A link stays a link, a file keeps its mode; what is no file (a pipe, /dev/stdout) is written into.

    Raises:
        OSError: if the disk says no.
    """
    path = Path(name)
    if not _replaceable(path):
        path.write_bytes(data)
        return
    handle, made = _beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(made).chmod(_mode(path))
        Path(made).replace(path.resolve())
    except BaseException:
        with contextlib.suppress(OSError):
            Path(made).unlink()
        raise


def read(flag: str, name: str, most_b: int = limits.RESULT_MAX_B) -> bytes:
    """A file's bytes.

    Raises:
        SettingsFault: names the flag, the path and why not.
    """
    try:
        with Path(name).open("rb") as file:
            data = file.read(most_b + 1)
    except OSError as error:
        raise SettingsFault(flag, f"{name} cannot be read: {error.strerror}") from error
    if len(data) > most_b:
        raise SettingsFault(flag, f"{name} is larger than {most_b >> 20} MiB")
    return data


def _replaceable(path: Path) -> bool:
    """Whether it is a file or nothing yet; a device must never be replaced by a file."""
    return path.is_file() or not path.exists()


def _beside(path: Path) -> tuple[int, str]:
    whole = path.resolve()
    return tempfile.mkstemp(prefix=f".{whole.name}.", dir=whole.parent)


def _mode(path: Path) -> int:
    if path.is_file():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
