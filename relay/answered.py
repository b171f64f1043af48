"""What was answered already: no id is executed twice, and what was sent under it may be asked for again.

Ids are kept some minutes, frames (`retained`) some seconds after the end. Bounded, and no key can
push out another's. Pure; owned by `engine`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from relay import frames
from relay.commands import Command, Effort, Send
from relay.events import RequestId
from relay.outflow import Out
from relay.policy import UpstreamRequest
from relay.retained import Name, Retained
from wire import limits
from wire.errors import Fault
from wire.window import Window


def fingerprint(request: UpstreamRequest) -> bytes:
    """What tells a request from another of the same id: all of it but how long the peer waits."""
    asked = (request.method, request.url, sorted(request.headers.items()), request.verify, request.stream)
    digest = hashlib.blake2b(repr(asked).encode(), digest_size=16)
    digest.update(request.body or b"")
    return digest.digest()


class Answered:
    """Ended requests by name, and the frames of those that run.

    Args:
        counts: gets "sent_again" and "asked_too_late".

    Attributes:
        retained: the frames.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self.retained = Retained()
        self._counts = counts
        self._ended: Window[bytes, RequestId, bytes] = Window(limits.ANSWERED_MAX, limits.ANSWERED_TTL_S)

    def __len__(self) -> int:
        return len(self._ended)

    def keep(self, name: Name, outs: Iterable[Out]) -> None:
        """These frames were sent."""
        for out in outs:
            if out.kept:
                self.retained.keep(name, out.first, out.last, out.text)

    def ended(self, name: Name, request: bytes, fault: Fault | None, now: float) -> None:
        """A request of that fingerprint has ended; a "busy" one was never begun and may be asked again."""
        if fault is not None and fault.code == "busy":
            self.retained.forget(name)
            return
        self._ended.put(*name, request, now)
        self.retained.ended(name, now)

    def tidy(self, now: float) -> None:
        """Forget requests that ended too long ago."""
        self._ended.forget(now)

    def which(self, name: Name, now: float) -> bytes | None:
        """The fingerprint of the request that ended under that name within the last minutes."""
        return self._ended.get(*name, now)

    def missing(self, src: str, name: Name, wanted: Iterable[int], now: float) -> list[Command]:
        """The frames that the peer lacks; it is told which of them are not kept any more."""
        texts, gone = self.retained.again(name, wanted, now)
        return self._tell(src, name, texts, gone)

    def after(self, src: str, name: Name, have: int, now: float, *, running: bool) -> list[Command]:
        """What follows number `have`; of what is not known any more, that its end will never come."""
        gone = [] if running or self.retained.knows(name) else [-1]
        return self._tell(src, name, self.retained.after(name, have, now), gone)

    def _tell(self, src: str, name: Name, texts: Sequence[str], gone: Sequence[int]) -> list[Command]:
        self._counts["sent_again"] += len(texts)
        self._counts["asked_too_late"] += len(gone)
        told: list[Command] = [Send(src, text, effort=Effort.SPARE) for text in texts]
        if gone and name[1] is not None:
            told.append(Send(src, frames.gone(name[1], gone)))
        return told
