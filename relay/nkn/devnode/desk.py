"""JSON-RPC as a node in trouble gives it: the answers are `rpc`'s, whether, when and how often the faults'.

Shell: it waits; used by `life` as the responder of the RPC port.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

from relay.nkn.devnode import rpc
from relay.nkn.devnode.answer import TOO_MANY, Answer, Asked
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.limiter import Limiter
from relay.nkn.devnode.ring import View
from relay.nkn.devnode.times import Times


class Desk:
    """The RPC of one node.

    Args:
        view: the ring as this node sees it.
        thawed: cleared while the node is frozen.
    """

    def __init__(self, view: View, counts: Counter[str], thawed: asyncio.Event, times: Times) -> None:
        self._view = view
        self._counts = counts
        self._thawed = thawed
        self._times = times
        self._limiter = Limiter()
        self._faults = Faults()
        self._failed = 0
        self._changed = asyncio.Event()
        self._since = time.time()

    def renew(self, faults: Faults) -> None:
        """Take other faults; failures that end after a number begin anew."""
        self._faults, self._failed = faults, 0

    async def answer(self, asked: Asked) -> Answer | None:
        """Answer a request, or fail as wanted."""
        self._counts["rpc"] += 1
        await self._thawed.wait()
        now = asyncio.get_running_loop().time()
        if not self._limiter.admits(asked.peer, self._faults.rate_burst, now):
            self._counts["rpc_limited"] += 1
            return TOO_MANY
        failure = self._failure()
        if failure == "refuse":
            return None
        if failure == "slow":
            await asyncio.sleep(self._times.rpc_slow_s)
        if failure not in {"", "slow", "joining"}:
            return rpc.failure(failure)
        answer = self._found(asked, failure)
        return await self._awaited(asked, answer) if answer.after_s else answer

    def ring_changed(self) -> None:
        """A node came or went: questions about a frozen one have another answer now."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _found(self, asked: Asked, failure: str = "") -> Answer:
        return self._office().answer(asked.method, asked.body, joining=failure == "joining")

    async def _awaited(self, asked: Asked, answer: Answer) -> Answer:
        """The error that the owner does not reply, in its time, or what is so by then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(answer.after_s):
                while answer.after_s:
                    await self._changed.wait()
                    answer = self._found(asked)
        return answer

    def _failure(self) -> str:
        kind, most = self._faults.rpc_failure, self._faults.rpc_failures
        if not kind or (most and self._failed >= most):
            return ""
        self._failed += 1
        self._counts["rpc_failed"] += 1
        return kind

    def _office(self) -> rpc.Office:
        now = time.time()
        place, elsewhere = self._view.me.place, self._faults.rpc_addr
        return rpc.Office(self._view, place, elsewhere, int(now), int(now - self._since))
