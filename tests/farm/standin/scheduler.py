"""Which models are loaded: one loader, evictions, reloads, expiry, and the queue that can be full.

The order of steps is that of Ollama's scheduler, because its odd sides are what a farm has to live with: the
request at the loader's head holds up all behind it while it waits for an eviction, an entry whose client has
left stays in the queue and is never answered, a keep_alive given late prolongs what an eviction waits for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from standin.models import Model, same_runner
from standin.runner import Process, Runner
from standin.waiting import Gone, unless

BUSY = "server busy, please try again.  maximum pending requests exceeded"
DIED = "llama runner process has terminated with exit code -1"
LATE = "timed out waiting for llama runner to start - progress 0.00 - "


class Refused(Exception):
    """A request that gets no runner: status and words."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


@dataclass(eq=False)
class Pending:
    """A request for a runner. `left` is set when its client leaves."""

    name: str
    model: Model
    options: dict[str, Any]
    keep_alive: float | None
    left: asyncio.Event
    loaded: asyncio.Future[Loaded] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def key(self) -> str:
        return self.model.gguf or self.name


@dataclass(eq=False)
class Loaded:
    """A model with its runner. `uses`: requests that hold it; `session_s`: kept so long after the last."""

    key: str
    name: str
    model: Model
    options: dict[str, Any]
    session_s: float
    runner: Runner
    uses: int = 0
    expires_at: float = 0.0
    timer: asyncio.TimerHandle | None = None
    settling: asyncio.Lock = field(default_factory=asyncio.Lock)

    def wind(self, expire: Callable[[Loaded], None]) -> None:
        self.unwind()
        self.timer = asyncio.get_running_loop().call_later(self.session_s, expire, self)
        self.expires_at = time.time() + self.session_s

    def unwind(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@dataclass(frozen=True, slots=True)
class Load:
    """A load that was begun."""

    model: str
    options: Mapping[str, Any]
    keep_alive: float | None


class Scheduler:
    """`spawn` starts a runner's process, `note` is called at each change; the rest is OLLAMA_*."""

    def __init__(
        self,
        spawn: Callable[[str], Awaitable[Process]],
        note: Callable[[], None],
        *,
        parallel: int,
        max_queue: int,
        max_loaded: int,
        keep_alive_s: float,
        load_timeout_s: float,
        ping_s: float,
        pausing: bool,
    ) -> None:
        self._spawn, self._note = spawn, note
        self.parallel, self.max_queue, self.max_loaded = parallel, max_queue, max_loaded
        self.keep_alive_s, self.load_timeout_s, self.ping_s = keep_alive_s, load_timeout_s, ping_s
        self.pausing = pausing
        self.loaded: dict[str, Loaded] = {}
        self.loading: dict[str, Process] = {}
        self.queue: deque[Pending] = deque()
        self.loads: list[Load] = []
        self.aborted_loads = 0
        self.runner_starts = 0
        self.unloads = 0
        self._head: Pending | None = None
        self._unloaded = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what a request does ---------------------------------------------------------------------

    async def take(self, pending: Pending) -> Loaded:
        """A runner for a request, counted as used until `give`. Refused says why there is none."""
        there = self.loaded.get(pending.key)
        if there is not None and not await self._needs_reload(there, pending):
            self._use(there, pending)
        elif self._head is not None and len(self.queue) >= self.max_queue:
            raise Refused(503, BUSY)
        else:
            self.queue.append(pending)
            self._note()
            self._advance()
        return await pending.loaded

    def give(self, used: Loaded) -> None:
        """The request is over."""
        used.uses -= 1
        if used.uses <= 0 and self.loaded.get(used.key) is used:
            if used.session_s <= 0:
                used.unwind()
                self._expire(used)
            else:
                used.wind(self._expire)
        self._note()

    def let_go(self, key: str) -> None:
        """Unload as soon as no request holds it (keep_alive 0 without a prompt)."""
        there = self.loaded.get(key)
        if there is None:
            return
        there.unwind()
        there.expires_at = time.time()
        there.session_s = 0
        if there.uses <= 0:
            self._expire(there)

    async def end(self) -> None:
        """End all runners and forget all requests."""
        for task in list(self._tasks):
            task.cancel()
        for process in list(self.loading.values()):
            await process.end()
        for there in list(self.loaded.values()):
            there.unwind()
            await there.runner.end()
        self.loaded.clear()
        self.loading.clear()
        self.queue.clear()
        self._head = None

    # -- the loader --------------------------------------------------------------------------------

    def _advance(self) -> None:
        if self._head is None and self.queue:
            self._head = self.queue.popleft()
            self._start(self._load_head())

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load_head(self) -> None:
        while self._head is not None:
            if not self._head.left.is_set():
                await self._place(self._head)
            self._head = self.queue.popleft() if self.queue else None
            self._note()

    async def _place(self, pending: Pending) -> None:
        while True:
            there = self.loaded.get(pending.key)
            if there is not None:
                if not await self._needs_reload(there, pending):
                    self._use(there, pending)
                    return
                victim: Loaded | None = there
            elif len(self.loaded) < self.max_loaded:
                await self._load(pending)
                return
            else:
                victim = self._victim()
            if victim is not None:
                await self._evict(victim)

    def _victim(self) -> Loaded | None:
        by_time = sorted(self.loaded.values(), key=lambda one: (one.session_s, one.key))
        idle = [one for one in by_time if one.uses <= 0]
        return next(iter(idle + by_time), None)

    async def _evict(self, victim: Loaded) -> None:
        self._unloaded.clear()
        victim.unwind()
        victim.session_s = 0
        if victim.uses <= 0:
            self._expire(victim)
        await self._unloaded.wait()

    def _expire(self, there: Loaded) -> None:
        """Unload; a request that came in between is waited for, however long its keep_alive now is."""
        there.unwind()
        if there.uses > 0:
            asyncio.get_running_loop().call_later(0.01, self._expire, there)
        elif self.loaded.get(there.key) is there:
            del self.loaded[there.key]
            self._start(self._unload(there))

    async def _unload(self, there: Loaded) -> None:
        await there.runner.end()
        self.unloads += 1
        self._unloaded.set()
        self._note()

    def _use(self, there: Loaded, pending: Pending) -> None:
        there.uses += 1
        there.unwind()
        if pending.keep_alive is not None:
            there.session_s = pending.keep_alive
        if pending.loaded.done():
            self.give(there)
        else:
            pending.loaded.set_result(there)
        self._note()

    async def _needs_reload(self, there: Loaded, pending: Pending) -> bool:
        async with there.settling:
            if not same_runner(there.options, pending.options):
                return True
            try:
                await asyncio.wait_for(unless(pending.left, there.runner.process.step(0)), self.ping_s)
            except (Gone, TimeoutError):
                return True
            return False

    # -- a load --------------------------------------------------------------------------------------

    async def _load(self, pending: Pending) -> None:
        self.loads.append(Load(pending.name, pending.options, pending.keep_alive))
        self.runner_starts += 1
        process = await self._spawn(pending.name)
        self.loading[pending.key] = process
        self._note()
        told = sum(load.model == pending.name for load in self.loads)
        if not await self._watch(pending, process, stuck=told <= pending.model.stuck):
            return
        session = self.keep_alive_s if pending.keep_alive is None else pending.keep_alive
        runner = Runner(process, self.parallel, self._note, pausing=self.pausing)
        there = Loaded(pending.key, pending.name, pending.model, pending.options, session, runner)
        self.loaded[pending.key] = there
        del self.loading[pending.key]
        there.uses += 1
        pending.loaded.set_result(there)
        self._note()

    async def _watch(self, pending: Pending, process: Process, *, stuck: bool) -> bool:
        """Wait for a load; False: given up, and its request told why."""
        seconds = pending.model.load_s
        try:
            if stuck:
                process.stop()
            limit = None if stuck else seconds + self.load_timeout_s
            work = asyncio.Event().wait() if stuck else process.step(seconds)
            await unless(pending.left, asyncio.wait_for(work, limit))
            if not pending.model.refusal:
                return True
            reason = Refused(500, pending.model.refusal)
        except TimeoutError:
            reason = Refused(500, LATE)
        except Gone:
            died = process.gone.is_set() and not stuck
            reason = Refused(500, DIED) if died else Refused(499, "request canceled")
            self.aborted_loads += not died
        self.loading.pop(pending.key, None)
        await process.end()
        if not pending.loaded.done():
            pending.loaded.set_exception(reason)
        self._note()
        return False
