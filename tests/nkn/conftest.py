"""Fakes for the shells of the NKN client, all on loopback.

fake_node  a websocket server that says what a test tells it to, and notes every frame it gets
fake_seed  a JSON-RPC server with prepared answers
tidy       after the test: no task left, no error that nobody looked at, no frame a strict node dropped
until      waits for a condition, five seconds at most
"""

import asyncio
import gc
import json
import logging
from collections.abc import Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

_PATIENCE_S = 5.0


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.003)


@pytest.fixture
def until():
    return _until


@pytest.fixture
async def tidy(caplog):
    """Contexts that reached the loop's exception handler; a test that expects some clears the list."""
    contexts = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    before = asyncio.all_tasks()
    yield contexts
    gc.collect(1)  # an exception nobody retrieved is told when its task goes
    await asyncio.sleep(0)
    assert contexts == []
    assert asyncio.all_tasks() - before - {asyncio.current_task()} == set()
    dropped = [
        line.message
        for line in caplog.records
        if line.name == "relay.nkn.devnode" and line.levelno >= logging.WARNING
    ]
    assert dropped == []


class Recorder(ServerConnection):
    """A connection that notes (opcode, length, fin) of every frame."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.frames = []

    def process_event(self, event):
        if hasattr(event, "opcode"):
            self.frames.append((event.opcode.name, len(event.data), event.fin))
        super().process_event(event)


class FakeNode:
    """A node that accepts everybody, unless told otherwise.

    Attributes:
        greets: whether it sends a challenge.
        on_open, on_set_client: coroutine functions (connection, frame) that replace what it does.
        texts, binaries: what it got.
    """

    HASH = b"\xaa" * 32
    KEY = b"n" * 32

    def __init__(self):
        self.greets = True
        self.on_open = None
        self.on_set_client = None
        self.connections = []
        self.texts = []
        self.binaries = []

    async def __aenter__(self):
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            compression=None,
            ping_interval=None,
            max_size=2**23,
            close_timeout=0.2,
            create_connection=Recorder,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.cut()
        self._server.close()
        await self._server.wait_closed()

    @property
    def addr(self):
        return f"127.0.0.1:{self.port}"

    @property
    def description(self):
        return {"addr": self.addr, "pubkey": self.KEY.hex(), "rpcAddr": "", "id": "00", "sdp": ""}

    @staticmethod
    def frame(action, result=None, error=0, **more):
        return json.dumps(
            {"Action": action, "Desc": "SAID", "Error": error, "Result": result, "Version": 1, **more}
        )

    @property
    def challenge(self):
        return self.frame("authChallenge", "", Challenge="cc" * 32)

    @property
    def accepted(self):
        return self.frame("setClient", {"node": self.description, "sigChainBlockHash": self.HASH.hex()})

    def wrong_node(self, other, action=""):
        return self.frame(action, other, 48001)

    async def say(self, what):
        """Send to all that are connected."""
        for connection in list(self.connections):
            await connection.send(what)

    def cut(self):
        for connection in self.connections:
            connection.transport.abort()

    async def _serve(self, connection):
        self.connections.append(connection)
        try:
            if self.on_open is not None:
                await self.on_open(connection, None)
            if self.greets:
                await connection.send(self.challenge)
            async for message in connection:
                await self._take(connection, message)
        except ConnectionClosed:
            pass
        finally:
            self.connections.remove(connection)

    async def _take(self, connection, message):
        if isinstance(message, bytes):
            self.binaries.append(message)
            return
        frame = json.loads(message)
        self.texts.append(frame)
        if frame.get("Action") == "setClient":
            if self.on_set_client is None:
                await connection.send(self.accepted)
            else:
                await self.on_set_client(connection, frame)


@pytest.fixture
def fake_node():
    return FakeNode


class FakeSeed:
    """A JSON-RPC server; each request takes the next of `answers`, the last one is repeated.

    An answer is a dict or text (HTTP 200), a (status, bytes) pair, or None: the connection is closed.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.questions = []
        self.headers = []

    async def __aenter__(self):
        self._tasks = set()
        self._server = await asyncio.start_server(self._guarded, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _guarded(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        try:
            await self._serve(reader, writer)
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        self.headers.append(head)
        self.questions.append(json.loads(await reader.readexactly(length)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            writer.write(self._http(answer))

    @staticmethod
    def _http(answer):
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        raw = (
            body
            if isinstance(body, bytes)
            else (body if isinstance(body, str) else json.dumps(body)).encode()
        )
        return (
            f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw
        )


@pytest.fixture
def fake_seed():
    return FakeSeed


@pytest.fixture
async def node(fake_node):
    """A fake node that listens."""
    async with fake_node() as one:
        yield one
