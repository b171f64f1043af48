"""One websocket with one node: the asyncio shell around `session`.

Dials, registers, keeps alive, hands binary frames up and sends them down. Any byte of the node counts
as life, so the bytes are watched below the websocket library. Owned by one `link`; knows nothing of
messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import websockets
from websockets.asyncio.client import connect
from websockets.protocol import State

from relay.nkn.connection import Connection
from relay.nkn.identity import Identity
from relay.nkn.session import Dead, Moved, NodeInfo, NodeSession, Ping, Pong, Ready, Refused, Say, Step
from wire import limits

_TICK_MIN_S = 0.01
_CLOSE_S = 0.5
"""The closing handshake; real nodes use none."""


class NodeError(Exception):
    """A node could not be reached, refused us, or went away; the message says which."""


class MovedError(NodeError):
    """The node says that another one is responsible."""

    def __init__(self, node: NodeInfo | None) -> None:
        super().__init__("the node says that another one is responsible")
        self.node = node


class NodeSocket:
    """A registered websocket.

    Args:
        uri: `ws://host:port` or `wss://host:port`.
        session: the protocol's state.
        on_frame: takes each binary frame.
        ssl: an SSLContext for wss, or None for the default one.

    Attributes:
        registered: done once the node accepted us; raises NodeError if it did not.
        ready: messages can be signed and sent now.
        closed: set once the socket is of no use any more.
        moved: resolves with the other node once this one says that it is not responsible.
        reason: why it closed.
        cause: the same in one word: closed (by the node), silent, refused, moved, error, or renewed (by us).
    """

    def __init__(
        self, uri: str, session: NodeSession, on_frame: Callable[[bytes], None], ssl: Any = None
    ) -> None:
        self.uri = uri
        self.session = session
        loop = asyncio.get_running_loop()
        self.registered: asyncio.Future[None] = loop.create_future()
        self.moved: asyncio.Future[NodeInfo | None] = loop.create_future()
        self.ready = False
        self.closed = asyncio.Event()
        self.reason = self.cause = "closed"
        self._changed = asyncio.Event()
        self._on_frame = on_frame
        self._ssl = ssl
        self._ws: Connection | None = None
        self._task = asyncio.create_task(self._run())

    @classmethod
    def to(
        cls,
        node: NodeInfo,
        identity: Identity,
        address: str,
        on_frame: Callable[[bytes], None],
        *,
        tls: bool = False,
        ssl: Any = None,
    ) -> NodeSocket:
        """Begin to register `address` at `node`."""
        session = NodeSession(identity, address, node.pubkey, os.urandom, time.monotonic())
        scheme = "wss" if tls else "ws"
        return cls(f"{scheme}://{node.addr}", session, on_frame, ssl if tls else None)

    def takes(self, size: int) -> bool:
        """Whether a frame of so many bytes leaves at once with `send_now`."""
        ws = self._ws
        if ws is None or self.closed.is_set() or size > limits.FRAGMENT_OVER_B:
            return False
        if ws.soon_b + size > limits.FRAGMENT_OVER_B:
            ws.send_data()
        is_open = ws.state is State.OPEN and not ws.transport.is_closing()
        return is_open and not ws.transport.get_write_buffer_size()

    def send_now(self, frame: bytes) -> None:
        """Write a frame in this turn of the loop, if the socket `takes` it; nothing may be half sent."""
        assert self._ws is not None  # noqa: S101 - it takes it
        self._ws.write_soon(frame)

    async def send(self, frame: bytes) -> None:
        """Send one binary frame, in fragments if it is large.

        Raises:
            NodeError: if the socket is gone.
        """
        if self._ws is None or self.closed.is_set():
            raise NodeError(self.reason)
        try:
            if len(frame) <= limits.FRAGMENT_OVER_B:
                await self._ws.send(frame)
            else:
                await self._ws.send(self._fragments(frame))
        except websockets.ConnectionClosed as error:
            raise NodeError(f"connection lost: {error}") from error

    def close(self, reason: str = "closed by us") -> None:
        """Give the socket up; `closed` is set when it is gone."""
        if not self.closed.is_set():
            self.reason, self.cause = reason, "renewed"
            self._task.cancel()

    async def _fragments(self, frame: bytes) -> AsyncIterator[bytes]:
        """Pieces with a pong behind each: a node judges a frame late, and us silent, after 10 s."""
        for start in range(0, len(frame), limits.FRAGMENT_B):
            yield frame[start : start + limits.FRAGMENT_B]
            if self._ws is not None:
                await self._ws.pong()

    async def _run(self) -> None:
        try:
            await self._talk()
        except (OSError, websockets.WebSocketException, TimeoutError, ValueError) as error:
            self.reason, self.cause = f"{self.uri}: {type(error).__name__} {error}".strip(), "error"
        finally:
            self._finish()

    async def _talk(self) -> None:
        kwargs: dict[str, Any] = {"ssl": self._ssl} if self._ssl is not None else {}
        async with connect(
            self.uri,
            create_connection=Connection,
            compression=None,
            max_size=limits.NODE_FRAME_MAX_B + 65_536,
            ping_interval=None,
            open_timeout=limits.DIAL_TIMEOUT_S,
            close_timeout=_CLOSE_S,
            proxy=None if _is_local(self.uri) else True,
            **kwargs,
        ) as ws:
            assert isinstance(ws, Connection)  # noqa: S101 - create_connection above made it
            ws.on_bytes = lambda: self.session.heard(time.monotonic())
            ws.on_frame = self._take
            self._ws = ws
            self.session.opened(time.monotonic())
            clock = asyncio.create_task(self._keep_time(ws))
            try:
                await self._listen(ws)
            finally:
                clock.cancel()
                await asyncio.gather(clock, return_exceptions=True)
                # close_timeout does not cover the wait for room in a full write buffer.
                try:
                    async with asyncio.timeout(_CLOSE_S):
                        await ws.close()
                except TimeoutError:
                    ws.transport.abort()

    async def _listen(self, ws: Connection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in ws:
                if isinstance(message, bytes):
                    self._take(message)
                else:
                    await self._act(ws, self.session.feed(message, time.monotonic()))
                    self._changed.set()
        if self.reason == "closed":
            self.reason = f"the node closed the connection ({ws.close_code})"

    def _take(self, frame: bytes) -> None:
        try:
            self._on_frame(frame)
        except Exception as error:  # noqa: BLE001 - one message must not cost the connection
            context = {"message": "an NKN message could not be taken", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    async def _keep_time(self, ws: Connection) -> None:
        while True:
            self._changed.clear()
            pause = max(_TICK_MIN_S, self.session.due_at() - time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            # Nobody may wait for room in a full write buffer here: a node that reads nothing is to be left.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.PONG_S):
                    await self._act(ws, self.session.advance(time.monotonic()))

    async def _act(self, ws: Connection, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case Say(text):
                    await ws.send(text)
                case Ping():
                    await ws.ping()
                case Pong():
                    await ws.pong()
                case Ready():
                    self.ready = True
                    if not self.registered.done():
                        self.registered.set_result(None)
                case Moved(node):
                    self._move(ws, node)
                case Refused(code, reason):
                    self._give_up(ws, f"{self.uri} refused us: {code} {reason}", "refused")
                case Dead(reason):
                    self._give_up(ws, reason, "silent")

    def _move(self, ws: Connection, node: NodeInfo | None) -> None:
        if not self.moved.done():
            self.moved.set_result(node)
        if not self.registered.done():
            self.registered.set_exception(MovedError(node))
            self._give_up(ws, "wrong node", "moved")

    def _give_up(self, ws: Connection, reason: str, cause: str) -> None:
        self.reason, self.cause = reason, cause
        # A closing handshake with a node that is silent would only wait.
        ws.transport.abort()

    def _finish(self) -> None:
        self.ready = False
        self.closed.set()
        if not self.registered.done():
            self.registered.set_exception(NodeError(self.reason))
        # Nobody may be waiting for them; a future's unread exception would be logged.
        for future in (self.registered, self.moved):
            if future.done() and not future.cancelled():
                future.exception()
            else:
                future.cancel()


def _is_local(uri: str) -> bool:
    return uri.partition("://")[2].rpartition(":")[0] in {"127.0.0.1", "[::1]", "localhost"}
