"""Threads for what blocks: a few at once, more while something waits; those that idle for a while end.

Asking takes a fraction of a millisecond where an upstream answers, and seconds where it does not: no request
waits behind the slow ones, and a crowd makes no crowd of threads. Owned by `upstream`.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable

from wire import limits

Job = Callable[[], None]


class Workers:
    """Calls what it is given, on threads of its own.

    Args:
        most: threads.
    """

    def __init__(self, most: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._most = most
        self._free = 0  # threads that wait for a job, less the jobs that wait for them
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._relief: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._threads)

    def submit(self, job: Job) -> bool:
        """Have it called, which raises nothing; False where the system gives no thread."""
        with self._lock:
            if self._free <= 0 and len(self._threads) < min(self._most, limits.WORKERS_AT_ONCE):
                self._add()
            if not self._threads:
                return False
            self._free -= 1
            self._jobs.put(job)
            waits = self._free < 0
        if waits:
            self._look_later()
        return True

    def close(self) -> None:
        """Let all threads end, after the jobs that wait."""
        if self._relief is not None:
            self._relief.cancel()
        with self._lock:
            for _ in self._threads:
                self._jobs.put(None)

    def _look_later(self) -> None:
        if self._relief is None:
            self._relief = self._loop.call_later(limits.WORKER_LATE_S, self._relieve)

    def _relieve(self) -> None:
        """Add a thread for each job that still waits."""
        self._relief = None
        with self._lock:
            for _ in range(min(self._jobs.qsize(), self._most - len(self._threads))):
                self._add()
        if not self._jobs.empty():
            self._look_later()

    def _add(self) -> None:
        thread = threading.Thread(target=self._work, name="upstream", daemon=True)
        with contextlib.suppress(RuntimeError):  # no more threads: the job waits for one that is there
            thread.start()
            self._threads.add(thread)
            self._free += 1

    def _work(self) -> None:
        job = self._jobs.get()
        while job is not None:
            job()
            del job  # an idle thread keeps nobody's prompt
            job = self._next()

    def _next(self) -> Job | None:
        """The next job; None if this thread is to end."""
        with self._lock:
            self._free += 1
        while True:
            try:
                return self._jobs.get(timeout=limits.WORKER_IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._free <= 0:
                        continue  # a job is on its way to this one
                    self._free -= 1
                    self._threads.discard(threading.current_thread())
                return None
