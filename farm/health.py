"""Whether a backend can be asked: one bad answer does not make it ill, one good one does not make it well.

Pure. Owned by a backend's shell, which asks and tells.
"""

from __future__ import annotations

from farm import limits


class Health:
    """The state of one backend, from the answers to the farm's questions.

    Attributes:
        up: whether requests are sent to it.
    """

    __slots__ = ("_run", "up")

    def __init__(self) -> None:
        self.up = False
        self._run = 0  # answers in a row that contradict `up`

    def answered(self, *, well: bool) -> bool:
        """An answer came, or did not; True when `up` changed."""
        if well == self.up:
            self._run = 0
            return False
        self._run += 1
        if self._run < (limits.HEALTH_GOOD if well else limits.HEALTH_BAD):
            return False
        self.up, self._run = well, 0
        return True

    def gone(self) -> bool:
        """It is known to be down: its process ended or its port refuses; True when `up` changed."""
        changed = self.up
        self.up, self._run = False, 0
        return changed


class Pause:
    """How long to wait before a backend is started again: at once, then ever longer while it keeps dying.

    A start that held for `limits.RESTART_STEADY_S` begins the row anew.
    """

    __slots__ = ("_began", "_next_s")

    def __init__(self) -> None:
        self._next_s = 0.0
        self._began: float | None = None

    def started(self, now: float) -> None:
        """It was started at `now` (seconds, any zero)."""
        self._began = now

    def ended(self, now: float) -> float:
        """It ended at `now`: seconds to wait before the next start."""
        if self._began is None or now - self._began >= limits.RESTART_STEADY_S:
            self._next_s = 0.0
        pause_s = self._next_s
        self._next_s = min(max(limits.RESTART_FIRST_S, 2 * pause_s), limits.RESTART_MAX_S)
        return pause_s
