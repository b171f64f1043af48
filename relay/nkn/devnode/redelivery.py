"""Messages that were delivered but might have been held: whether their receiver really got them.

A real node looks again some seconds after the delivery. A client that is gone gets the message held for it
with its full time, one that came anew meanwhile gets a second copy, one that stayed gets nothing.
Pure: time is an argument; owned by `core`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from relay.nkn.devnode import limits
from relay.nkn.devnode.ring import Parcel


@dataclass(frozen=True, slots=True)
class Given:
    """A delivery to look at again.

    Attributes:
        epoch: how many registrations the node had seen when it was delivered.
    """

    parcel: Parcel
    epoch: int
    due_at: float


class Redelivery:
    """What one node delivered not long ago; the oldest are forgotten when there is no room."""

    def __init__(self) -> None:
        self._given: deque[Given] = deque(maxlen=limits.REDELIVERIES_MAX)

    def note(self, parcel: Parcel, epoch: int, due_at: float) -> None:
        """A message was delivered; one that may be held only shortly is not looked at again."""
        if parcel.hold_s > limits.REDELIVER_OVER_S:
            self._given.append(Given(parcel, epoch, due_at))

    def due(self, now: float) -> list[Given]:
        """Those whose time has come."""
        out = []
        while self._given and self._given[0].due_at <= now:
            out.append(self._given.popleft())
        return out
