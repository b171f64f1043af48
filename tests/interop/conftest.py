"""The official JS SDK as the other end of a test: `peer.mjs` as a child process, spoken to in JSON lines.

Tests marked `node` need it; without node or its packages they skip, but fail where CI=true.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest

HERE = Path(__file__).parent
ANSWER_S = 20.0


class PeerError(Exception):
    """What the SDK threw."""


def missing() -> str:
    """What this machine lacks to run the SDK, as a sentence; empty if nothing."""
    if shutil.which("node") is None:
        return "node is missing: install Node.js 20 or newer"
    if not (HERE / "node_modules" / "nkn-sdk" / "package.json").is_file():
        return "the npm packages are missing: run `npm ci` in tests/interop"
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    lack = missing() if item.get_closest_marker("node") else ""
    if lack and os.environ.get("CI") == "true":
        pytest.fail(lack)
    if lack:
        pytest.skip(lack)


class Peers:
    """One node process, any number of SDK clients in it; enter it to start."""

    Error = PeerError

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = environment or {}
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._news = asyncio.Condition()
        self.events: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        self._child = await asyncio.create_subprocess_exec(
            "node",
            str(HERE / "peer.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **self._environment},
            limit=16 * 1024 * 1024,
        )
        self._reader = asyncio.create_task(self._read())
        await self.wait(lambda event: event["event"] == "ready")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._child.stdin.close()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()
        await self._reader

    async def ask(self, **command: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._child.stdin.write(json.dumps({"n": number, **command}).encode() + b"\n")
        await self._child.stdin.drain()
        async with asyncio.timeout(ANSWER_S):
            told = await answer
        if "error" in told:
            raise PeerError(told["error"])
        return told["ok"]

    async def open(self, name: str, rpc: str, *, wait: str = "all", **options: Any) -> "Peer":
        """A Client, or a MultiClient if the options have numSubClients."""
        tls = options.pop("tls", False)
        told = await self.ask(
            do="open",
            name=name,
            multi="numSubClients" in options,
            options={"rpcServerAddr": rpc, "tls": tls, "responseTimeout": 5000, **options},
            wait=wait,
        )
        return Peer(self, name, told["addr"], told["parts"])

    async def wait(self, wanted: Any, count: int = 1) -> list[dict[str, Any]]:
        """Wait until `count` events are as wanted; all of those there are."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if wanted(event)]

        async with asyncio.timeout(ANSWER_S), self._news:
            await self._news.wait_for(lambda: len(found()) >= count or self._child.returncode is not None)
        return found()

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async for line in self._child.stdout:
                told = json.loads(line)
                if "n" in told:
                    self._answers.pop(told["n"]).set_result(told)
                else:
                    async with self._news:
                        self.events.append(told)
                        self._news.notify_all()
        async with self._news:
            self._news.notify_all()


class Peer:
    """One SDK client."""

    def __init__(self, peers: Peers, name: str, addr: str, parts: list[str]) -> None:
        self._peers = peers
        self.name = name
        self.addr = addr
        self.parts = parts

    async def send(self, dest: str | list[str], data: str | bytes, **options: Any) -> str | bytes | None:
        """Send and wait for the first answer: its data, or None for an acknowledgement."""
        given = {"text": data} if isinstance(data, str) else {"base64": base64.b64encode(data).decode()}
        told = await self._peers.ask(do="send", name=self.name, dest=dest, options=options, **given)
        return content(told)

    async def handle(self, reply: str | dict[str, str]) -> None:
        await self._peers.ask(do="handle", name=self.name, reply=reply)

    async def state(self) -> list[dict[str, Any]]:
        return (await self._peers.ask(do="state", name=self.name))["parts"]

    async def close(self) -> None:
        await self._peers.ask(do="close", name=self.name)

    async def messages(self, count: int) -> list[str | bytes | None]:
        """Wait for so many messages; the data of all that came."""
        return [content(event) for event in await self.arrivals(count)]

    async def arrivals(self, count: int) -> list[dict[str, Any]]:
        return await self._peers.wait(
            lambda event: event["event"] == "message" and event["name"] == self.name, count
        )

    async def connected(self, count: int) -> list[dict[str, Any]]:
        return await self._peers.wait(
            lambda event: event["event"] == "connect" and event["name"] == self.name, count
        )


def content(told: dict[str, Any]) -> str | bytes | None:
    """What was said: text, bytes, or None for an acknowledgement."""
    if told["kind"] == "ack":
        return None
    return told["text"] if told["kind"] == "text" else base64.b64decode(told["base64"])


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    async with Peers() as started:
        yield started


@pytest.fixture
def peers_with() -> type[Peers]:
    """For tests that need an environment of their own."""
    return Peers


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait until something is so; it is asked again every 10 ms."""

    async def wait(so: Callable[[], Any]) -> None:
        async with asyncio.timeout(ANSWER_S):
            while not so():
                await asyncio.sleep(0.01)

    return wait
