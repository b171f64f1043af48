"""One request as its peer sees it: `Reader` and `Gaps` used as `relay.peer` uses them, on virtual time.

A patient one never gives up, so that it must have everything in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from relay.gaps import Gaps
from relay.parcel import Parcel
from relay.reader import Reader
from simulator.clock import Clock
from wire import limits

Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Manners:
    """How a peer follows one request.

    Attributes:
        careful: it asks for what is lost, and resumes.
        patient: it never gives up.
        acks: it says up to where it has everything.
    """

    careful: bool = True
    patient: bool = True
    acks: bool = False


class Asking:
    """One request.

    Attributes:
        reader: what was seen of it.
        got: its content, in order.
        given_up: it is not waited for any more.
    """

    def __init__(
        self,
        clock: Clock,
        say: Say,
        identifier: str,
        req: dict[str, Any],
        *,
        parcel: Parcel | None,
        manners: Manners,
    ) -> None:
        self.reader = Reader(identifier)
        self.got = bytearray()
        self.given_up = False
        self.req = req
        self.manners = manners
        self.identifier = identifier
        self._clock, self._say, self._parcel = clock, say, parcel
        self._gaps = Gaps()
        self._heard_at = 0.0
        self._look_at: float | None = None
        self._resumed = False

    @property
    def over(self) -> bool:
        """Whether nothing is waited for."""
        return self.given_up or self.reader.complete

    @property
    def is_lost(self) -> bool:
        """Whether the relay said that what lacks is not kept any more."""
        return bool(self.reader.gone)

    def begin(self) -> None:
        """Ask."""
        self._heard_at = self._clock.now
        self.ask()
        if self.manners.careful:
            self._clock.after(limits.ASK_SILENCE_S / 2, self._break_silence)

    def ask(self) -> None:
        """Send the request, perhaps once more."""
        if self._parcel is None:
            self.whole()
        else:
            self._post(self._parcel.all())

    def whole(self, **changed: object) -> None:
        """Send it as one message."""
        self._say({"event": "relay.http", "id": self.identifier, "req": {**self.req, **changed}})

    def resume(self) -> None:
        """Ask for what follows."""
        self._say({"event": "relay.resume", "id": self.identifier, "have": self.reader.have})

    def cancel(self) -> None:
        """Leave."""
        if not self.over:
            self.given_up = True
            self._say({"event": "relay.cancel", "id": self.identifier})

    def take(self, frame: dict[str, Any]) -> None:
        """A frame came."""
        if self.over:
            return
        self._heard_at, self._resumed = self._clock.now, False
        if frame["event"] == "http.upload.missing" and self._parcel is not None:
            self._post(self._parcel.again(frame["missing"]))
            return
        before = self.reader.have
        for piece in self.reader.feed(frame):
            self.got += (piece.data or b"") if piece.line is None else piece.line.encode() + b"\n"
        if self.manners.acks and (self.reader.have > before or frame["event"].endswith("keepalive")):
            self._say({"event": "relay.ack", "id": self.identifier, "seq": self.reader.have})
        self._watch()

    def _post(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            self._say(event)

    def _watch(self) -> None:
        if self.manners.careful and self._look_at is None and self.reader.lacks:
            self._look_at = self._clock.now + limits.GAP_LOOK_S
            self._clock.at(self._look_at, self._look)

    def _look(self) -> None:
        self._look_at = None
        if self.over or not self.reader.lacks:
            return
        now = self._clock.now
        if asked := self._gaps.look(self.reader.missing(), self.reader.gone, now):
            self._say({"event": "relay.response.missing", "id": self.identifier, "missing": asked})
        if self._gaps.lost(now):
            self.given_up = True
            return
        self._watch()

    def _break_silence(self) -> None:
        if self.over:
            return
        now, half_s = self._clock.now, limits.ASK_SILENCE_S / 2
        if now < self._heard_at + half_s:
            self._clock.at(self._heard_at + half_s, self._break_silence)
            return
        if self._resumed and not self.manners.patient:
            self.cancel()
            return
        self._resumed = True
        if self.reader.progress.frames:
            self.resume()
        else:
            self.ask()
        self._clock.after(half_s, self._break_silence)
