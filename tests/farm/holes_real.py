"""A farm as a process of its own before a real engine, for the tests of holes that need one.

It has two slots and three places in its queue. It starts the embedded engine, or adopts the Ollama that
OLLAMA_TEST_HOST names, whose runners the tests kill and stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from holes import Call, asked, body, get, post

from farm import looking

ROOT = Path(__file__).resolve().parents[2]
MODEL = "smollm2:135m"
STORY = "Write a very long story about the sea and its ships."
PATIENCE_S = 90.0
"""A deadline that only a hang can miss, on a processor that others use as well."""


@dataclass(frozen=True)
class Real:
    """A farm before a real engine."""

    url: str
    kind: str
    process: subprocess.Popen[str]
    server: int
    """The process whose children are the runners."""

    def runners(self) -> list[psutil.Process]:
        below = psutil.Process(self.server).children(recursive=True)
        word = "farm.engine" if self.kind == "farm" else "--model"
        return [process for process in below if word in process.cmdline()]

    def kill(self) -> None:
        for process in self.runners():
            process.kill()

    async def health(self) -> dict[str, Any]:
        return dict((await asked(self.url, get("/_health"))).json)

    async def until(self, true: Callable[[dict[str, Any]], object]) -> None:
        """Wait until what /_health says is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not true(told := await self.health()):
            assert time.monotonic() < deadline, told
            await asyncio.sleep(0.02)

    async def states(self) -> list[tuple[str, int]]:
        told = (await asked(self.url, get("/_requests"))).json["requests"]
        return [(one["state"], one["position"]) for one in told]


def start(kind: str, host: str) -> subprocess.Popen[str]:
    flags = ["--mode", "embedded", "--back-port", "0"]
    if kind == "ollama":
        flags = ["--mode", "auto", "--model", MODEL, "--back-port", str(urlsplit(host).port), "--no-pull"]
    common = ["--front-port", "0", "--num-parallel", "2", "--max-queue", "3"]
    argv = [sys.executable, "-m", "farm", *common, *flags]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@contextlib.contextmanager
def farm_before(kind: str, host: str) -> Iterator[Real]:
    """The farm, until the block ends."""
    server = None
    if kind == "ollama":
        holder = looking.holder_of(urlsplit(host).port or 0)
        server = None if holder is None else holder.pid
        if server is None:
            pytest.skip("the Ollama of OLLAMA_TEST_HOST is no process that can be seen from here")
    process = start(kind, host)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("→ farm ready: "), line
        yield Real(line.split()[-1], kind, process, server or process.pid)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def wish(path: str, words: str = STORY, tokens: int = 300, **more: Any) -> dict[str, Any]:
    """A request for so many tokens at most."""
    native: dict[str, Any] = {"options": {"num_predict": tokens}}
    limits: dict[str, dict[str, Any]] = {
        "/api/generate": native, "/api/chat": native, "/v1/responses": {"max_output_tokens": tokens},
    }  # fmt: skip
    limit = limits.get(path, {"max_tokens": tokens})
    return body(path, words, **{"stream": True, **limit, "model": MODEL, **more})


async def begun(real: Real, path: str = "/api/generate", chunks: int = 3, **more: Any) -> Call:
    """A stream that has brought something."""
    call = await Call.to(real.url, post(path, wish(path, **more)))
    for _ in range(chunks):
        assert await call.chunk(), call.told
    return call


async def rests(real: Real) -> None:
    """Nobody runs and nobody waits, and a request is served."""
    await real.until(lambda told: told["running"] == told["waiting"] == 0)
    assert (await asked(real.url, post("/api/generate", wish("/api/generate", "Hi", 3)))).status == 200
