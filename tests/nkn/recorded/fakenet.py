"""A recorded network for our client: ports that play recorded nodes, and JSON-RPC as it is told.

Bytes go out as they are given; nothing here knows what a good node does. Used by `role`.
"""

import asyncio
import contextlib
import json
import re
import socket
from collections import deque
from dataclasses import replace

from nkn.recorded import clock, labels, recording
from nkn.recorded.rawsocket import Wire, accept_key

PATIENCE_S = 200.0
"""How long a client may take to come: its longest pause between attempts is 64 s."""


class Port:
    """A listening socket of this machine; whoever comes waits in a queue."""

    def __init__(self):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.addr = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._queue = deque()
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    async def next(self, patience_s=PATIENCE_S):
        """The next connection; TimeoutError if none comes."""
        async with asyncio.timeout(patience_s):
            while not self._queue:
                self._came.clear()
                await self._came.wait()
        return self._queue.popleft()

    async def close(self):
        """Listen no more; end those that were never taken."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._listening.close()
        for sock in self._queue:
            sock.close()

    async def _listen(self):
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listening)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._queue.append(sock)
            self._came.set()


class Client:
    """One connection of our client to a recorded node, upgraded; what it sends is noted.

    Attributes:
        frames: all messages and the end that came, but for pings and pongs; fragments are put together.
        pongs, answered: times of pongs nobody asked for, and of those that answered a ping.
        alive: whether pings are answered.
        largest_b: bytes of the largest frame or fragment.
    """

    def __init__(self, wire):
        self.wire = wire
        self.frames = []
        self.pongs = []
        self.answered = []
        self.alive = True
        self.largest_b = 0
        self._first, self._pieces = None, []
        self._pinged = 0
        self._heard = asyncio.Event()
        self._task = asyncio.create_task(self._attend())

    @classmethod
    async def upgraded(cls, sock):
        """Answer the upgrade as a recorded node does."""
        wire = Wire(sock, client=False)
        head = await wire.next(clock.now() + PATIENCE_S)
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", head.data)[1].decode()
        await wire.raw(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode()
        )
        return cls(wire)

    @property
    def gone(self):
        """Whether our client left."""
        return any(got.op in {"close", "tcp_fin", "tcp_rst"} for got in self.frames)

    async def until(self, condition, patience_s=PATIENCE_S):
        """Wait until a frame that fits came, and return it; TimeoutError if none does."""
        async with asyncio.timeout(patience_s):
            while not (fit := [got for got in self.frames if condition(got)]):
                self._heard.clear()
                await self._heard.wait()
        return fit[0]

    async def ping(self):
        """Ping as a node does."""
        self._pinged += 1
        await self.wire.send("ping")

    async def close(self):
        """Let go of the connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.wire.close()

    async def _attend(self):
        while True:
            got = await self.wire.next(clock.now() + 10 * PATIENCE_S)
            if got is None:
                continue
            if got.op == "ping":
                if self.alive:
                    await self.wire.send("pong", got.data)
            elif got.op == "pong":
                (self.answered if self._pinged else self.pongs).append(got.at)
                self._pinged -= bool(self._pinged)
            else:
                self._note(got)
            if got.op == "close":
                await self.wire.send("close", got.data[:2])
                with contextlib.suppress(OSError):
                    self.wire.finish()
            if got.op.startswith("tcp_"):
                return

    def _note(self, got):
        """Put fragments together; note what is whole."""
        self.largest_b = max(self.largest_b, len(got.data))
        if got.op in {"text", "binary", "continuation"}:
            first, self._pieces = (got, []) if got.op != "continuation" else (self._first, self._pieces)
            self._first = first
            self._pieces.append(got.data)
            if not got.fin:
                return
            got = replace(got, op=first.op, data=b"".join(self._pieces))
        self.frames.append(got)
        self._heard.set()


class Seed:
    """A JSON-RPC server.

    Attributes:
        answer: takes the question, a dict, and returns the bytes that go back; may be a coroutine function.
        questions: what was asked.
    """

    def __init__(self, answer):
        self.answer = answer
        self._port = Port()
        self.url = f"http://{self._port.addr}"
        self.questions = []
        self._exchanges = set()
        self._task = asyncio.create_task(self._serve())

    async def close(self):
        """Answer no more."""
        tasks = [self._task, *self._exchanges]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._port.close()

    async def _serve(self):
        while True:
            sock = await self._port.next(1e6)
            self._exchanges.add(asyncio.create_task(self._exchange(sock)))

    async def _exchange(self, sock):
        loop, asked = asyncio.get_running_loop(), b""
        sock.setblocking(False)
        with contextlib.closing(sock), contextlib.suppress(OSError):
            while not _whole(asked):
                if not (piece := await loop.sock_recv(sock, 65536)):
                    return
                asked += piece
            question = json.loads(asked.partition(b"\r\n\r\n")[2])
            self.questions.append(question)
            answer = self.answer(question)
            if asyncio.iscoroutine(answer):
                answer = await answer
            await loop.sock_sendall(sock, answer)


def _whole(asked):
    head, mark, body = asked.partition(b"\r\n\r\n")
    size = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(mark) and size is not None and len(body) >= int(size[1])


class Network:
    """The recorded nodes of a case, each with a port, and what their addresses are here.

    Attributes:
        owner: the recorded node that JSON-RPC names.
    """

    def __init__(self, names):
        self.ports = {name: Port() for name in names}
        self.owner = next(iter(names))

    async def close(self):
        """Close every port."""
        for port in self.ports.values():
            await port.close()

    def here(self, text):
        """A text of the recording with the nodes' addresses as they are here."""
        for name, port in self.ports.items():
            text = text.replace(recording.NODES[name]["addr"], port.addr)
        return text

    def rpc(self, _question):
        """The answer of a recorded node: the owner's place."""
        node = recording.NODES[self.owner]
        told = {name: node[name] for name in ("addr", "id", "pubkey", "rpcAddr", "sdp")}
        return http(self.here(recording.compact({"id": "relay", "jsonrpc": "2.0", "result": told})))


def http(body):
    """An answer of a node's JSON-RPC."""
    head = recording.FILE["rpc"]["standard_response_head"].strip("\r\n")
    return (head.replace("<n>", str(len(body.encode()))) + "\r\n\r\n" + body).encode()


def welcome(network, name, block_hash=""):
    """The answer to setClient of a recorded node."""
    rest = {"node": name} | ({"block_hash": block_hash} if block_hash else {})
    return network.here(recording.compact(labels.accepted(rest))).encode()
