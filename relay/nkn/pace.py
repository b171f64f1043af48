"""How long a peer takes to acknowledge on each path, and which path is the best one now.

Smoothed as TCP does it (RFC 6298), for each peer and path. A path that swallowed a message is passed over
for a while, longer each time; one not measured lately is unknown. Unknown or none left: all paths are
taken. Pure; owned by `flights`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wire import limits

_STICKY = 0.75
"""Another path must be so much faster to be changed to: each change lets frames overtake each other."""
_BACKOFF_MAX = 3
"""Doublings for all messages of a peer; a single one's attempts double on."""
_MISSES_MAX = 8
"""After so many misses in a row what was measured is not true any more: the peer has become slow."""


@dataclass(slots=True)
class Pace:
    """One path to one peer, in seconds.

    Attributes:
        mean: of the times to an acknowledgement.
        spread: their mean deviation.
        measured_at: when the last was seen.
        shunned_until: a message was lost here; take another path till then.
        penalty: how long the next loss makes it shunned.
    """

    mean: float
    spread: float
    measured_at: float
    shunned_until: float = 0.0
    penalty: float = limits.PATH_SHUN_S

    def sample(self, took: float, now: float) -> None:
        """A message was acknowledged after `took` seconds."""
        self.spread += (abs(took - self.mean) - self.spread) / 4
        self.mean += (took - self.mean) / 8
        self.measured_at = now

    def lost(self, now: float) -> None:
        """A message was not acknowledged in time."""
        self.shunned_until = now + self.penalty
        self.penalty = min(self.penalty * 2, limits.PATH_SHUN_MAX_S)

    @property
    def patience(self) -> float:
        """How long an acknowledgement may take before the message counts as lost."""
        return self.mean + max(limits.RESEND_SPREAD_MIN_S, 4 * self.spread)


@dataclass(slots=True)
class Paces:
    """All paths to one peer.

    Attributes:
        proven: the peer acknowledges what it gets.
        unproven: messages sent while that is not known.
        acked_at: when it did so last.
        held_b: bytes under way to it.
        misses: times in a row that nothing was acknowledged in time.
        loss: share of the messages that were not, smoothed.
    """

    proven: bool = False
    unproven: int = 0
    acked_at: float = float("-inf")
    held_b: int = 0
    misses: int = 0
    loss: float = 0.0
    _loss_at: float = float("-inf")
    _paths: dict[int, Pace] = field(default_factory=dict)
    _chosen: int | None = None
    _surveyed_at: float = float("-inf")

    def choose(self, indices: Sequence[int], now: float) -> list[int]:
        """The best of our parts `indices` for one copy; all of them if none is known to be good."""
        if now >= self._surveyed_at + limits.PATH_SURVEY_S:
            self._surveyed_at = now
            return list(indices)
        good = [index for index in indices if self._is_good(index, now)]
        if not good:
            return list(indices)
        best = min(good, key=lambda index: self._paths[index].mean)
        chosen = self._chosen
        if chosen not in good or self._paths[best].mean < self._paths[chosen].mean * _STICKY:
            chosen = self._chosen = best
        return [chosen]

    def patience(self, indices: Sequence[int], tries: int) -> float:
        """How long to wait for an acknowledgement of attempt `tries` on these paths."""
        known = [self._paths[index].patience for index in indices if index in self._paths]
        doublings = max(min(self.misses, _BACKOFF_MAX), tries - 1)
        patience: float = min(known, default=limits.RESEND_FIRST_S) * (1 << doublings)
        return min(patience, limits.RESEND_PAUSE_MAX_S)

    def sample(self, index: int, took: float, now: float) -> None:
        """A message that took this path once was acknowledged."""
        self.misses = 0
        pace = self._paths.get(index)
        if pace is None:
            self._paths[index] = Pace(took, took / 2, now)
        else:
            pace.sample(took, now)

    def is_lossy(self, now: float) -> bool:
        """Whether so much is lost that a second copy is better than waiting for the time-out of the first."""
        if now > self._loss_at:
            if self.loss:
                self.loss *= 0.5 ** ((now - self._loss_at) / limits.LOSS_HALF_S)
            self._loss_at = now
        return self.loss > limits.LOSSY

    def kept(self, index: int) -> None:
        """A message that took this path alone arrived: it does not swallow."""
        self.loss -= self.loss * limits.LOSS_WEIGHT
        if pace := self._paths.get(index):
            pace.penalty, pace.shunned_until = limits.PATH_SHUN_S, 0.0

    def lost(self, indices: Sequence[int], now: float, count: int = 1) -> None:
        """So many messages that took these paths were not acknowledged in time."""
        self.misses += 1
        self.is_lossy(now)  # what was before is as old as it is
        self.loss += (1 - self.loss) * min(1.0, count * limits.LOSS_WEIGHT)
        for index in indices:
            if pace := self._paths.get(index):
                pace.lost(now)
        if self.misses >= _MISSES_MAX:
            self._paths.clear()
            self.misses = 0

    def forget(self, index: int) -> None:
        """Our part `index` is made anew."""
        self._paths.pop(index, None)

    def _is_good(self, index: int, now: float) -> bool:
        pace = self._paths.get(index)
        if pace is None or now < pace.shunned_until:
            return False
        return now < pace.measured_at + limits.PATH_FRESH_S
