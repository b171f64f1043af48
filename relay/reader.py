"""The peer's half: frames in any order in, the stream in order out, gaps named.

Frames may be lost, doubled and overtaken; `seq` is the order and `end.last_seq` says how many there are.
Pure; used by `ask` and by other people's Python peers.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from wire import limits


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of the stream: a line without its line feed, or raw bytes."""

    seq: int
    line: str | None = None
    data: bytes | None = None


@dataclass(slots=True)
class Progress:
    """What was seen so far, for people.

    Attributes:
        frames: frames of this request, doubles included.
        doubled: lines and chunks that came again.
        overtaken: lines and chunks that came before an earlier one.
        state: the last keepalive's, e.g. "queued" or "loading".
        position: place in the relay's queue, from 1.
    """

    frames: int = 0
    doubled: int = 0
    overtaken: int = 0
    state: str | None = None
    position: int | None = None
    held: dict[int, Piece] = field(default_factory=dict)


class Reader:
    """Reads the answer to one request.

    Attributes:
        begin: the begin frame, or None.
        end: the end frame, or the `relay.response` of a request without stream, or None.
        progress: what was seen so far.
        gone: numbers that the relay does not keep any more; with −1 it does not know the request.
    """

    def __init__(self, identifier: str) -> None:
        self.begin: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self.progress = Progress()
        self.gone: set[int] = set()
        self._identifier = identifier
        self._next = 1
        self._top = 0

    @property
    def have(self) -> int:
        """The last number up to which everything was given out."""
        return self._next - 1

    @property
    def complete(self) -> bool:
        """Whether everything up to the end was given out."""
        if self.end is None:
            return False
        return self.end.get("event") == "relay.response" or self._next > self._last()

    @property
    def lacks(self) -> bool:
        """Whether `missing` names anything; quickly told."""
        if self.complete:
            return False
        return self._next <= self._known or self._headless or self._endless

    def missing(self) -> list[int]:
        """Numbers that should be here and are not, the lowest GAPS_MAX of them; 0 is begin.

        −1 for the end only where the relay says that it does not know the request any more.
        """
        if self.complete:
            return []
        last = min(self._known, self._next + limits.READER_AHEAD_MAX)
        absent = (seq for seq in range(self._next, last + 1) if seq not in self.progress.held)
        return [*([-1] * self._endless), *([0] * self._headless), *islice(absent, limits.GAPS_MAX)]

    def feed(self, frame: dict[str, Any]) -> list[Piece]:
        """Take one event; the pieces that follow those given out already. Foreign events give none."""
        event = str(frame.get("event")).lower()
        if frame.get("id") != self._identifier or not event.startswith("relay.response"):
            return []
        self.progress.frames += 1
        if event == "relay.response.begin":
            self.begin = self.begin or frame
        elif event in {"relay.response.end", "relay.response"}:
            self.end = self.end or frame
        elif event == "relay.response.keepalive":
            self.progress.state, self.progress.position = frame.get("state"), frame.get("position")
            self._top = max(self._top, _number(frame.get("last_seq")))
        elif event == "relay.response.gone":
            told = frame.get("missing")
            self.gone.update(seq for seq in (told if isinstance(told, list) else ()) if isinstance(seq, int))
        if event == "relay.response.lines":
            lines = frame.get("lines")
            return [
                piece for line in (lines if isinstance(lines, list) else ()) for piece in self._line(line)
            ]
        if event == "relay.response.chunk":
            return self._take(Piece(_seq(frame), data=_bytes(frame.get("b64"))))
        return []

    @property
    def _known(self) -> int:
        """The last number that is known to have been sent."""
        return self._top if self.end is None else self._last()

    @property
    def _headless(self) -> bool:
        return self.begin is None and self._known > 0

    @property
    def _endless(self) -> bool:
        return self.end is None and -1 in self.gone

    def _last(self) -> int:
        return _number((self.end or {}).get("last_seq"))

    def _line(self, raw: object) -> list[Piece]:
        text = raw.get("line") if isinstance(raw, dict) else None
        return self._take(Piece(_seq(raw), line=text)) if isinstance(text, str) else []

    def _take(self, piece: Piece) -> list[Piece]:
        held = self.progress.held
        if piece.seq < self._next or piece.seq in held:
            self.progress.doubled += 1
            return []
        if piece.seq > self._next + limits.READER_AHEAD_MAX:
            return []
        self._top = max(self._top, piece.seq)
        self.progress.overtaken += piece.seq != self._next
        held[piece.seq] = piece
        ready = []
        while (following := held.pop(self._next, None)) is not None:
            ready.append(following)
            self._next += 1
        return ready


def _seq(raw: object) -> int:
    return _number(raw.get("seq")) if isinstance(raw, dict) else 0


def _number(raw: object) -> int:
    return raw if isinstance(raw, int) else 0


def _bytes(raw: object) -> bytes:
    try:
        return base64.b64decode(raw, validate=True) if isinstance(raw, str) else b""
    except (binascii.Error, ValueError):
        return b""
