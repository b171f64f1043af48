"""When a node pings a client and when it gives it up.

The real node's rule: a ping every 8 s from the upgrade on, whatever the traffic; the socket is dropped when
neither a complete message nor a pong was read for 10 s. The client's own pings do not count.
Pure: time is an argument; owned by `link`.
"""

from __future__ import annotations

from enum import Enum

from wire import limits


class Due(Enum):
    """What the time that passed asks for."""

    NOTHING = "nothing"
    PING = "ping"
    DROP = "drop"


class Liveness:
    """The state of one socket, made at its upgrade."""

    __slots__ = ("_heard_at", "_ping_at")

    def __init__(self, now: float) -> None:
        self._heard_at = now
        self._ping_at = now + limits.NODE_PING_S

    def heard(self, now: float) -> None:
        """A complete message or a pong was read."""
        self._heard_at = now

    def advance(self, now: float) -> Due:
        """What to do now; a ping is due once in its period."""
        if now >= self._heard_at + limits.NODE_PONG_TIMEOUT_S:
            return Due.DROP
        if now >= self._ping_at:
            self._ping_at += limits.NODE_PING_S * (1 + (now - self._ping_at) // limits.NODE_PING_S)
            return Due.PING
        return Due.NOTHING
