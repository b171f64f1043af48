"""How much goes wrong in a world: each rate is nothing in some worlds, and up to its most in others."""

from __future__ import annotations

from dataclasses import dataclass, fields
from random import Random
from typing import Any

_MOST: dict[str, tuple[float, float]] = {
    "loss": (0.6, 0.3), "doubled": (0.5, 0.2), "late": (0.5, 0.15),
    "flaps": (0.3, 4.0), "clogs": (0.35, 6.0),
    "stall": (0.3, 0.15), "hang": (0.3, 0.5), "reset": (0.3, 0.4), "half": (0.4, 0.5), "death": (0.3, 0.3),
    "garbled": (0.3, 0.5), "long": (0.3, 0.5), "status": (0.3, 0.4), "unmarked": (0.3, 0.4),
    "cancel": (0.3, 0.4), "vanish": (0.35, 0.8), "move": (0.35, 0.7), "repeat": (0.4, 0.7),
    "changed": (0.3, 0.5), "upload": (0.3, 0.7), "mixed": (0.1, 0.3), "alone": (0.4, 0.4),
    "refused": (0.3, 0.3), "acks": (0.4, 0.6), "mute": (0.5, 0.6), "slow": (0.5, 0.9), "asked": (0.3, 0.5),
    "noise": (0.2, 1.0), "wide": (0.4, 1.0), "stop": (0.06, 1.0),
}  # fmt: skip
"""Rate → (in how many worlds there is any, its most)."""


@dataclass(slots=True)
class Rates:
    """One world's; all but counts are chances.

    Attributes:
        loss, doubled: of a copy of a message on one path.
        late: that a copy takes up to 30 s.
        flaps, clogs: how many times a path, or a peer, is away.
        stall: of a read; up to 30 s.
        hang, reset, death: how an upstream's answer ends: never, broken off, with its worker.
        half, garbled, long, status, unmarked: what is wrong with its body or head.
        cancel, vanish, move, repeat: what the asker of a stream does in the middle.
        changed: that what is repeated is another request.
        upload, mixed: that a request comes in pieces; that it comes whole besides.
        alone: that no stream is wanted.
        refused: that the owner does not allow it.
        acks: that a peer says relay.ack; mute: that its client never acknowledges; slow: late.
        asked: that a peer looks at nothing that is lost.
        noise: that a peer says what nobody asked it.
        stop: that the relay is told to stop.
        wide: that a body has lines of some hundred bytes.
        is_calm: that the faults have stopped.
    """

    loss: float
    doubled: float
    late: float
    flaps: float
    clogs: float
    stall: float
    hang: float
    reset: float
    half: float
    death: float
    garbled: float
    long: float
    status: float
    unmarked: float
    cancel: float
    vanish: float
    move: float
    repeat: float
    changed: float
    upload: float
    mixed: float
    alone: float
    refused: float
    acks: float
    mute: float
    slow: float
    asked: float
    noise: float
    stop: float
    wide: float
    is_calm: bool = False

    @classmethod
    def draw(cls, rng: Random) -> Rates:
        """Those of a world."""
        drawn: dict[str, Any] = {}
        for field in fields(cls)[:-1]:
            chance, most = _MOST[field.name]
            drawn[field.name] = rng.random() * most if rng.random() < chance else 0.0
        return cls(**drawn)

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self.is_calm = True
        for name in _FAULTS:
            setattr(self, name, 0.0)


_FAULTS = (
    "loss", "doubled", "late", "flaps", "clogs", "stall", "hang", "reset", "half", "death", "vanish",
    "cancel", "move",
)  # fmt: skip
