"""What a relay keeps: every table has its bound, its sums are true, and what is kept can be had again."""

from __future__ import annotations

from collections.abc import Iterable

from relay.engine import Engine
from simulator.case import Case, Name
from simulator.judging import check
from wire import limits

_DEEP_EVERY = 64
_END = -1


class Memory:
    """Frames that were sent, beside the engine's own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._texts: dict[Name, dict[str, tuple[int, int]]] = {}
        self._steps = 0

    def begins(self, name: Name) -> None:
        """What was sent under that name before does not count."""
        self._texts[name] = {}

    def keep(self, name: Name, text: str, first: int, last: int) -> None:
        """A frame left."""
        self._texts[name][text] = first, last

    def holds(self, name: Name, text: str) -> bool:
        """Whether that frame was sent before, word for word."""
        return text in self._texts.get(name, ())

    def span(self, name: Name, text: str) -> tuple[int, int]:
        """The numbers in it."""
        return self._texts[name][text]

    def gone(self, case: Case | None, live: bool, seqs: Iterable[int], at: float) -> None:  # noqa: FBT001
        """The relay says that it does not keep these any more: that is so."""
        retained = self._engine._answered.retained
        if case is None or retained.dropped or case.code == "busy":
            return
        if not live and at >= (case.ended_at or 0.0) + limits.RETAIN_S - 1:
            return
        there = {seq for first, last in self._texts[case.name].values() for seq in range(first, last + 1)}
        false = sorted(there.intersection(seqs))
        check(not false, "gone-false", f"{false} of {case.tag}")

    def check(self, *, deep: bool = False) -> None:
        """The bounds, and now and then the sums."""
        retained, uploads = self._engine._answered.retained, self._engine._uploads
        check(retained.size <= retained._all_b, "retained-bound", f"{retained.size} bytes")
        check(uploads.size <= uploads._all_b, "uploads-bound", f"{uploads.size} bytes")
        self._steps += 1
        if deep or self._steps % _DEEP_EVERY == 0:
            self._add_up()

    def rest(self) -> None:
        """Nothing is left of what is over."""
        engine = self._engine
        runs, retained = engine._runs, engine._answered.retained
        left = {
            "runs": len(runs._runs), "tags": len(runs._tags), "deadlines": len(runs._due),
            "uploads": len(engine._uploads), "retained": retained.size, "ending": len(retained._ending),
        }  # fmt: skip
        check(not any(left.values()), "left-over", str(left))
        check(engine.due_at() is None, "left-over", f"due at {engine.due_at()}")

    def _add_up(self) -> None:
        retained, uploads = self._engine._answered.retained, self._engine._uploads
        for peer in retained._peers.values():
            size = sum(
                limits.RETAIN_STREAM_B
                + sum(len(kept.data) + limits.RETAIN_FRAME_B for kept in stream.frames[stream.dropped :])
                for stream in peer.streams.values()
            )
            check(size == peer.size, "retained-sum", f"{size} bytes, counted {peer.size}")
            check(size <= retained._peer_b, "retained-bound", f"{size} bytes of one key")
        total = sum(peer.size for peer in retained._peers.values())
        check(total == retained.size, "retained-sum", f"{total} bytes, counted {retained.size}")
        there = uploads._uploads.values()
        check(sum(one.size for one in there) == uploads.size, "uploads-sum", f"counted {uploads.size}")
        for one in there:
            body_b = sum(map(len, one.chunks.values()))
            least = body_b + len(one.chunks) * limits.UPLOAD_PIECE_B + 10 * (one.req is not None)
            right = body_b == one.body_b and (least <= one.size or one.fault is not None)
            check(right, "uploads-sum", f"{least}, counted {one.size}")
        for run in self._engine._runs._runs.values():
            hearing = run.exchange._hearing
            old = [sent.at for sent in hearing._under_way.values()]
            span = max(old, default=0.0) - min(old, default=0.0)
            bound = 2 * hearing.gone_s + limits.KEEPALIVE_S
            check(span <= bound, "under-way-bound", f"{len(old)} frames of {span:.0f} s")
