"""How late a real node hands on one message: each has a thread of control of its own, and they overtake.

Fitted to what was recorded of a real node on two cores: of 100 messages a second 0.03 % came after a
higher-numbered one, of 1,000 0.7 %, of 2,000 3.6 %, of 4,000 17 %, of a burst nearly all.
Pure: chance is an argument; used by `switchboard`.
"""

from __future__ import annotations

import math
from typing import Protocol

from relay.nkn.devnode import limits


class Dice(Protocol):
    """A source of chance, such as random.Random."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


def lateness(factor: float, pending: int, dice: Dice) -> float:
    """Seconds until a message is handed on.

    Args:
        factor: 1 is a real node, more is wilder, 0 hands on at once.
        pending: messages that wait likewise; they slow each other.
    """
    if not factor:
        return 0.0
    slow = dice.random() < limits.SHUFFLE_SLOW
    mean = limits.SHUFFLE_SLOW_S if slow else limits.SHUFFLE_S
    crowd = 1.0 + min(pending, limits.SHUFFLE_CROWD_MAX) / limits.SHUFFLE_CROWD
    return -math.log(1.0 - dice.random()) * mean * crowd * factor
