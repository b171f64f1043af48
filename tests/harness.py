"""What tests of the whole line share: an upstream that does as told, a node, a relay in its own process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest

from relay.nkn.devnode import DevNode

ROOT = Path(__file__).resolve().parents[1]


class Ollamalike:
    """An HTTP server that answers as told, counts connections and sees them close."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.open = 0
        self.go_on = asyncio.Event()
        self.models: list[dict[str, str]] | None = None
        self.hold: int | None = None
        self.late = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            length = next(
                (int(h.split(":")[1]) for h in head.split("\r\n") if h.lower().startswith("content-length")),
                0,
            )
            body = await reader.readexactly(length)
            self.seen.append((method, path, body))
            asked = json.loads(body) if body.startswith(b"{") else {}
            answer = asyncio.create_task(self._answer(writer, path, asked))
            # A client that leaves is seen as the end of what it sends.
            gone = asyncio.create_task(reader.read(1))
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            answer.cancel()
            gone.cancel()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, path: str, asked: dict[str, Any]) -> None:
        if path == "/api/version":
            self._plain(
                writer, "application/json; charset=utf-8", b'{"version":"0.24.0","big":12345678901234567890}'
            )
        elif path == "/v1/models":
            self._plain(writer, "text/plain", b"\x00\xff not json")
        elif path == "/api/tags" and self.models is not None:
            self._plain(writer, "application/json", json.dumps({"models": self.models}).encode())
        elif path == "/api/tags":
            self._plain(writer, "application/json", b'{"models":[' + b" " * 3_000_000 + b"]}")
        elif path == "/api/show":
            self._plain(writer, "application/json", b'{"error":"model \'x\' not found"}', "404 Not Found")
        else:
            await self._stream(writer, asked)
        await writer.drain()

    def _plain(self, writer: asyncio.StreamWriter, kind: str, body: bytes, status: str = "200 OK") -> None:
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def _stream(self, writer: asyncio.StreamWriter, asked: dict[str, Any]) -> None:
        if self.late:  # a model that is being loaded: not even a status comes
            await self.go_on.wait()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for index in range(asked.get("lines", 3)):
            self._chunk(writer, {"model": "m", "response": f"wörd {index} ", "done": False})
            await writer.drain()
            if asked.get("hold", self.hold) == index:
                await self.go_on.wait()
            elif asked.get("hold", self.hold) is None:
                await asyncio.sleep(0.002)
        self._chunk(writer, {"model": "m", "response": "", "done": True, "done_reason": "stop"})
        writer.write(b"0\r\n\r\n")

    def _chunk(self, writer: asyncio.StreamWriter, line: dict[str, Any]) -> None:
        raw = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        writer.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")


class Relay:
    """`python -m relay` as a process of its own.

    Attributes:
        log: what it wrote to standard error so far.
    """

    def __init__(self, folder: Path, rpc: str, target: str, **env: str) -> None:
        self._env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("RELAY_", "NKN_"))},
            "NKN_RPC_ADDR": rpc,
            "RELAY_TARGETS": json.dumps({"ollama": target}),
            **env,
        }
        self.file = folder / "relay.env"
        self.address = self.log = ""

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", "--debug", "--env-file", str(self.file)),
            cwd=ROOT,
            env=self._env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        # Read all the while: a pipe that is full would hold the relay.
        self._reading = asyncio.create_task(self._read_log())
        async with asyncio.timeout(20):
            line = (await self.process.stdout.readline()).decode()
        assert line.startswith("→ NKN ready: "), line + self.log
        self.address = line.split()[-1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        async with asyncio.timeout(10):
            await self._reading
            await self.process.wait()

    async def tells(self, text: str, since: int = 0) -> str:
        """Wait until the log holds a text behind its first `since` characters; that line."""
        async with asyncio.timeout(10):
            while (at := self.log.find(text, since)) < 0:
                await asyncio.sleep(0.01)
        return self.log[at:].partition("\n")[0]

    async def _read_log(self) -> None:
        while data := await self.process.stderr.read(65_536):
            self.log += data.decode(errors="replace")


@pytest.fixture
async def upstream() -> AsyncIterator[Ollamalike]:
    async with Ollamalike() as server:
        yield server


@contextlib.asynccontextmanager
async def running_node() -> AsyncIterator[str]:
    """The RPC address of a real node if NKN_TEST_RPC names one, else of a development node."""
    real = os.environ.get("NKN_TEST_RPC")
    if real:
        yield real
        return
    async with DevNode() as started:
        yield started.rpc_url


@pytest.fixture
async def node() -> AsyncIterator[str]:
    async with running_node() as rpc:
        yield rpc


@pytest.fixture
async def relay(tmp_path: Path, node: str, upstream: Ollamalike) -> AsyncIterator[Relay]:
    async with Relay(tmp_path, node, upstream.url, RELAY_KEEPALIVE_S="0.3") as started:
        yield started
