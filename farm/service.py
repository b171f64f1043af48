"""What runs a backend: the port that `Backend` looks through.

Implemented by `guarded` (docker, local), `Adopted` (an Ollama that runs already) and the embedded backend's
`EmbeddedService`; the tests' fakes pass the same contract.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Protocol

from farm import limits, looking
from farm.watchdog import Sample


class Service(Protocol):
    """One server process, or something that stands for it."""

    @property
    def ours(self) -> bool:
        """Whether the farm started it, may end it and starts it again."""

    @property
    def prefill_goes_on(self) -> bool:
        """Whether it reads a prompt to its end although the client has left."""

    async def start(self) -> None:
        """Start it; returns at once, before it answers.

        Raises:
            OurFault: it cannot be started; a sentence for the owner.
        """

    async def ended(self) -> str:
        """Wait for its end; what it said last."""

    async def stop(self) -> None:
        """End it, with all its processes. Safe to call twice, and before `start`."""

    def runners(self) -> Sequence[Sample] | None:
        """Its runner processes now; None when they cannot be seen."""

    def kill_runners(self) -> bool:
        """End its runners, of which it starts others on demand; False when that is not possible."""


class Adopted:
    """An Ollama that was there before the farm: it is asked, watched, and left alone.

    Args:
        port: on which it listens on this machine; 0 when it is elsewhere.
    """

    ours = False
    prefill_goes_on = True

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._pid: int | None = None
        self._looked = -math.inf

    async def start(self) -> None:
        """Nothing."""

    async def ended(self) -> str:
        """Never: its health is all that is known of it."""
        await asyncio.Event().wait()
        return ""

    async def stop(self) -> None:
        """Nothing: what the farm did not start it does not stop."""

    def runners(self) -> Sequence[Sample] | None:
        """Its runner processes, when this user may see them."""
        if self._pid is not None and not looking.is_serve(self._pid):
            self._pid, self._looked = None, -math.inf
        now = time.monotonic()
        if self._pid is None and self._port and now - self._looked > limits.HOLDER_EVERY_S:
            holder = looking.holder_of(self._port)
            self._looked = now
            self._pid = holder.pid if holder is not None and looking.is_serve(holder.pid) else None
        found = None if self._pid is None else looking.runners_of(self._pid)
        return None if found is None else looking.samples(found)

    def kill_runners(self) -> bool:
        """Not possible: they are not ours."""
        return False
