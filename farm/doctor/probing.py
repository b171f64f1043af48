"""Looks run side by side, each left behind when it does not come to an end: a doctor must not hang himself.

Called by `cli` and `answers`; knows nothing of what is looked at.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any


def gather(probes: Mapping[str, Callable[[], Any]], within_s: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Run all probes at the same time.

    Args:
        probes: by name.
        within_s: for all of them.

    Returns:
        What they told, and why the others did not: an exception's words or no answer in time.
    """
    told: queue.SimpleQueue[tuple[str, bool, Any]] = queue.SimpleQueue()
    for name, probe in probes.items():
        # A daemon: a read from a disk that is gone must not keep the doctor from leaving.
        threading.Thread(target=_run, args=(name, probe, told), daemon=True).start()
    found: dict[str, Any] = {}
    silent = dict.fromkeys(probes, f"no answer within {within_s:.0f} s")
    until = time.monotonic() + within_s
    for _ in probes:
        try:
            name, well, what = told.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        if well:
            found[name] = what
            del silent[name]
        else:
            silent[name] = what
    return found, silent


def _run(name: str, probe: Callable[[], Any], told: queue.SimpleQueue[tuple[str, bool, Any]]) -> None:
    try:
        told.put((name, True, probe()))
    except ModuleNotFoundError as error:
        told.put((name, False, f"the Python package {error.name} is missing"))
    except Exception as error:  # noqa: BLE001 - one point that cannot be seen must not hide the others
        told.put((name, False, f"{type(error).__name__}: {error}"))
