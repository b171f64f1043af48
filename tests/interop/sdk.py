"""The official JS SDK as the other end of a test: `peer.mjs` as a child process, spoken to in JSON lines."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any, Self

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

    async def ask(self, *, patience: float = ANSWER_S, **command: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._child.stdin.write(json.dumps({"n": number, **command}).encode() + b"\n")
        await self._child.stdin.drain()
        async with asyncio.timeout(patience):
            told = await answer
        if "error" in told:
            raise PeerError(told["error"])
        return told["ok"]

    async def open(self, name: str, rpc: str, *, wait: str = "all", **options: Any) -> "Peer":
        """A Client, or a MultiClient if the options have numSubClients; its name gets a number."""
        tls = options.pop("tls", False)
        name = f"{name} {next(self._numbers)}"
        told = await self.ask(
            do="open",
            name=name,
            multi="numSubClients" in options,
            options={"rpcServerAddr": rpc, "tls": tls, "responseTimeout": 5000, **options},
            wait=wait,
        )
        return Peer(self, name, told["addr"], told["parts"])

    async def close_all(self) -> None:
        """End every client."""
        await self.ask(do="closeAll")

    async def wait(self, wanted: Any, count: int = 1, patience: float = ANSWER_S) -> list[dict[str, Any]]:
        """Wait until `count` events are as wanted; all of those there are."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if wanted(event)]

        async with asyncio.timeout(patience), self._news:
            await self._news.wait_for(lambda: len(found()) >= count or self._child.returncode is not None)
        return found()

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async for line in self._child.stdout:
                told = json.loads(line)
                if "n" in told:
                    answer = self._answers.pop(told["n"])
                    if not answer.done():
                        answer.set_result(told)
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

    async def send(
        self, dest: str | list[str], data: str | bytes, *, patience: float = ANSWER_S, **options: Any
    ) -> str | bytes | None:
        """Send and wait for the first answer: its data, or None for an acknowledgement."""
        given = {"text": data} if isinstance(data, str) else {"base64": base64.b64encode(data).decode()}
        told = await self._peers.ask(
            patience=patience, do="send", name=self.name, dest=dest, options=options, **given
        )
        return content(told)

    async def handle(self, reply: str | dict[str, str]) -> None:
        """What it answers from now on: "ack", "none", "echo", {"text": …} or {"base64": …}."""
        await self._peers.ask(do="handle", name=self.name, reply=reply)

    async def state(self) -> list[dict[str, Any]]:
        """What the SDK knows of each part."""
        return (await self._peers.ask(do="state", name=self.name))["parts"]

    async def close(self) -> None:
        """Leave, sockets included."""
        await self._peers.ask(do="close", name=self.name)

    async def messages(self, count: int, patience: float = ANSWER_S) -> list[str | bytes | None]:
        """Wait for so many messages; the data of all that came."""
        return [content(event) for event in await self.arrivals(count, patience)]

    async def arrivals(self, count: int, patience: float = ANSWER_S) -> list[dict[str, Any]]:
        """Wait for so many messages; the events of all that came."""
        return await self._peers.wait(
            lambda event: event["event"] == "message" and event["name"] == self.name, count, patience
        )

    @property
    def arrived(self) -> int:
        """How many messages came so far."""
        return sum(event["event"] == "message" and event["name"] == self.name for event in self._peers.events)


def content(told: dict[str, Any]) -> str | bytes | None:
    """What was said: text, bytes, or None for an acknowledgement."""
    if told["kind"] == "ack":
        return None
    return told["text"] if told["kind"] == "text" else base64.b64decode(told["base64"])
