"""Whether the peer of a stream still listens, and how far it has got.

    hold │ more than HOLD_B of the stream's frames are under way: its upstream is not read on until half of
         │ that has arrived
    gone │ it has acknowledged before, something waits for its acknowledgement, and nothing was heard for
         │ `gone_s`

A peer that never acknowledged anything is neither held nor given up: it may be one that cannot.
Pure; owned by one `exchange`.
"""

from __future__ import annotations

from collections import OrderedDict

from wire import limits
from wire.record import record


@record
class _Sent:
    """A frame under way: when it was sent, its size, the highest number in it."""

    at: float
    size: int
    last: int


class Hearing:
    """One peer's ear for one stream.

    Args:
        now: seconds, any zero.
        answers: whether this peer has acknowledged something before this stream.
        gone_s: how long a silence means that it is gone.

    Attributes:
        holding: whether its upstream is to wait.
        gone_s: see above.
    """

    def __init__(self, now: float, *, answers: bool, gone_s: float = limits.GONE_S) -> None:
        self.holding = False
        self.gone_s = gone_s
        self._answers = answers
        self._heard_at = now
        self._under_way: OrderedDict[int, _Sent] = OrderedDict()
        self._under_way_b = 0

    def sent(self, number: int, size: int, last: int, now: float) -> None:
        """Frame `number` left; it has `size` bytes and holds everything up to line `last`."""
        self._under_way[number] = _Sent(now, size, last)
        self._under_way_b += size
        if not self._answers:
            self._drop_old(now)  # else `heard` does; of a peer that never answers it would all be kept
        self._weigh()

    def acknowledged(self, number: int, now: float) -> None:
        """The peer's client has frame `number`."""
        self._drop(number)
        self.heard(now)

    def reached(self, seq: int, now: float) -> None:
        """The peer says that it has everything up to line `seq`."""
        for number in [number for number, frame in self._under_way.items() if 0 <= frame.last <= seq]:
            self._drop(number)
        self.heard(now)

    def heard(self, now: float) -> None:
        """A sign of life. What is under way for too long by then is lost, and asked for if it is missed."""
        self._answers = True
        self._heard_at = now
        self._drop_old(now)
        self._weigh()

    def moved(self, now: float) -> None:
        """The peer is elsewhere now; what is under way to where it was does not count."""
        self._under_way.clear()
        self._under_way_b = 0
        self.heard(now)

    def gone_at(self) -> float | None:
        """When the peer counts as gone if it stays silent; None while there is nothing to answer."""
        if not self._answers or not self._under_way:
            return None
        oldest = next(iter(self._under_way.values()))
        return max(self._heard_at + self.gone_s, oldest.at + self.gone_s / 2)

    def _drop_old(self, now: float) -> None:
        while self._under_way:
            number, frame = next(iter(self._under_way.items()))
            if now - frame.at < self.gone_s:
                break
            self._drop(number)

    def _drop(self, number: int) -> None:
        frame = self._under_way.pop(number, None)
        if frame is not None:
            self._under_way_b -= frame.size

    def _weigh(self) -> None:
        limit = limits.HOLD_B // 2 if self.holding else limits.HOLD_B
        self.holding = self._answers and self._under_way_b > limit
