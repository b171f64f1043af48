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
    """The state of one socket, made at its upgrade.

    Args:
        ping_s: seconds between two pings.
        timeout_s: how long a client may be silent.
    """

    __slots__ = ("_heard_at", "_lost", "_ping_at", "_ping_s", "_timeout_s")

    def __init__(
        self,
        now: float,
        ping_s: float = limits.NODE_PING_S,
        timeout_s: float = limits.NODE_PONG_TIMEOUT_S,
    ) -> None:
        self._heard_at = now
        self._ping_s = ping_s
        self._timeout_s = timeout_s
        self._ping_at = now + ping_s
        self._lost = False

    def heard(self, now: float) -> None:
        """A complete message or a pong was read; too late is as good as never."""
        self._lost = self._lost or self._is_late(now)
        self._heard_at = now

    def advance(self, now: float) -> Due:
        """What to do now; a ping is due once in its period, and before the end of a node that slept."""
        was_lost, self._lost = self._lost, self._lost or self._is_late(now)
        if now >= self._ping_at and not was_lost:
            self._ping_at += self._ping_s * (1 + (now - self._ping_at) // self._ping_s)
            return Due.PING
        return Due.DROP if self._lost else Due.NOTHING

    def _is_late(self, now: float) -> bool:
        return now >= self._heard_at + self._timeout_s
