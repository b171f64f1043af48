"""A front in this process, before backends that a test has made: the real rooms, without a start."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from farm import settings
from farm.plan import FarmPlan
from farm.rooms import Rooms
from farm.service import Adopted, Service
from farm.sources import Source


def plan(**changes: object) -> FarmPlan:
    asked = settings.check(
        mode="auto",
        model="a",
        host="127.0.0.1",
        front_port=0,
        back_port=0,
        num_parallel=4,
        ctx=None,
        keepalive="1h",
    )
    return replace(asked, **changes)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def standing(
    *urls: str, asked: FarmPlan | None = None, services: Sequence[Service] = (), alive: bool = True
) -> AsyncIterator[Rooms]:
    """A farm whose backends are at `urls`; `rooms.url` is its front.

    `alive`: the backends are asked how they are and prepared, as in a real one. Else they count as up, and
    nothing but the requests of the test reaches them.
    """
    given = services or [Adopted() for _ in urls]
    sources = [Source(url, service) for url, service in zip(urls, given, strict=True)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with Rooms(asked or plan(), sources, listener) as rooms:
            if not alive:
                for backend in rooms.backends:
                    backend.place.up = True
            task = asyncio.create_task(rooms.live() if alive else rooms.serve())
            try:
                if alive:
                    warm = asyncio.create_task(rooms.warm.wait())
                    await asyncio.wait({task, warm}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
                    warm.cancel()
                    if task.done():
                        task.result()
                    assert rooms.warm.is_set(), rooms.panel.facts()
                yield rooms
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
