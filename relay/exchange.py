"""One request's life, as a table; bytes of the upstream in, frames for the peer out.

The table says which event may follow which; an event that is not in it came too late and is passed over.
So exactly one terminal frame leaves, and none after it. Pure: `now` is an argument, `due_at` says when it
wants to be asked again. Owned by `engine`.
"""

from __future__ import annotations

from enum import StrEnum

from relay import events, frames
from relay.commands import Effort
from relay.hearing import Hearing
from relay.manner import Manner
from relay.outflow import Frame, Out, Outflow
from relay.patience import Patience
from relay.policy import UpstreamRequest
from wire.endmark import NEEDS_MARK
from wire.errors import Fault, cut, peer_gone, upstream_broke, upstream_status


class Phase(StrEnum):
    """Where an exchange stands."""

    QUEUED = "queued"
    LOADING = "loading"
    GENERATING = "generating"
    COLLECTING = "collecting"
    ENDED = "ended"


MOVES: dict[Phase, dict[str, Phase]] = {
    Phase.QUEUED: {"start": Phase.LOADING, "fail": Phase.ENDED},
    Phase.LOADING: {"stream": Phase.GENERATING, "collect": Phase.COLLECTING, "fail": Phase.ENDED},
    Phase.GENERATING: {"data": Phase.GENERATING, "eof": Phase.ENDED, "fail": Phase.ENDED},
    Phase.COLLECTING: {"data": Phase.COLLECTING, "eof": Phase.ENDED, "fail": Phase.ENDED},
    Phase.ENDED: {},
}

_LINE_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "text/event-stream")


