"""The body of one stream on its way out: bytes of the upstream in, `lines` and `chunk` frames out.

NDJSON and SSE go as lines, everything else as chunks; from a line that is not UTF-8 on, the rest of the
stream goes as chunks too, so that joining what arrived always gives the upstream's bytes. Pure; owned by
one `exchange`.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay import frames
from relay.batcher import Batcher
from relay.endmark import EndMark
from wire import limits
from wire.errors import line_too_long
from wire.ndjson import LineSplitter


@dataclass(frozen=True, slots=True)
class _Piece:
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data) * 4 // 3


class Outflow:
    """Numbers, batches and encodes.

    Args:
        of_lines: whether the body is lines.

    Attributes:
        bytes: read from the upstream.
        seq: the last number given to a line or chunk.
        lines: how many lines were sent.
        mark: whether the stream said that it is complete.
    """

    def __init__(self, identifier: frames.RequestId, batch_ms: int, *, of_lines: bool) -> None:
        self.bytes = self.seq = self.lines = 0
        self.mark = EndMark()
        self._identifier = identifier
        self._splitter = LineSplitter(limits.LINE_MAX_B) if of_lines else None
        self._gathered: Batcher[frames.Line] = Batcher(batch_ms)
        self._pieces: Batcher[_Piece] = Batcher(batch_ms)

    def feed(self, data: bytes, ts: int, now: float) -> list[str]:
        """Take bytes of the body; the frames that leave now.

        Raises:
            UpstreamFault: "line_too_long".
        """
        self.bytes += len(data)
        if self._splitter is None:
            return self._feed_bytes(data, now) + self.advance(now)
        outs: list[str] = []
        complete = self._splitter.feed(data)
        for index, line in enumerate(complete):
            try:
                outs += self._feed_line(line, ts, now)
            except UnicodeDecodeError:
                raw = b"".join(other + b"\n" for other in complete[index:])
                return outs + self._turn_to_bytes(raw + (self._splitter.finish() or b""), now)
        return outs + self.advance(now)

    def finish(self, ts: int, now: float) -> list[str]:
        """The body ended: everything that still waits.

        Raises:
            UpstreamFault: "line_too_long".
        """
        outs: list[str] = []
        rest = self._splitter.finish() if self._splitter else None
        if rest is not None:
            try:
                outs = self._feed_line(rest, ts, now)
            except UnicodeDecodeError:
                outs = self._turn_to_bytes(rest, now)
        return outs + self.advance(now, flush=True)

    def acknowledged(self) -> None:
        """The last frame arrived at the peer."""
        self._gathered.acknowledged()
        self._pieces.acknowledged()

    def due_at(self) -> float | None:
        """When `advance` has something to give; None if nothing waits."""
        times = [at for at in (self._gathered.due_at(), self._pieces.due_at()) if at is not None]
        return min(times, default=None)

    def advance(self, now: float, *, flush: bool = False) -> list[str]:
        """Frames whose time has come, or all of them."""
        outs = []
        if batch := self._gathered.advance(now, flush=flush):
            outs.append(frames.lines(self._identifier, batch))
        if pieces := self._pieces.advance(now, flush=flush):
            outs.append(self._chunk(pieces))
        return outs

    def _feed_line(self, line: bytes, ts: int, now: float) -> list[str]:
        item = frames.Line.of(self.seq + 1, ts, line)
        if item.size > limits.FRAME_MAX_B:
            raise line_too_long(f"a line of {item.size} bytes as JSON fits no message")
        self.seq += 1
        self.lines += 1
        self.mark.feed(line)
        full = self._gathered.feed(item, now)
        return [frames.lines(self._identifier, full)] if full else []

    def _turn_to_bytes(self, raw: bytes, now: float) -> list[str]:
        self._splitter = None
        outs = self.advance(now, flush=True)
        return outs + self._feed_bytes(raw, now) + self.advance(now)

    def _feed_bytes(self, data: bytes, now: float) -> list[str]:
        outs = []
        for start in range(0, len(data), limits.CHUNK_B):
            full = self._pieces.feed(_Piece(data[start : start + limits.CHUNK_B]), now)
            if full:
                outs.append(self._chunk(full))
        return outs

    def _chunk(self, pieces: list[_Piece]) -> str:
        self.seq += 1
        return frames.chunk(self._identifier, self.seq, b"".join(piece.data for piece in pieces))
