"""Brings a farm up and down: the front's socket, the backends' lives, and the signal that ends it.

Called by `cli`. The front listens from the beginning, so that /_health can tell how far the start is.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence

from farm import limits, ports
from farm.plan import FarmPlan
from farm.sources import Source, sources
from wire.errors import OurFault


def run(plan: FarmPlan, ready: Callable[[str], None], tell: Callable[[str], None]) -> None:
    """Run a farm until SIGINT or SIGTERM.

    Args:
        plan: what to run.
        ready: told the front's URL when the model is in memory everywhere.
        tell: told what the owner should know.

    Raises:
        OurFault: a sentence for the owner.
        KeyboardInterrupt, SystemExit: a signal came before the loop ran.
    """
    with (
        ports.bound(plan.host, plan.front_port, "--front-port") as front,
        sources(plan) as found,
    ):
        for note in dict.fromkeys(note for source in found for note in source.notes):
            tell(note)
        if not ports.is_loopback(plan.host):
            tell(f"{plan.host} is not loopback: whoever reaches this machine may use port {plan.front_port}")
        _room_for_connections()
        asyncio.run(_serve(plan, found, front, ready))


def _room_for_connections() -> None:
    """As many open files as the system grants: each stream needs two, and 1,024 is a common start."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = min(hard, limits.FILES) if hard != resource.RLIM_INFINITY else limits.FILES
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(
    plan: FarmPlan, found: Sequence[Source], listener: socket.socket, ready: Callable[[str], None]
) -> None:
    stop = asyncio.Event()
    _on_signals(stop)
    for source in found:
        if source.launch is None and source.service.ours:
            await source.service.start()  # the engine loads its model while the servers are imported
    from farm.rooms import Rooms

    async with Rooms(plan, found, listener) as rooms:
        living = asyncio.create_task(rooms.live())
        warm = asyncio.create_task(rooms.warm.wait())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({living, warm, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if warm.done():
                ready(ports.url_of(listener))
                await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if living.done() and not stop.is_set():  # a signal to all processes may end the backends first
                with _one_fault():
                    living.result()
        finally:
            for task in (living, warm, stopping):
                task.cancel()
            await asyncio.gather(living, warm, stopping, return_exceptions=True)


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))


@contextlib.contextmanager
def _one_fault() -> Iterator[None]:
    """The first fault of several tasks, by itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        matched, _ = group.split(OurFault)
        while matched is not None and matched.exceptions:
            first = matched.exceptions[0]
            if isinstance(first, OurFault):
                raise first from None
            matched = first if isinstance(first, BaseExceptionGroup) else None
        raise
