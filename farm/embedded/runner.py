"""The engine child's life: loaded on demand, kept as `keep_alive` says, killed to unload.

One engine, many leases. A lease waits for the load and keeps the engine while it lasts; the clock of
`keep_alive` runs while there is none. Lives on one event loop; called by `talk`, `app` and `farm.house`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from farm import limits
from farm.api import words
from farm.plan import EnginePlan
from farm.process import Child
from wire.errors import OurFault

if TYPE_CHECKING:
    from farm.embedded.channel import Channel

_LOG = logging.getLogger(__name__)
_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_SIGILL = -4


@dataclass(frozen=True, slots=True)
class Engine:
    """A loaded engine: its child process and the way to it."""

    child: Child
    channel: Channel


class Runner:
    """Keeps at most one engine.

    Args:
        plan: what to start.
        keep_alive_s: seconds it stays loaded when no request says otherwise; may be infinite.
    """

    def __init__(self, plan: EnginePlan, keep_alive_s: float) -> None:
        self.plan = plan
        self.spawned = asyncio.Event()
        self._default_s = keep_alive_s
        self._hold_s = keep_alive_s
        self._engine: Engine | None = None
        self._loading: asyncio.Task[Engine] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._leases = 0
        self._turns = asyncio.Semaphore(plan.slots)
        self._expiry: asyncio.TimerHandle | None = None
        self._idle_since = time.time()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def engine(self) -> Engine | None:
        """The engine, if one is loaded."""
        return self._engine

    @property
    def expires_at(self) -> float:
        """Unix seconds when it will be unloaded; infinite for never. Of the last idle time while it works."""
        return self._idle_since + self._hold_s

    @contextlib.asynccontextmanager
    async def lease(self, keep_alive_s: float | None = None) -> AsyncIterator[Channel]:
        """Use the engine; it is loaded first when it is not there.

        Args:
            keep_alive_s: seconds to stay loaded after this; None leaves the last value in force.

        Raises:
            OurFault: the engine does not start.
            RefusalError: 503, too many wait already.
        """
        if self._leases >= self.plan.slots + limits.WAITING_MAX:
            raise words.busy()
        self._leases += 1
        if self._expiry is not None:
            self._expiry.cancel()
        try:
            if self._engine is None and self._loading is None:
                self._hold_s = self._default_s
            if keep_alive_s is not None:
                self._hold_s = keep_alive_s
            yield (await self._loaded()).channel
        finally:
            self._leases -= 1
            if self._leases == 0:
                self._rest()

    def turn(self) -> asyncio.Semaphore:
        """Wait, in the order of arrival, until fewer than `slots` others generate; use it as `async with`.

        The engine would queue too, but each request that waits there holds one of its few HTTP threads.
        """
        return self._turns

    async def unload(self) -> None:
        """Unload now, or when the running requests have ended."""
        self._hold_s = 0.0
        if self._leases == 0 and self._loading is None:
            await self._end()

    async def lost(self) -> None:
        """The engine broke a connection off: wait a moment for its end to be noticed.

        Otherwise a client that asks again at once would meet the same dead engine.
        """
        if self._watch is not None:
            await asyncio.wait({self._watch}, timeout=limits.ENGINE_STOP_S)

    async def close(self) -> None:
        """End the engine whatever it does."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError, OurFault):
                await self._loading
        await self._end()
        await asyncio.gather(*self._ending)

    async def _loaded(self) -> Engine:
        if self._engine is not None:
            return self._engine
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        # Shielded: one waiting client may leave, the others still wait for the same load.
        return await asyncio.shield(self._loading)

    async def _load(self) -> Engine:
        key = secrets.token_urlsafe(24)
        environment = self.plan.environment(os.environ, root=_ROOT, pathsep=os.pathsep, key=key)
        try:
            child = await Child.start(self.plan.argv(sys.executable), environment)
        except OSError as error:
            self._loading = None
            raise OurFault("engine", f"the engine's process cannot be started: {error.strerror}") from error
        finally:
            self.spawned.set()
        try:
            from farm.embedded.channel import Channel  # while the child is loading, not before

            line = await _within(child.first_line(), limits.ENGINE_START_S)
            if not line:
                await child.wait()
            channel = Channel(_url(line, child), key)
        except BaseException:
            child.kill()
            await child.stop()
            raise
        finally:
            self._loading = None
        self._engine = Engine(child, channel)
        self._watch = asyncio.create_task(self._notice_end(self._engine))
        if self._leases == 0:
            self._rest()  # all who waited have left
        _LOG.info("the engine is loaded: process %d, %d slots", child.pid, self.plan.slots)
        return self._engine

    async def _notice_end(self, engine: Engine) -> None:
        code = await engine.child.wait()
        if self._engine is engine:  # it was not us
            self._engine = None
            _LOG.warning("the engine ended by itself (%d); the next request loads it again", code)
            await engine.channel.close()

    def _rest(self) -> None:
        self._idle_since = time.time()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._hold_s != float("inf"):
            self._expiry = asyncio.get_running_loop().call_later(self._hold_s, self._expire)

    def _expire(self) -> None:
        if self._leases == 0:
            ending = asyncio.create_task(self._end())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _end(self) -> None:
        engine, self._engine = self._engine, None
        if engine is None:
            return
        await engine.channel.close()
        await engine.child.stop()
        if self._watch is not None:
            await self._watch
        _LOG.info("the engine is unloaded")


async def _within(work: Awaitable[bytes], seconds: float) -> bytes:
    try:
        return await asyncio.wait_for(work, seconds)
    except TimeoutError as error:
        raise OurFault("engine", f"the engine did not load its model within {seconds:.0f} s") from error


def _url(line: bytes, child: Child) -> str:
    """The engine's address out of its first line.

    Raises:
        OurFault: "engine": it did not start, with the reason.
    """
    try:
        told = json.loads(line)
        if "url" in told:
            return str(told["url"])
        raise OurFault("engine", told["error"])
    except (ValueError, LookupError, TypeError):
        pass
    if child.exit_code == _SIGILL:
        why = "this processor lacks AVX2, which the engine's published build needs"
    else:
        why = f"it ended with code {child.exit_code}; its last words:\n{child.last_words}"
    raise OurFault("engine", f"the engine did not start: {why}")
