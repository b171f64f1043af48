"""Mistakes on purpose: each must be found, or the simulator has no teeth.

name → what is put in its place while a world runs; made anew for each, so that nothing is carried over
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from relay import exchange, frames, outflow
from relay.admission import Admission
from relay.answered import Answered
from relay.batcher import Batcher
from relay.commands import Send
from relay.engine import Engine
from relay.exchange import Exchange, Phase
from relay.hearing import Hearing
from relay.outflow import Out, Outflow
from relay.patience import Patience
from relay.retained import Retained, _Stream
from relay.runs import Runs
from relay.uploads import Uploads, Whole
from wire import limits
from wire.window import Window

Patch = tuple[Any, str, Any]


def _lost_flush() -> list[Patch]:
    """What still waits at the end stays there."""
    advance = Outflow.advance

    def wrong(self: Outflow, now: float, *, flush: bool = False) -> list[outflow.Frame]:
        return advance(self, now, flush=flush and self.seq < 5)

    return [(Outflow, "advance", wrong)]


def _reused_seq() -> list[Patch]:
    """After a batch the next line has the last one's number."""
    lines = Outflow._lines

    def wrong(self: Outflow, batch: list[frames.Line]) -> outflow.Frame:
        made = lines(self, batch)
        self.seq -= len(batch) > 2
        return made

    return [(Outflow, "_lines", wrong)]


def _second_end() -> list[Patch]:
    """A worker that ends after its request ends it once more."""
    closed = Runs.closed

    def wrong(self: Runs, tag: int, now: float) -> list[Any]:
        run = self._runs.get(tag)
        commands = closed(self, tag, now)
        if run is not None and run.exchange.fault is not None:
            commands.append(Send(run.dest, run.exchange._finish(now)[-1].text, tag, 10**6))
        return commands

    return [(Runs, "closed", wrong)]


def _frame_after_end() -> list[Patch]:
    """A keepalive leaves behind the end of a request that was cancelled."""
    fail = Exchange.fail

    def wrong(self: Exchange, fault: Any, now: float) -> list[Out]:
        outs = fail(self, fault, now)
        late = fault.code == "cancelled" and self.request.stream.wanted and outs
        return [*outs, replace(outs[-1], text=self.alive(now), kept=False)] if late else outs

    return [(Exchange, "fail", wrong)]


def _kept_worker() -> list[Patch]:
    """The worker of a request that timed out is never free again."""
    closed = Runs.closed

    def wrong(self: Runs, tag: int, now: float) -> list[Any]:
        run = self._runs.get(tag)
        late = run is not None and run.exchange.fault is not None and run.exchange.fault.code == "timeout"
        return [] if late else closed(self, tag, now)

    return [(Runs, "closed", wrong)]


def _silence() -> list[Patch]:
    """No keepalive is sent once an answer has begun."""
    beat_at = Patience.beat_at

    def wrong(self: Patience) -> float:
        return beat_at(self) + (0.0 if self._moved_at == self.began_at else 1.0)

    return [(Patience, "beat_at", wrong)]


def _batch_of_25() -> list[Patch]:
    """One line more than the contract allows."""
    return [(limits, "BATCH_LINES", 25)]


def _kept_dest() -> list[Patch]:
    """A stream that was resumed elsewhere goes on to where its peer was."""
    moved = Runs.moved

    def wrong(self: Runs, tag: int, src: str, now: float) -> list[Any]:
        run = self._runs[tag]
        before, commands = run.dest, moved(self, tag, src, now)
        run.dest = before
        return commands

    return [(Runs, "moved", wrong)]


def _executed_twice() -> list[Patch]:
    """A repeated id is a new request as soon as the first has ended."""
    return [(Answered, "which", lambda _self, _name, _now: None)]


def _off_by_one() -> list[Patch]:
    """The frame behind the one that was asked for is sent again."""
    holding = _Stream.holding
    return [(_Stream, "holding", lambda self, seq: holding(self, seq + 1))]


def _wrong_place() -> list[Patch]:
    """Places in the queue count from nothing."""
    alive = Exchange.alive

    def wrong(self: Exchange, now: float, position: int | None = None) -> str:
        return alive(self, now, None if position is None else position - 1)

    return [(Exchange, "alive", wrong)]


