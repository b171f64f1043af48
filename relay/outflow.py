"""The body of one stream on its way out: bytes of the upstream in, `lines` and `chunk` frames out.

NDJSON and SSE go as lines, everything else as chunks; from a line that is not UTF-8 on, the rest of the
stream goes as chunks too, so that joining what arrived always gives the upstream's bytes. Pure; owned by
one `exchange`.
"""

from __future__ import annotations

from relay import events, frames
from relay.batcher import Batcher
from relay.commands import Effort
from wire import limits
from wire.endmark import EndMark
from wire.errors import UpstreamFault, line_too_long
from wire.ndjson import LineSplitter, LineTooLong
from wire.record import record


@record
class _Piece:
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data) * 4 // 3


@record
class Frame:
    """A frame of the body.

    Attributes:
        text: the event.
        first: the lowest number in it.
        last: the highest.
    """

    text: str
    first: int
    last: int


@record
class Out:
    """A frame for the peer.

    Attributes:
        text: the event.
        number: counts the frames whose acknowledgement is waited for; None for others.
        effort: how much is done for it to arrive.
        first: the lowest `seq` in it; 0 for begin, −1 for the last frame.
        last: the highest.
        kept: whether the peer may ask for it again.
    """

    text: str
    number: int | None = None
    effort: Effort = Effort.ONCE
    first: int = 0
    last: int = 0
    kept: bool = True


class Outflow:
    """Numbers, batches and encodes.

    Args:
        of_lines: whether the body is lines.

    Attributes:
        bytes: read from the upstream.
        seq: the last number given to a line or chunk.
        lines: how many lines were sent.
        framed: the last number that is in a frame; those behind it still wait.
        mark: whether the stream said that it is complete.
    """

    def __init__(self, identifier: events.RequestId, batch_ms: int, *, of_lines: bool) -> None:
        self.bytes = self.seq = self.lines = self.framed = 0
        self.mark = EndMark()
        self._identifier = identifier
        self._splitter = LineSplitter(limits.LINE_MAX_B) if of_lines else None
        self._scanner: LineSplitter | None = None
        self._gathered: Batcher[frames.Line] = Batcher(batch_ms)
        self._pieces: Batcher[_Piece] = Batcher(batch_ms)
        self._line_max_b = limits.FRAME_MAX_B - len(frames.lines(identifier, []).encode())
        # Frames made so far: they leave with the next call even if this one ends in a fault.
        self._made: list[Frame] = []

    @property
    def gathering(self) -> bool:
        """Whether what comes now would only be held."""
        return self._pieces.gathering if self._splitter is None else self._gathered.gathering

    def feed(self, data: bytes, ts: int, now: float) -> list[Frame]:
        """Take bytes of the body; the frames that leave now.

        Raises:
            UpstreamFault: "line_too_long".
        """
        self.bytes += len(data)
        if self._splitter is None:
            self._feed_bytes(data, now)
        else:
            self._feed_lines(self._splitter, data, ts, now)
        return self.advance(now)

    def finish(self, ts: int, now: float) -> list[Frame]:
        """The body ended: everything that still waits.

        Raises:
            UpstreamFault: "line_too_long".
        """
        rest = self._splitter.finish() if self._splitter else None
        if rest is not None:
            try:
                self._feed_line(rest, ts, now)
            except UnicodeDecodeError:
                self._turn_to_bytes(rest, now)
        if self._scanner and (unended := self._scanner.finish()):
            self.mark.feed(unended)
        return self.advance(now, flush=True)

    def acknowledged(self) -> None:
        """The last frame arrived at the peer."""
        self._gathered.acknowledged()
        self._pieces.acknowledged()

    def due_at(self) -> float | None:
        """When `advance` has something to give; None if nothing waits."""
        return self._pieces.due_at() if self._splitter is None else self._gathered.due_at()

    def advance(self, now: float, *, flush: bool = False) -> list[Frame]:
        """Frames whose time has come, or all of them."""
        outs, self._made = self._made, []
        if batch := self._gathered.advance(now, flush=flush):
            outs.append(self._lines(batch))
        if pieces := self._pieces.advance(now, flush=flush):
            outs.append(self._chunk(pieces))
        return outs

    def _feed_lines(self, splitter: LineSplitter, data: bytes, ts: int, now: float) -> None:
        fault: LineTooLong | None = None
        try:
            complete = splitter.feed(data)
        except LineTooLong as too_long:
            fault, complete = too_long, too_long.before
        for index, line in enumerate(complete):
            try:
                self._feed_line(line, ts, now)
            except UnicodeDecodeError:
                raw = b"".join(other + b"\n" for other in complete[index:])
                self._turn_to_bytes(raw + (splitter.finish() or b""), now)
                return  # bytes may be as many as they like
        if fault is not None:
            raise fault

    def _feed_line(self, line: bytes, ts: int, now: float) -> None:
        item = frames.Line.of(self.seq + 1, ts, line)
        if item.size > self._line_max_b:
            raise line_too_long(f"a line of {item.size} bytes as JSON fits no message")
        self.seq += 1
        self.lines += 1
        self.mark.feed(line)
        if full := self._gathered.feed(item, now):
            self._made.append(self._lines(full))

    def _turn_to_bytes(self, raw: bytes, now: float) -> None:
        self._splitter, self._scanner = None, LineSplitter(limits.LINE_MAX_B)
        self._made = self.advance(now, flush=True)
        self._feed_bytes(raw, now)

    def _feed_bytes(self, data: bytes, now: float) -> None:
        self._scan(data)
        for start in range(0, len(data), limits.CHUNK_B):
            if full := self._pieces.feed(_Piece(data[start : start + limits.CHUNK_B]), now):
                self._made.append(self._chunk(full))

    def _scan(self, data: bytes) -> None:
        """Look for the end mark in lines that go as bytes."""
        if self._scanner is None:
            return
        try:
            for line in self._scanner.feed(data):
                self.mark.feed(line)
        except UpstreamFault:
            self._scanner = None  # a line that fits no message may well go as bytes

    def _lines(self, batch: list[frames.Line]) -> Frame:
        first, self.framed = self.framed + 1, self.framed + len(batch)
        return Frame(frames.lines(self._identifier, batch), first, self.framed)

    def _chunk(self, pieces: list[_Piece]) -> Frame:
        self.seq += 1
        self.framed = self.seq
        text = frames.chunk(self._identifier, self.seq, b"".join(piece.data for piece in pieces))
        return Frame(text, self.seq, self.seq)
