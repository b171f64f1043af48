"""One backend as the farm knows it: asked how it is, and watched while somebody waits for it.

Tells the pool through its `Place`; what runs it is a `Service`, and `life` brings it up again. Made by
`rooms`, used by the front.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Callable, Iterator, Sequence

import aiohttp

from farm import limits
from farm.health import Health
from farm.loads import Loads
from farm.pool import Place
from farm.service import Service
from farm.spares import Spares
from farm.watchdog import Remedy, Sample, Watchdog
from farm.witness import Counts

_LOG = logging.getLogger(__name__)
_REFUSES = "its port refuses connections"
_UNANSWERED = (aiohttp.ClientError, TimeoutError, ValueError, ConnectionError)


class Phase(enum.Enum):
    """Where a backend is in its life; the names that /_health shows."""

    STARTING = "starting"
    PREPARING = "preparing"
    READY = "ready"
    DOWN = "down"


class Backend:
    """One backend.

    Args:
        url: where it answers, such as http://127.0.0.1:11434.
        place: its entry in the pool.
        service: what runs it.
        loads: its models.
        session: the way to it.
        changed: called when the pool should look at the place again.

    Attributes:
        phase: where it is in its life.
        version: what it says it is, or None.
        trouble: one sentence on what is wrong, or None.
        restarts: how often it was started again.
        hangs: whether it is silent without working.
        kills: how often its runners were ended because they hung.
        prompt_rate: tokens of a prompt that it reads in a second.
        spares: connections to it that may be used again.
        well: set while it answers.
        again: set when it has to be brought up again.
    """

    def __init__(
        self,
        url: str,
        *,
        place: Place,
        service: Service,
        loads: Loads,
        session: aiohttp.ClientSession,
        changed: Callable[[], None],
    ) -> None:
        self.url = url
        self.place = place
        self.service = service
        self.loads = loads
        self.phase = Phase.STARTING
        self.version: str | None = None
        self.trouble: str | None = None
        self.restarts = 0
        self.hangs = False
        self.kills = 0
        self.prompt_rate = limits.PROMPT_RATE
        self.spares = Spares()
        self.well = asyncio.Event()
        self.again = asyncio.Event()
        self._session = session
        self._changed = changed
        self._health = Health()
        self._watchdog = Watchdog()
        self._waited_for = 0
        self._heard = False
        self._poke = asyncio.Event()

    # -- what the front tells -------------------------------------------------------------

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Somebody waits for its answer; `heard` says that some of it came."""
        self._waited_for += 1
        try:
            yield
        finally:
            self._waited_for -= 1

    def heard(self) -> None:
        """It sent something."""
        self._heard = True

    def refused(self) -> None:
        """Its port refuses connections."""
        self._down(_REFUSES)
        self._poke.set()

    def learn(self, counts: Counts) -> None:
        """An answer told how fast a prompt was read.

        A prompt that was in the cache counts as read at once: the rate may fall at once, but rises in steps.
        """
        if counts.prompt >= limits.PROMPT_TOKENS and counts.prompt_ns:
            rate = counts.prompt * 1e9 / counts.prompt_ns
            self.prompt_rate = min(rate, 1.5 * self.prompt_rate)

    async def rest(self, body_b: int) -> None:
        """Wait until its runner has nothing to do, as far as that can be seen.

        Args:
            body_b: bytes of the request it still works on: when others use the runner as well, or it
                cannot be looked at, the time its prompt takes is a guess.
        """
        guess_s = body_b / limits.PROMPT_BYTES_PER_TOKEN / self.prompt_rate
        begun = time.monotonic()
        before, still_s = _cpu_s(self.service.runners()), 0.0
        with self.waiting():
            while still_s < limits.REST_S and time.monotonic() - begun < limits.GHOST_S:
                await asyncio.sleep(limits.REST_EVERY_S)
                now = _cpu_s(self.service.runners())
                alone = self._waited_for == 1 and now is not None
                if not alone and time.monotonic() - begun > guess_s:
                    return
                quiet = now is not None and before is not None and now - before < limits.WATCH_CPU_S
                still_s = still_s + limits.REST_EVERY_S if quiet else 0.0
                before = now

    # -- how it is ------------------------------------------------------------------------

    def begins(self) -> None:
        """It is being started; answers of an earlier one count no more."""
        self.phase = Phase.STARTING
        self.spares.close()
        self._health.gone()
        self.well.clear()
        self.again.clear()

    def ended(self, why: str) -> None:
        """Its life is over for now."""
        self.phase = Phase.DOWN
        self.loads.forget()
        self.loads.give_up()
        self._down(why)

    async def probe(self) -> None:
        """Ask it how it is, again and again, until cancelled."""
        heard = time.monotonic()
        while True:
            self._poke.clear()
            # What is being ended may answer for a while; it is not asked for anything any more.
            well = self.phase is not Phase.DOWN and await self._answers()
            if self._health.answered(well=well):
                if well:
                    self._up()
                else:
                    self._down(self.trouble or "it does not answer")
            if well or self.phase is not Phase.READY:
                heard = time.monotonic()
            elif time.monotonic() - heard > limits.START_S:
                self.again.set()  # its process is there and does not answer any more
            self._changed()
            every = limits.HEALTH_EVERY_S if self._health.up else limits.HEALTH_DOWN_EVERY_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._poke.wait(), every)

    def _up(self) -> None:
        self.place.up = self.place.coming = True
        self.trouble = None
        self.well.set()

    def _down(self, why: str) -> None:
        self.trouble = why
        self.spares.close()
        self._health.gone()
        self.well.clear()
        self.place.up = False
        if not self.service.ours:
            self.place.coming = False
            self.again.set()  # its memory is another one when it comes back
        self._changed()

    async def _answers(self) -> bool:
        try:
            if self.version is None or not self._health.up:
                self.version = await self._ask_version()
            await self.loads.look()
        except aiohttp.ClientConnectorError:
            if self._health.up:
                self._down(_REFUSES)  # nobody listens: no need to ask three times
            return False
        except _UNANSWERED as error:
            if self._health.up:
                self.trouble = f"it does not answer ({type(error).__name__})"
            return False
        return True

    async def _ask_version(self) -> str:
        timeout = aiohttp.ClientTimeout(total=limits.HEALTH_S)
        async with self._session.get(f"{self.url}/api/version", timeout=timeout) as answer:
            told = await answer.json(content_type=None)
        version = told.get("version") if isinstance(told, dict) else None
        if not version:
            raise ValueError("no Ollama")
        return str(version)

    # -- whether it hangs -----------------------------------------------------------------

    async def watch(self) -> None:
        """Look whether it hangs while somebody waits, again and again, until cancelled."""
        while True:
            await asyncio.sleep(limits.WATCH_EVERY_S)
            loading = self.loads.waiting
            if self._heard or not (self._waited_for or loading):
                self._heard = False
                self._watchdog.heard()
            else:
                samples = self.service.runners()
                remedy = self._watchdog.look(time.monotonic(), samples, loading=loading)
                self._cure(remedy)
            if self.hangs and not self._watchdog.hangs:
                self.trouble = None
            self.hangs = self._watchdog.hangs

    def _cure(self, remedy: Remedy) -> None:
        if remedy is Remedy.NONE:
            return
        _LOG.warning("backend %s hangs; %s", self.url, remedy.value if self.service.ours else "restart it")
        self.trouble = "it hangs: nothing came from it, and its runner uses no processor"
        if not self.service.ours:
            self.trouble += "; the farm did not start it and does not end it: restart it"
        self.loads.give_up()  # Ollama waits without end for a runner that died before its first answer
        if remedy is Remedy.RELOAD or not self.service.ours:
            return
        self.kills += 1
        if remedy is Remedy.RESTART or not self.service.kill_runners():
            self.again.set()

    # -- the end --------------------------------------------------------------------------

    async def close(self) -> None:
        """End its loads and, if it is ours, itself."""
        await self.loads.close()
        self.spares.close()
        await self.service.stop()


def _cpu_s(samples: Sequence[Sample] | None) -> float | None:
    return None if samples is None else sum(sample.cpu_s for sample in samples)
