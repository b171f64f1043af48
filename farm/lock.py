"""One process at a time, by a lock file. The system lets go of it, whatever ends its holder.

Called by `farm.fetch`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold the lock file; a second process waits here."""
    with lock.open("wb") as file:
        _wait_for(file)
        yield


if sys.platform == "win32":
    import msvcrt

    def _wait_for(file: BinaryIO) -> None:
        while True:
            with contextlib.suppress(OSError):  # gives up after ten seconds each
                return msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _wait_for(file: BinaryIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("another farm is fetching the model; waiting for it\n")
            fcntl.flock(file, fcntl.LOCK_EX)