def _deaf() -> list[Patch]:
    """An acknowledgement clocks nothing."""
    return [(Outflow, "acknowledged", lambda _self: None)]


def _late_timer() -> list[Patch]:
    """A window is looked at when the next one is over."""
    due_at = Batcher.due_at

    def wrong(self: Batcher[Any]) -> float | None:
        due = due_at(self)
        return None if due is None else due + self._batch_s

    return [(Batcher, "due_at", wrong)]


def _shuffled_upload() -> list[Patch]:
    """The pieces of a body are joined as they came."""
    take = Uploads.take

    def wrong(self: Uploads, src: str, name: Any, part: Any, now: float) -> Whole | None:
        upload = self._uploads.get(name)
        whole = take(self, src, name, part, now)
        if whole is None or upload is None:
            return whole
        return replace(whole, body=b"".join(upload.chunks.values()))

    return [(Uploads, "take", wrong)]


def _hasty() -> list[Patch]:
    """A peer is given up after half the time."""
    return [(Hearing, "gone_at", _hasty_gone_at(Hearing.gone_at))]


def _hasty_gone_at(gone_at: Callable[[Hearing], float | None]) -> Callable[[Hearing], float | None]:
    def wrong(self: Hearing) -> float | None:
        at = gone_at(self)
        return None if at is None else at - self.gone_s / 2

    return wrong


def _greedy() -> list[Patch]:
    """One key may hold every worker."""

    def wrong(self: Admission, _key: bytes) -> bool:
        return len(self._running) < self._shares.workers

    return [(Admission, "_fits", wrong)]


def _held_for_ever() -> list[Patch]:
    """An upstream that was held is not read on until all has arrived."""

    def wrong(self: Hearing) -> None:
        limit = 0 if self.holding else limits.HOLD_B
        self.holding = self._answers and self._under_way_b > limit

    return [(Hearing, "_weigh", wrong)]


def _leak() -> list[Patch]:
    """What a forgotten stream took is only counted back in part."""
    forget = Retained.forget

    def wrong(self: Retained, name: Any) -> None:
        self.size += limits.RETAIN_STREAM_B if self.knows(name) else 0
        forget(self, name)

    return [(Retained, "forget", wrong)]


def _cut_line() -> list[Patch]:
    """A line that broke off with its stream is sent as if it were whole."""
    fail = Exchange.fail

    def wrong(self: Exchange, fault: Any, now: float) -> list[Out]:
        if self.phase is not Phase.GENERATING or fault.code != "upstream_broke":
            return fail(self, fault, now)
        made = self._number_all(self._outflow.finish(self._ts(now), now), now)
        return [*made, *fail(self, fault, now)]

    return [(exchange.Exchange, "fail", wrong)]


def _short_memory() -> list[Patch]:
    """A cancel that overtakes its request is forgotten."""
    check_id = Engine._check_id

    def wrong(self: Engine, *told: Any) -> None:
        self._cancelled = Window(1, 0.0)
        check_id(self, *told)

    return [(Engine, "_check_id", wrong)]


BUGS: dict[str, Callable[[], list[Patch]]] = {
    "lost-flush": _lost_flush,
    "reused-seq": _reused_seq,
    "second-end": _second_end,
    "frame-after-end": _frame_after_end,
    "kept-worker": _kept_worker,
    "silence": _silence,
    "batch-of-25": _batch_of_25,
    "kept-dest": _kept_dest,
    "executed-twice": _executed_twice,
    "off-by-one": _off_by_one,
    "wrong-place": _wrong_place,
    "deaf": _deaf,
    "late-timer": _late_timer,
    "shuffled-upload": _shuffled_upload,
    "hasty": _hasty,
    "greedy": _greedy,
    "held-for-ever": _held_for_ever,
    "leak": _leak,
    "cut-line": _cut_line,
    "short-memory": _short_memory,
}
"""By name."""


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Within this the relay has that mistake."""
    with ExitStack() as stack:
        for where, attribute, wrong in BUGS[name]():
            stack.enter_context(patch.object(where, attribute, wrong))
        yield
