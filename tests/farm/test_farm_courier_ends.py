"""The way to a backend where nobody answers, and where it is given up: nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator

import pytest
from talking import CHUNKED, LAST, Backend, chunk, talking

from farm import limits
from farm.courier import RefusedError, ask


async def test_nobody_there_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(RefusedError):
        await ask(url, "GET", "/", [], None)


async def test_a_backend_that_takes_no_connection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECT_S", 0.05)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        with pytest.raises(RefusedError):
            await ask(f"http://127.0.0.1:{full.getsockname()[1]}", "GET", "/", [], None)
        for one in waiting:
            one.close()


async def exchange(backend: Backend, *, slow: bool) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(20):
            await asyncio.sleep(0)
            yield b"x" * 10

    answer = await ask(backend.url, "POST", "/", [], blocks() if slow else b"x" * 200, length=200)
    try:
        while await answer.more():
            pass
    finally:
        answer.close()


@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize("steps", range(0, 60, 2))
async def test_cancelled_anywhere_it_leaves_nothing(steps: int, slow: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(200)
        writer.write(CHUNKED)
        for _ in range(20):
            writer.write(chunk(b"y"))
            await asyncio.sleep(0)
        writer.write(LAST)

    async with talking(talk) as backend:
        before = asyncio.all_tasks()
        asking = asyncio.create_task(exchange(backend, slow=slow))
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await backend.until_left()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() - before if "_send" in repr(task)]
    gc.collect()  # what was not closed would say so now
