"""When the peer asks for what it lacks: not at once, for frames overtake each other, and ever more rarely.

Pure: the numbers that are missing come in, those to ask for now come out. Owned by an `Answer`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from wire import limits


@dataclass(slots=True)
class _Gap:
    """One number: when to ask for it, how long to wait then, and when it is lost; None while it is kept."""

    ask_at: float
    pause_s: float
    lost_at: float | None = None


class Gaps:
    """The gaps of one stream."""

    def __init__(self) -> None:
        self._gaps: dict[int, _Gap] = {}

    def look(self, missing: Iterable[int], gone: Collection[int], now: float) -> list[int]:
        """What to ask for now.

        Args:
            missing: every number that should be here and is not.
            gone: numbers that the relay does not keep any more, a set.
            now: seconds, any zero.
        """
        wanted = set(missing)
        for seq in [seq for seq in self._gaps if seq not in wanted]:
            del self._gaps[seq]
        asked: list[int] = []
        for seq in sorted(wanted):
            gap = self._gaps.setdefault(seq, _Gap(now + limits.GAP_FIRST_S, limits.GAP_FIRST_S))
            if seq in gone:
                gap.lost_at = gap.lost_at or now + limits.GAP_GONE_S
            elif now >= gap.ask_at and len(asked) < limits.MISSING_MAX:
                gap.pause_s = min(2 * gap.pause_s, limits.GAP_MAX_S)
                gap.ask_at = now + gap.pause_s
                asked.append(seq)
        return asked

    def lost(self, now: float) -> list[int]:
        """Numbers that will not come any more: gone at the relay, and under way for too long."""
        return [seq for seq, gap in self._gaps.items() if gap.lost_at is not None and now >= gap.lost_at]
