"""Memory that is free goes back once nothing runs: a relay idles for days between crowds.

Many threads that come and go leave their free memory in many arenas, from which nothing returns by itself.
Source: mallopt(3), malloc_trim(3). Where the C library is not glibc nothing happens.
"""

from __future__ import annotations

import ctypes
import gc

_M_ARENA_MAX = -8


def few_arenas() -> None:
    """Threads share what they free; to be called before there are any."""
    if mallopt := getattr(_library(), "mallopt", None):
        mallopt(_M_ARENA_MAX, 2)


def freeze() -> None:
    """Search what is there now for garbage no more: each search would stop all streams for 10 ms."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Return free memory to the system; takes milliseconds."""
    gc.collect()
    if trim := getattr(_library(), "malloc_trim", None):
        trim(0)


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None  # Windows has no such thing
