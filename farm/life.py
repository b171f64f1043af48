"""A backend's life: started, prepared once it answers, and started again whenever it ends.

One for each backend, a loop on the farm's event loop. Run by `rooms`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from farm import limits
from farm.backend import Backend, Phase
from farm.health import Pause
from wire.errors import OurFault

_LOG = logging.getLogger(__name__)
Prepare = Callable[[Backend], Awaitable[None]]


class Life:
    """Keeps one backend alive.

    Args:
        backend: whose life it is.
        prepare: brings its models in, once it answers.
        changed: called when the pool should look at its place again.
    """

    def __init__(self, backend: Backend, prepare: Prepare, changed: Callable[[], None]) -> None:
        self._backend = backend
        self._prepare = prepare
        self._changed = changed
        self._pause = Pause()
        self._ever_ready = False

    async def run(self) -> None:
        """Until it is cancelled.

        Raises:
            OurFault: it never came up.
        """
        backend = self._backend
        async with asyncio.TaskGroup() as group:
            group.create_task(backend.probe())
            group.create_task(backend.watch())
            while True:
                try:
                    why, failed = await self._once(), backend.service.ours
                    words = f"the backend at {backend.url} did not come up: {why}"
                except OurFault as fault:
                    why, failed = fault.detail, True
                    words = why
                backend.ended(why)
                await backend.service.stop()
                if not self._ever_ready:
                    raise OurFault("backend", words)
                if failed:
                    await self._before_next()

    async def _once(self) -> str:
        """From a start to the end that follows; why it ended."""
        backend = self._backend
        backend.begins()
        self._pause.started(time.monotonic())
        await backend.service.start()
        ending = asyncio.ensure_future(backend.service.ended())
        again = asyncio.ensure_future(backend.again.wait())
        rising = asyncio.ensure_future(self._rise())
        try:
            await asyncio.wait({ending, again, rising}, return_when=asyncio.FIRST_COMPLETED)
            if rising.done():
                if rising.exception() is not None and backend.service.ours:
                    # A request that broke off is seen before the end of the process that it broke off with.
                    await asyncio.wait({ending}, timeout=limits.LAST_WORDS_S)
                if not ending.done():
                    rising.result()
                await asyncio.wait({ending, again}, return_when=asyncio.FIRST_COMPLETED)
            return ending.result() if ending.done() else backend.trouble or "it went away"
        finally:
            for task in (ending, again, rising):
                task.cancel()
            await asyncio.gather(ending, again, rising, return_exceptions=True)

    async def _rise(self) -> None:
        """Wait for its first answer and prepare it."""
        backend = self._backend
        try:
            async with asyncio.timeout(limits.START_S if backend.service.ours else None):
                await backend.well.wait()
        except TimeoutError:
            why = f"{backend.url} did not answer within {limits.START_S:.0f} s"
            raise OurFault("backend", why) from None
        backend.phase = Phase.PREPARING
        await self._prepare(backend)
        backend.phase, backend.trouble = Phase.READY, None
        self._ever_ready = True

    async def _before_next(self) -> None:
        backend = self._backend
        pause = self._pause.ended(time.monotonic())
        if backend.service.ours:
            backend.restarts += 1
            backend.place.coming = pause <= limits.RESTART_FIRST_S
        self._changed()
        what = "is started" if backend.service.ours else "is prepared"
        _LOG.warning("backend %s %s again in %.1f s: %s", backend.url, what, pause, backend.trouble)
        await asyncio.sleep(pause)
        if backend.service.ours:
            backend.place.coming = True
