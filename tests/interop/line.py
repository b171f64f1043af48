"""Bad lines on loopback: a seed that answers as told, and a node reached through a line that can be slow,
frozen or dead. In front of the development node and of a real one alike.
"""

import asyncio
import contextlib
import json
import socket
from typing import Any, Self

from relay.nkn import Identity
from relay.nkn.rpc import SeedRpc
from relay.nkn.session import NodeInfo

_BUFFER_B = 64 * 1024
"""Of each socket, so that who writes into a slow line feels it."""
_PIECE_B = 4096
_BURST = 50
_LONG_S = 60.0
"""How long a "slow" seed takes: longer than any client waits."""


class Port:
    """A loopback port that can be closed and opened again under the same number."""

    def __init__(self, serve: Any) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.number = 0

    @property
    def addr(self) -> str:
        return f"127.0.0.1:{self.number}"

    async def open(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_B)
        listener.bind(("127.0.0.1", self.number))
        self._server = await asyncio.start_server(self._guarded, sock=listener, limit=_BUFFER_B)
        self.number = listener.getsockname()[1]

    async def close(self) -> None:
        """Refuse who comes, end who is there."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _guarded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)


_BAD = {
    "429": (429, b""),
    "html": (200, b"<html>504 Gateway Time-out</html>"),
    "error": (200, b'{"id":"1","jsonrpc":"2.0","error":{"code":-45022,"message":"INTERNAL ERROR"}}'),
}
"""Mood of a seed → HTTP status and body."""


class Seed:
    """A JSON-RPC seed server.

    Attributes:
        mood: "up"; "429", "html", "error": answers that are none; "slow": none for a minute; "refuse": the
            connection is closed.
        node: what it tells of the responsible node.
        others: the first part of an address → the node of such addresses, where it is another one.
        delay_s: how long an answer takes.
        per_s: at most so many answers a second, after a burst of fifty; 0 is no limit.
        asked: how often it was asked for a node.
    """

    def __init__(self, node: NodeInfo, mood: str = "up") -> None:
        self.node = node
        self.others: dict[str, NodeInfo] = {}
        self.mood = mood
        self.delay_s = 0.0
        self.per_s = 0.0
        self.asked = 0
        self._next_at = 0.0
        self.port = Port(self._serve)

    @property
    def url(self) -> str:
        return f"http://{self.port.addr}"

    async def __aenter__(self) -> Self:
        await self.port.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.port.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await reader.readexactly(int(head.partition("content-length:")[2].split("\r\n")[0]))
        self.asked += 1
        await asyncio.sleep(_LONG_S if self.mood == "slow" else self.delay_s + self._pause_s())
        if self.mood == "refuse":
            return
        node = self.others.get(json.loads(body)["params"]["address"].partition(".")[0], self.node)
        told = {"addr": node.addr, "pubkey": node.pubkey.hex(), "rpcAddr": "", "id": "", "sdp": ""}
        good = json.dumps({"id": "1", "jsonrpc": "2.0", "result": told}).encode()
        status, body = _BAD.get(self.mood, (200, good))
        head = f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    def _pause_s(self) -> float:
        if not self.per_s:
            return 0.0
        now = asyncio.get_running_loop().time()
        self._next_at = max(self._next_at, now - _BURST / self.per_s) + 1 / self.per_s
        return max(0.0, self._next_at - now)


class Line:
    """A seed, and behind the address it tells a node reached by a line.

    Args:
        rpc: the JSON-RPC of the one node behind.

    Attributes:
        seed: tells this line's address as the node's.
        up_bps, down_bps: bytes per second towards the node and back; 0 is no limit.
        connections: how many there have been.
    """

    def __init__(self, rpc: str, *, up_bps: int = 0, down_bps: int = 0) -> None:
        self._rpc = rpc
        self.up_bps = up_bps
        self.down_bps = down_bps
        self.connections = 0
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._port = Port(self._carry)

    @property
    def rpc(self) -> str:
        return self.seed.url

    @property
    def node(self) -> NodeInfo:
        """The node as it is reached by this line."""
        return NodeInfo(self._port.addr, self._node.pubkey)

    async def __aenter__(self) -> Self:
        self._node = await SeedRpc([self._rpc]).locate(Identity(b"\1" * 32).public_key.hex())
        await self._port.open()
        self.seed = Seed(self.node)
        await self.seed.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.seed.__aexit__(*raised)
        await self._port.close()

    def freeze(self) -> None:
        """Nothing comes through any more, in either direction; connections stay open."""
        self._thawed.clear()

    def thaw(self) -> None:
        """What waited comes through."""
        self._thawed.set()

    async def kill(self) -> None:
        """The node ends: connections too, and nobody listens."""
        await self._port.close()

    async def revive(self) -> None:
        """It listens again, where it did."""
        await self._port.open()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        behind = socket.socket()
        behind.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_B)
        behind.setblocking(False)
        host, _, port = self._node.addr.rpartition(":")
        await asyncio.get_running_loop().sock_connect(behind, (host, int(port)))
        back, forth = await asyncio.open_connection(sock=behind, limit=_BUFFER_B)
        ways = [
            asyncio.create_task(self._flow(reader, forth, "up_bps")),
            asyncio.create_task(self._flow(back, writer, "down_bps")),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            forth.close()

    async def _flow(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: str) -> None:
        loop = asyncio.get_running_loop()
        free_at = loop.time()
        with contextlib.suppress(OSError):
            while piece := await source.read(_PIECE_B if getattr(self, limit) else _BUFFER_B):
                await self._thawed.wait()
                bps = getattr(self, limit)
                if bps:
                    free_at = max(free_at, loop.time()) + len(piece) / bps
                    await asyncio.sleep(free_at - loop.time())
                sink.write(piece)
                await sink.drain()
