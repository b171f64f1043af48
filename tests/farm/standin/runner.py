"""A runner: the process that holds one loaded model. It has slots, works in steps and knows no clients.

`Process` is the life of it: a pretended one here, a real child in the `ollama` of `bin/`. `Runner` is what it
does. A sequence whose client has left is a ghost: the runner ends the step it is in, a whole prefill, before
the slot is free again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from standin.waiting import Gone, Places, unless
from standin.words import Wish

_PIDS = itertools.count(100_000)


class Process:
    """A pretended process: alive until killed, working unless stopped."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.pid = next(_PIDS)
        self.port = 30_000 + self.pid % 10_000
        self.gone = asyncio.Event()
        self.working = asyncio.Event()
        self.working.set()

    async def start(self) -> None:
        """Nothing to do: it is there."""

    async def step(self, seconds: float) -> None:
        """One step of work. Silent while stopped, Gone when it dies."""
        if self.gone.is_set():
            raise Gone
        if seconds:
            await unless(self.gone, asyncio.sleep(seconds))
        if not self.working.is_set():
            await unless(self.gone, self.working.wait())

    def kill(self) -> None:
        self.gone.set()

    def stop(self) -> None:
        self.working.clear()

    def go_on(self) -> None:
        self.working.set()

    async def end(self) -> None:
        self.gone.set()


@dataclass(eq=False)
class Sequence:
    """One prompt in a runner. `out` brings its tokens, then None, or Gone when the runner dies."""

    wish: Wish
    texts: list[str]
    out: asyncio.Queue[str | type[Gone] | None] = field(default_factory=asyncio.Queue)
    left: asyncio.Event = field(default_factory=asyncio.Event)


class Runner:
    """`note` is called at each change; `pausing`: a prefill holds up the other sequences, as it does."""

    def __init__(
        self, process: Process, parallel: int, note: Callable[[], None], *, pausing: bool = True
    ) -> None:
        self.process = process
        self.told = 0
        """Tokens it has made."""
        self.crash = False
        """Whether it dies of a schema rather than of a signal."""
        self.places = Places(parallel)
        """Ollama's own count: it sends no more than these to the runner."""
        self.running: set[Sequence] = set()
        self.waiting: set[Sequence] = set()
        self._slots = Places(parallel)
        self._note = note
        self._step = asyncio.Lock() if pausing else None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ghosts(self) -> int:
        return sum(sequence.left.is_set() for sequence in self.running)

    def begin(self, wish: Wish, texts: list[str]) -> Sequence:
        sequence = Sequence(wish, texts)
        task = asyncio.ensure_future(self._run(sequence))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return sequence

    async def end(self) -> None:
        """Kill the process and wait until nothing of it works any more."""
        await self.process.end()
        for task in list(self._tasks):
            await asyncio.wait({task})

    async def _run(self, sequence: Sequence) -> None:
        self.waiting.add(sequence)
        self._note()
        try:
            await unless(self.process.gone, unless(sequence.left, self._slots.take()))
        except Gone:
            self._over(sequence, Gone if self.process.gone.is_set() else None)
            return
        finally:
            self.waiting.discard(sequence)
        self.running.add(sequence)
        self._note()
        try:
            await self._work(sequence)
            self._over(sequence, None)
        except Gone:
            self._over(sequence, Gone)
        finally:
            self._slots.give()
            self._note()

    def _over(self, sequence: Sequence, how: type[Gone] | None) -> None:
        self.running.discard(sequence)
        sequence.out.put_nowait(how)
        self._note()

    async def _work(self, sequence: Sequence) -> None:
        wish = sequence.wish
        await self._prefill(wish.prefill)
        for at, text in enumerate(sequence.texts):
            if at == wish.crash_at:
                self.process.kill()
            if at == wish.hang_at:
                self.process.stop()
            await self._token(wish.gap if at else 0.0)
            if sequence.left.is_set():
                return
            self.told += 1
            sequence.out.put_nowait(text)
            self._note()
        if wish.crash_at == len(sequence.texts):
            self.process.kill()
            raise Gone

    async def _prefill(self, seconds: float) -> None:
        if self._step is None:
            await self.process.step(seconds)
            return
        async with self._step:
            await self.process.step(seconds)

    async def _token(self, seconds: float) -> None:
        await self.process.step(seconds)
        if self._step is not None and self._step.locked():
            async with self._step:
                pass
