"""The relay's limits, small in some worlds: what takes megabytes elsewhere happens there in a few lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from relay.retained import Retained
from relay.uploads import Uploads
from wire import limits

_SMALL: dict[str, tuple[float, int, int]] = {
    "HOLD_B": (0.6, 1800, 3500),
    "FRAME_TARGET_B": (0.25, 400, 4000),
    "LINE_MAX_B": (0.15, 1500, 3000),
    "CHUNK_B": (0.3, 64, 1024),
    "AGAIN_PEER_B": (0.2, 1200, 6000),
    "AGAIN_PEER_B_PER_S": (0.2, 1500, 6000),
    "UPLOAD_B": (0.1, 200, 2000),
    "RESEND_MAX_B": (0.1, 1000, 20_000),
    "QUEUE_WAIT_S": (0.15, 3, 30),
}
"""Limit → (in how many worlds it is small, from, to)."""
_ROOMS: dict[str, tuple[float, int, int]] = {
    "retain_peer_b": (0.15, 3000, 20_000),
    "retain_all_b": (0.1, 6000, 40_000),
    "uploads_all_b": (0.1, 500, 6000),
}
"""The same for what a table may hold, which it is told when it is made."""


def draw(rng: Random) -> tuple[dict[str, int], dict[str, int]]:
    """(limits, rooms) that are small in this world."""
    return _drawn(rng, _SMALL), _drawn(rng, _ROOMS)


def _drawn(rng: Random, table: dict[str, tuple[float, int, int]]) -> dict[str, int]:
    return {
        name: rng.randint(low, high) for name, (chance, low, high) in table.items() if rng.random() < chance
    }


@contextmanager
def small(changed: dict[str, int]) -> Iterator[None]:
    """Within this the limits are these."""
    before = {name: getattr(limits, name) for name in changed}
    for name, value in changed.items():
        setattr(limits, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(limits, name, value)


def rooms(retained: Retained, uploads: Uploads, changed: dict[str, int]) -> None:
    """Make the tables of an engine small."""
    retained._peer_b = changed.get("retain_peer_b", retained._peer_b)
    retained._all_b = changed.get("retain_all_b", retained._all_b)
    uploads._all_b = changed.get("uploads_all_b", uploads._all_b)
