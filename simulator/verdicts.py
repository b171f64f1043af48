"""What each name was told of its end, and which were given up before they came."""

from __future__ import annotations

from simulator.case import Name
from simulator.judging import check
from wire import limits

_OWN = frozenset({"http", "upload"})
"""Events that are refused in answer to themselves."""


class Verdicts:
    """One relay's."""

    def __init__(self) -> None:
        self._ended: dict[Name, float] = {}
        self._cancelled: dict[Name, float] = {}

    def begins(self, name: Name) -> None:
        """Its pieces come, perhaps anew."""
        self._ended.pop(name, None)

    def ended(self, name: Name, at: float) -> None:
        """It has its terminal frame."""
        self._ended[name] = at

    def cancelled(self, name: Name, at: float) -> None:
        """Nothing of it is known."""
        self._cancelled[name] = at

    def admitted(self, name: Name, at: float) -> None:
        """It runs: nobody gave it up lately."""
        late = name not in self._cancelled or at >= self._cancelled[name] + limits.CANCELS_TTL_S
        check(late, "cancel", f"{name[1]} runs, which was cancelled before it came")

    def refused(self, name: Name, kind: str, at: float) -> None:
        """An end without a beginning: the answer to a request of that name, or to pieces that became none.

        Args:
            name: whose end it is.
            kind: of what that name's peer just said, "" if nothing.
            at: now.
        """
        if kind not in _OWN and not (kind == "cancel" and name not in self._ended):
            late = at - self._ended.get(name, 0.0) >= 2 * limits.UPLOAD_SILENCE_S
            check(late, "second-end", f"of {name[1]}, which had one")
        self._ended[name] = at
