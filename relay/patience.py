"""How long one exchange waits: for a worker, for its upstream, and its peer for a sign of life.

Pure; owned by one `exchange`.
"""

from __future__ import annotations

import math

from wire import limits
from wire.errors import Fault, busy, timed_out


class Patience:
    """The times of one exchange.

    Args:
        now: seconds, any zero.
        timeout_s: longest silence of the upstream.
        keepalive_s: longest silence towards the peer.

    Attributes:
        began_at: when the request came.
        held: the upstream is not read on, since the peer is slow; its silence says nothing then.
    """

    def __init__(self, now: float, timeout_s: float, keepalive_s: float) -> None:
        self.began_at = self._moved_at = self._spoke_at = now
        self.held = False
        self._timeout_s = timeout_s
        self._keepalive_s = keepalive_s
        self._silence_s = min(limits.KEEPALIVE_FIRST_S, keepalive_s)

    def moved(self, now: float) -> None:
        """A worker took it, or the upstream said something."""
        self._moved_at = now

    def hold(self, now: float, *, held: bool) -> None:
        """The upstream is held from now on, or has its time from now on."""
        if self.held and not held:
            self._moved_at = now
        self.held = held

    def spoke(self, now: float) -> None:
        """A frame was sent."""
        self._spoke_at = now
        self._silence_s = self._keepalive_s

    def beat_at(self) -> float:
        """When the peer is to hear something."""
        return self._spoke_at + self._silence_s

    def deadline(self, *, queued: bool) -> float:
        """When it is too late for a worker, or for the upstream."""
        if queued:
            return self.began_at + limits.QUEUE_WAIT_S
        return math.inf if self.held else self._moved_at + self._timeout_s

    def late(self, *, queued: bool, begun: bool) -> Fault:
        """What is said then; `begun`: of an answer."""
        if queued:
            return busy(f"no worker became free within {limits.QUEUE_WAIT_S:g} s", limits.RETRY_AFTER_MS)
        did = "sent nothing for" if begun else "did not answer within"
        return timed_out(f"the upstream {did} {self._timeout_s:g} s; a larger timeout_ms waits longer")
