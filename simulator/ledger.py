"""Who waits, who runs, who was refused: the sums add up after every event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from relay.admission import Shares
from relay.engine import Engine
from relay.rights import Rights
from simulator.case import Case, Name
from simulator.judging import check
from wire import limits


class Ledger:
    """One relay's.

    Attributes:
        notes: what the engine told its operator, by kind.
    """

    def __init__(self, engine: Engine, shares: Shares) -> None:
        self.notes: Counter[str] = Counter()
        self._engine, self._shares = engine, shares
        self._waiting: dict[int, Case] = {}
        self._running: dict[int, Case] = {}
        self._per_key: Counter[bytes] = Counter()
        self._ran_at: dict[Name, float] = {}
        self._came: dict[bytes, list[float]] = {}
        self._admitted = 0

    def admitted(self, case: Case, at: float) -> None:
        """It waits, if only for a moment."""
        self._admitted += 1
        self._waiting[case.tag] = case
        self._check_quota(case.name[0], at)

    def started(self, case: Case, at: float) -> None:
        """It has a worker."""
        check(self._waiting.pop(case.tag, None) is not None, "executed-twice", f"{case.tag} starts again")
        ran_at = self._ran_at.get(case.name)
        late = ran_at is None or at - ran_at >= limits.ANSWERED_TTL_S - 1
        check(late, "executed-twice", f"{case.name[1]} as {case.tag}")
        self._ran_at[case.name] = at
        self._running[case.tag] = case
        self._per_key[case.name[0]] += 1
        check(len(self._running) <= self._shares.workers, "workers", f"{len(self._running)} run")
        mine = self._per_key[case.name[0]]
        check(mine <= self._share(case), "share", f"{mine} of one key run")

    def closed(self, case: Case) -> None:
        """Its worker is free."""
        del self._running[case.tag]
        self._per_key[case.name[0]] -= 1

    def ended(self, case: Case) -> None:
        """Its terminal frame left."""
        self._waiting.pop(case.tag, None)

    def check_place(self, case: Case, frame: dict[str, Any]) -> None:
        """A keepalive names its place in the queue."""
        place = list(self._waiting).index(case.tag) + 1 if case.tag in self._waiting else None
        check(frame.get("position") == place, "position", f"{frame.get('position')}, not {place}")

    def check(self) -> None:
        """The sums of the engine's own table are ours, and no worker is idle while somebody may have it."""
        admission, shares = self._engine._admission, self._shares
        running, waiting = len(self._running), len(self._waiting)
        there = admission.running, admission.waiting
        check(there == (running, waiting), "ledger", f"{there} run and wait, not {(running, waiting)}")
        check(waiting <= shares.queue, "queue", f"{waiting} wait")
        if running < shares.workers:
            for case in self._waiting.values():
                full = self._per_key[case.name[0]] >= self._share(case)
                check(full, "idle-worker", f"{case.tag} waits while {running} of {shares.workers} run")

    def over(self, cases: Iterable[Case]) -> None:
        """At rest: seen = ended + refused + dropped."""
        check(not self._running and not self._waiting, "ledger", "somebody runs at the end")
        all_cases = list(cases)
        ended = sum(case.ended_at is not None for case in all_cases)
        counted = self._sum("ended_")
        sums = self._admitted, len(all_cases), ended, counted, self.notes["end"]
        check(len(set(sums)) == 1, "ledger", f"admitted, known, ended, counted, noted: {sums}")
        for kind in ("refused", "dropped"):
            counted = self._sum(f"{kind}_")
            check(counted == self.notes[kind], "ledger", f"{counted} {kind}, {self.notes[kind]} noted")

    def _share(self, case: Case) -> int:
        own = self._rights(case.name[0]).running
        return self._shares.per_peer if own is None else min(own, self._shares.per_peer)

    def _rights(self, key: bytes) -> Rights:
        return self._engine.policy.rights(key) or Rights()

    def _check_quota(self, key: bytes, at: float) -> None:
        rights = self._rights(key)
        mine = sum(case.name[0] == key for case in self._waiting.values())
        # One that starts at once waited for nobody.
        queued = self._shares.queue if rights.queued is None else rights.queued
        check(mine <= max(1, self._shares.queue // 2, 1) + 1, "queue", f"{mine} of one key wait")
        check(mine <= queued + 1, "queue", f"{mine} of one key wait")
        quota = rights.requests
        if quota is not None:
            came = self._came.setdefault(key, [])
            came.append(at)
            most = quota.count * (1 + (at - came[0]) / quota.seconds)
            check(len(came) <= most + 1e-6, "quota", f"{len(came)} of {most:.2f} requests")

    def _sum(self, prefix: str) -> int:
        return sum(count for name, count in self._engine.counts.items() if name.startswith(prefix))
