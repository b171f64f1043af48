"""The embedded engine as a backend: its adapter served in this process, its engine a child.

A `farm.service.Service`; made by `farm.sources`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil

from farm import limits, looking
from farm.embedded.runner import Runner
from farm.plan import EnginePlan, FarmPlan, engine_threads
from farm.watchdog import Sample


class EmbeddedService:
    """One engine with its adapter.

    Args:
        plan: sizes.
        model: path of the GGUF file.
        listener: the adapter's socket.
    """

    ours = True
    prefill_goes_on = False

    def __init__(self, plan: FarmPlan, model: Path, listener: socket.socket) -> None:
        self._runner = Runner(engine_plan(plan, model), plan.keep_alive_s)
        self._model = model
        self._listener = listener
        self._loading: asyncio.Task[None] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._cut = asyncio.Event()

    async def start(self) -> None:
        """Bring the engine's child on its way, then serve the adapter; nothing when that is done already."""
        if self._serving is not None:
            return
        self._loading = asyncio.create_task(self._warm())
        await self._runner.spawned.wait()  # before the imports below hold up this loop
        from farm.embedded.app import OllamaApp
        from farm.server import Server

        adapter = OllamaApp(self._runner, self._model.stat().st_mtime_ns)
        server = Server(adapter, self._listener, dated=True, strict=False)
        self._serving = asyncio.create_task(server.run_until(self._cut))

    async def ended(self) -> str:
        """Wait for the adapter's end; the engine itself is loaded again by the next request.

        Raises:
            OurFault: the engine cannot be loaded.
        """
        assert self._serving is not None  # noqa: S101 - started before
        assert self._loading is not None  # noqa: S101
        await asyncio.shield(self._loading)
        await asyncio.shield(self._serving)
        return "its server ended"

    async def stop(self) -> None:
        """End engine and adapter."""
        self._cut.set()
        if self._loading is not None:
            self._loading.cancel()
        await self._runner.close()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*filter(None, (self._serving, self._loading)), return_exceptions=True)

    def runners(self) -> Sequence[Sample] | None:
        """The engine's child."""
        return looking.samples(self._children())

    def kill_runners(self) -> bool:
        """End the engine's child; the next request starts another."""
        engine = self._runner.engine
        if engine is not None:
            engine.child.kill()
        return engine is not None

    def _children(self) -> list[psutil.Process]:
        engine = self._runner.engine
        if engine is None:
            return []
        try:
            return [psutil.Process(engine.child.pid)]
        except psutil.Error:
            return []

    async def _warm(self) -> None:
        async with self._runner.lease():
            pass


def engine_plan(plan: FarmPlan, model: Path) -> EnginePlan:
    """What the engine of a farm is started with on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = engine_threads(cores)
    return EnginePlan(str(model), plan.slots, plan.slot_tokens, threads, limits.ENGINE_BATCH)