class Exchange:
    """One admitted request.

    Attributes:
        phase: see MOVES.
        fault: why it did not end well, or None.
    """

    def __init__(
        self,
        identifier: events.RequestId,
        request: UpstreamRequest,
        manner: Manner,
        now: float,
        *,
        answers: bool = False,
    ) -> None:
        self.identifier = identifier
        self.request = request
        self.phase = Phase.QUEUED
        self.fault: Fault | None = None
        self._manner = manner
        self._patience = Patience(now, request.timeout_s, manner.keepalive_s)
        self._status = 0
        self._headers: dict[str, str] = {}
        self._needs_mark = False
        self._outflow = Outflow(identifier, request.batch_ms, of_lines=False)
        self._hearing = Hearing(now, answers=answers, gone_s=manner.gone_s)
        self._body = bytearray()
        self._number = 0

    @property
    def ended(self) -> bool:
        """Whether its terminal frame was made."""
        return self.phase is Phase.ENDED

    @property
    def gathering(self) -> bool:
        """Whether bytes that come now would only be held, for as long as a line may wait."""
        return self.phase is Phase.GENERATING and self._outflow.gathering

    @property
    def holding(self) -> bool:
        """Whether its upstream is not to be read on: the peer is slow."""
        return self._hearing.holding and not self.ended

    @property
    def tokens(self) -> int:
        """What the upstream said it took, else a token for each line."""
        return self._outflow.mark.tokens or (self._outflow.lines if self._needs_mark else 0)

    @property
    def lines(self) -> int:
        """Lines and chunks of the answer so far."""
        return self._outflow.seq

    def has_sent(self, seq: int) -> bool:
        """Whether a frame with that number was made; what comes yet is not lost."""
        if self.phase is Phase.GENERATING:
            return 0 <= seq <= self._outflow.framed
        return self.ended

    def start(self, now: float) -> None:
        """A worker took it."""
        if self._move("start"):
            self._patience.moved(now)

    def head(self, status: int, headers: dict[str, str], now: float) -> list[Out]:
        """Status and headers came from the upstream."""
        if not self._move("stream" if self.request.stream.wanted else "collect"):
            return []
        self._status, self._headers = status, headers
        if self.phase is Phase.COLLECTING:
            return []
        self._patience.moved(now)
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        of_lines = content_type in _LINE_TYPES
        # An answer without a content type is one whose head was cut.
        streams = of_lines or not content_type
        self._needs_mark = streams and status < 400 and self.request.path in NEEDS_MARK
        of_lines |= self.request.stream.lines
        self._outflow = Outflow(self.identifier, self.request.batch_ms, of_lines=of_lines)
        return [self._out(Frame(frames.begin(self.identifier, status, headers, self._ts(now)), 0, 0), now)]

    def data(self, data: bytes, now: float) -> list[Out]:
        """Bytes of the body came."""
        if not self._move("data"):
            return []
        if self.phase is Phase.COLLECTING:
            return self._collect(data, now)
        self._patience.moved(now)
        try:
            return self._number_all(self._outflow.feed(data, self._ts(now), now), now)
        except Fault as fault:
            return self.fail(fault, now)

    def eof(self, now: float) -> list[Out]:
        """The body is complete, as far as HTTP can tell."""
        if "eof" not in MOVES[self.phase]:
            return []
        try:
            outs = self._number_all(self._outflow.finish(self._ts(now), now), now)
        except Fault as fault:
            return self.fail(fault, now)
        if self._needs_mark and not self._outflow.mark.done:
            return [*outs, *self.fail(upstream_broke("the stream ended without its end mark"), now)]
        if self.phase is Phase.COLLECTING:
            self._outflow.mark.feed(bytes(self._body))
        self._move("eof")
        if self._status >= 400 and self.request.stream.wanted:
            self.fault = upstream_status(self._status)
        return [*outs, *self._finish(now)]

    def fail(self, fault: Fault, now: float) -> list[Out]:
        """It ends here, for this reason; what was gathered still goes out first."""
        if not self._move("fail"):
            return []
        self.fault = fault
        return self._finish(now)

    def acknowledged(self, number: int, now: float) -> list[Out]:
        """The peer has frame `number`."""
        self._hearing.acknowledged(number, now)
        self._weigh(now)
        if number < self._number:
            return []
        return self._clocked(now)

    def reached(self, seq: int, now: float) -> list[Out]:
        """The peer says that it has everything up to `seq`."""
        self._hearing.reached(seq, now)
        self._weigh(now)
        if seq < self._outflow.framed:
            return []
        return self._clocked(now)

    def heard(self, now: float, *, moved: bool = False) -> None:
        """The peer said something about this request, perhaps from another place."""
        (self._hearing.moved if moved else self._hearing.heard)(now)
        self._weigh(now)

    def advance(self, now: float, position: int | None = None) -> list[Out]:
        """What is due: gathered lines, a keepalive, a time-out."""
        if self.ended:
            return []
        queued = self.phase is Phase.QUEUED
        if now >= self._patience.deadline(queued=queued):
            begun = self.phase is Phase.GENERATING
            return self.fail(self._patience.late(queued=queued, begun=begun), now)
        gone_at = self._hearing.gone_at()
        if gone_at is not None and now >= gone_at:
            return self.fail(peer_gone(self._hearing.gone_s), now)
        silent = self.request.stream.wanted and now >= self._patience.beat_at()
        # Lines that wait are a better sign of life than a keepalive, which would name them as sent.
        outs = self._number_all(self._outflow.advance(now, flush=silent), now)
        if silent and not outs:
            outs.append(self._out(Frame(self.alive(now, position), 0, self._outflow.framed), now, kept=False))
        return outs

    def alive(self, now: float, position: int | None = None) -> str:
        """A keepalive: how far the stream is, so that a peer sees what it lacks."""
        state = self.phase.value
        return frames.keepalive(self.identifier, self._ts(now), self._outflow.framed, state, position)

    def due_at(self) -> float | None:
        """When `advance` has something to do; None once ended."""
        if self.ended:
            return None
        due = self._patience.deadline(queued=self.phase is Phase.QUEUED)
        if self.request.stream.wanted:
            due = min(due, self._patience.beat_at())
        for at in (self._outflow.due_at(), self._hearing.gone_at()):
            if at is not None and at < due:
                due = at
        return due

    # -- inside -------------------------------------------------------------------------

    def _move(self, event: str) -> bool:
        next_phase = MOVES[self.phase].get(event)
        if next_phase is None:
            return False
        self.phase = next_phase
        return True

    def _weigh(self, now: float) -> None:
        self._patience.hold(now, held=self._hearing.holding)

    def _clocked(self, now: float) -> list[Out]:
        """What waited for an acknowledgement; all else waits for its own time, and its place in the queue."""
        self._outflow.acknowledged()
        return self._number_all(self._outflow.advance(now), now)

    def _collect(self, data: bytes, now: float) -> list[Out]:
        room = self._manner.max_body_b - len(self._body)
        self._body += data[:room]
        if len(data) <= room:
            return []
        return self.fail(cut(self._manner.max_body_b), now)

    def _finish(self, now: float) -> list[Out]:
        outs = self._number_all(self._outflow.advance(now, flush=True), now)
        if self.request.stream.wanted:
            text = frames.end(self.identifier, self._summary(now), self.fault)
            return [*outs, self._out(Frame(text, -1, -1), now)]
        status = self._status or (self.fault.status if self.fault else 0)
        body = bytes(self._body)
        text = frames.response(
            self.identifier, status, self._headers, body, self.fault, truncated=self._truncated()
        )
        return [self._out(Frame(text, -1, -1), now)]

    def _summary(self, now: float) -> frames.Summary:
        return frames.Summary(
            bytes=self._outflow.bytes,
            last_seq=self._outflow.seq,
            lines=self._outflow.lines,
            eot_seen=self._outflow.mark.eot,
            done_seen=self._outflow.mark.done,
            truncated=self._truncated(),
            t_ms=round((now - self._patience.began_at) * 1000),
        )

    def _truncated(self) -> bool:
        """Whether a body began and is not whole."""
        return self.fault is not None and self._status != 0 and self.fault.code != "upstream_status"

    def _number_all(self, made: list[Frame], now: float) -> list[Out]:
        return [self._out(frame, now, Effort.LEAN) for frame in made]

    def _out(self, frame: Frame, now: float, effort: Effort = Effort.SURE, *, kept: bool = True) -> Out:
        self._patience.spoke(now)
        self._number += 1
        self._hearing.sent(self._number, len(frame.text), frame.last, now)
        self._weigh(now)
        return Out(frame.text, self._number, effort, frame.first, frame.last, kept)

    def _ts(self, now: float) -> int:
        return round((now + self._manner.epoch_s) * 1000)
