"""Streams as their reader sees them: asked over HTTP or NKN, each line with its two moments.

The direct client is a bare socket, the strictest thing to be compared with. Knows nothing of tables and
processes; used by `relay_vs_sdk` and `profile_relay`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from relay.nkn import MultiClient
from relay.peer import Peer, PeerError

_QUIET_S = 0.25
"""Nothing came for so long: a run is over, whatever follows belongs to nobody."""
_QUIET_MAX_S = 5.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the upstream.

    Attributes:
        streams: at the same time, spread evenly over one line's time.
        rate: lines a second of each, 0 for no pause.
        lines: of each stream.
        repeats: how often, one after the other.
    """

    streams: int
    rate: int
    lines: int
    repeats: int = 1

    @property
    def total(self) -> int:
        """Lines of all streams."""
        return self.streams * self.lines * self.repeats


WARM = Load(8, 60, 60)
"""Before anything is measured: imports, keys, what the peers know of each other, and what a JIT compiles."""


@dataclass(slots=True)
class Stream:
    """One stream; moments in seconds of the monotonic clock.

    Attributes:
        asked: when its request was sent.
        came: (moment, line) of each line.
        whole: whether it ended as it should.
    """

    asked: float = field(default_factory=time.monotonic)
    came: list[tuple[float, str]] = field(default_factory=list)
    whole: bool = False

    @property
    def first_ms(self) -> float:
        """From the request to the first line."""
        return (self.came[0][0] - self.asked) * 1000

    def late_ms(self) -> list[float]:
        """From the upstream's write to the arrival here, of each line but the first."""
        return [(moment - float(json.loads(line)["at"])) * 1000 for moment, line in self.came[1:]]


Ask = Callable[[dict[str, int]], Awaitable[Stream]]
"""Asks for one stream with {rate, lines}."""


def direct(url: str, patience_s: float | None = None) -> Ask:
    """Ask by a bare socket; a stream that breaks off, or takes longer than that, is not whole."""
    host, port = urlsplit(url).hostname, urlsplit(url).port

    async def read(stream: Stream, body: dict[str, int]) -> None:
        raw = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection(host, port)
        head = f"POST /api/generate HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(raw)}\r\n\r\n"
        try:
            writer.write(head.encode() + raw)
            await reader.readuntil(b"\r\n\r\n")
            while size := int(await reader.readline() or b"0", 16):
                line = await reader.readexactly(size + 2)
                stream.came.append((time.monotonic(), line.decode()))
        finally:
            writer.close()

    async def ask(body: dict[str, int]) -> Stream:
        stream = Stream()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # time-outs are OSErrors
            async with asyncio.timeout(patience_s):
                await read(stream, body)
        stream.whole = len(stream.came) == body["lines"]
        return stream

    return ask


def over_nkn(peer: Peer) -> Ask:
    """Ask a relay."""

    async def ask(body: dict[str, int]) -> Stream:
        stream = Stream()
        answer = peer.request({"path": "/api/generate", "method": "POST", "json": {"model": "m", **body}})
        with contextlib.suppress(PeerError):  # it fell silent: not whole
            async for piece in answer:
                stream.came.append((time.monotonic(), piece.line or ""))
            stream.whole = bool((answer.reader.end or {}).get("ok")) and len(stream.came) == body["lines"]
        return stream

    return ask


async def run(ask: Ask, load: Load) -> list[Stream]:
    """All streams of a load."""
    body = {"rate": load.rate, "lines": load.lines}
    gap = 1 / load.rate / load.streams if load.rate else 0.0

    async def one(index: int) -> Stream:
        # Real streams are not in step; lines that all come at the same moment would be cheap to serve.
        await asyncio.sleep(index * gap)
        return await ask(body)

    found: list[Stream] = []
    for _ in range(load.repeats):
        found += await asyncio.gather(*(one(index) for index in range(load.streams)))
    return found


@dataclass(frozen=True, slots=True)
class Traffic:
    """What passed between a relay and its peer.

    Attributes:
        messages: of the relay, each counted once.
        copies: of the relay, each copy and each acknowledgement of the peer's own messages counted.
        acks: acknowledgements of the peer, one for each copy.
    """

    messages: int
    copies: int
    acks: int

    def since(self, earlier: Traffic) -> Traffic:
        """What passed between two looks."""
        return Traffic(
            self.messages - earlier.messages, self.copies - earlier.copies, self.acks - earlier.acks
        )


class Listener:
    """A peer of one relay, with an NKN client of its own: a relay learns whether its peer acknowledges.

    Args:
        client: a connected client.
        address: the relay's.
        acknowledges: whether it acknowledges what comes.
    """

    def __init__(self, client: MultiClient, address: str, *, acknowledges: bool) -> None:
        self._client = client
        self.peer = Peer(address, client)
        if not acknowledges:
            # One handler that returns False is enough to leave a message unacknowledged.
            client.on_message(lambda _message: False)

    @property
    def traffic(self) -> Traffic:
        """What passed so far."""
        told = self._client.statistics()
        copies = sum(part.get("received", 0) for part in told["parts"].values())
        return Traffic(told.get("messages", 0), copies, told.get("acks_sent", 0))

    async def quiet(self) -> None:
        """Wait until nothing comes any more: the last acknowledgements and what is sent again."""
        until, before = time.monotonic() + _QUIET_MAX_S, None
        while self.traffic != before and time.monotonic() < until:
            before = self.traffic
            await asyncio.sleep(_QUIET_S)
