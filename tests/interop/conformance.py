"""A peer of the DM API on the official SDK, for the tests that hold the relay to docs/protocol.md."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness import Relay
from interop.sdk import ANSWER_S, Peer, Peers
from scripted import Scripted

Frame = dict[str, Any]
TERMINAL = {"relay.response", "relay.response.end"}
_numbers = itertools.count(1)


@dataclass
class Stage:
    """A node, a relay of its own process, and its upstream."""

    node: str
    relay: Relay
    upstream: Scripted


class Asker:
    """One SDK client that asks one relay; frames are sorted by their id as they come.

    Attributes:
        sizes: bytes of each frame, by id.
        loses: which frames are lost on their way into the hands of the peer's program; None for none.
        lost: those frames.
    """

    def __init__(self, peers: Peers, peer: Peer, address: str) -> None:
        self.peer = peer
        self.address = address
        self.sizes: dict[Any, list[int]] = {}
        self.loses: Callable[[Frame], bool] | None = None
        self.lost: list[Frame] = []
        self._peers = peers
        self._frames: dict[Any, list[Frame]] = {}
        self._looked_at = 0

    # -- asking -----------------------------------------------------------------------

    async def tell(self, _options: dict[str, Any] | None = None, **event: Any) -> None:
        """Send an event; the SDK has the relay's acknowledgement when this returns."""
        assert await self.peer.send(self.address, json.dumps(event), **(_options or {})) is None

    async def call(self, event: str, **fields: Any) -> Frame:
        """Send ping, info or health; the one answer."""
        identifier = fresh()
        await self.tell(event=event, id=identifier, **fields)
        [answer] = await self.heard(identifier)
        return answer

    async def http(self, event: str = "relay.http", **req: Any) -> list[Frame]:
        """Send a request; every frame of its answer, the terminal one last."""
        identifier = fresh()
        await self.tell(event=event, id=identifier, req=req)
        return await self.whole(identifier)

    async def response(self, event: str = "relay.http", **req: Any) -> Frame:
        """Send a request without stream; its answer."""
        [answer] = await self.http(event, **req)
        assert answer["event"] == "relay.response"
        return answer

    async def stream(self, **req: Any) -> Stream:
        """Send a streaming POST of /api/generate, or what `req` says else; its answer."""
        asked = {"path": "/api/generate", "method": "POST", "json": {"model": "m"}, "stream": "chunks"}
        return Stream(await self.http(**asked | req))

    # -- hearing ----------------------------------------------------------------------

    async def heard(self, identifier: Any, count: int = 1) -> list[Frame]:
        """Wait for so many frames of an id; all there are."""
        return await self._until(identifier, lambda frames: len(frames) >= count)

    async def whole(self, identifier: Any) -> list[Frame]:
        """Wait for the terminal frame, every line and chunk up to its last_seq, and `begin`; all frames."""

        def complete(frames: list[Frame]) -> bool:
            end = next((frame for frame in frames if frame["event"] in TERMINAL), None)
            if end is None or len(_numbered(frames)) < end.get("last_seq", 0):
                return False
            is_begun = end["event"] == "relay.response.end" and (end["ok"] or end["last_seq"] > 0)
            return not is_begun or any(frame["event"] == "relay.response.begin" for frame in frames)

        found = await self._until(identifier, complete)
        return sorted(found, key=lambda frame: frame["event"] in TERMINAL)

    async def first(self, identifier: Any, event: str, count: int = 1) -> Frame:
        """Wait for so many frames of one event; the last of them."""

        def there(frames: list[Frame]) -> bool:
            return sum(frame["event"] == event for frame in frames) >= count

        return [one for one in await self._until(identifier, there) if one["event"] == event][count - 1]

    async def lines(self, identifier: Any, count: int) -> dict[int, str]:
        """Wait for so many lines; all there are, by seq."""
        frames = await self._until(identifier, lambda frames: len(_numbered(frames)) >= count)
        return {seq: line for seq, line in _numbered(frames).items() if isinstance(line, str)}

    def so_far(self, identifier: Any) -> list[Frame]:
        """The frames that came until now."""
        self._look()
        return list(self._frames.get(identifier, ()))

    async def lacking(self, count: int) -> None:
        """Wait until so many frames were lost."""

        def enough() -> bool:
            self._look()
            return len(self.lost) >= count

        async with asyncio.timeout(ANSWER_S), self._peers._news:
            await self._peers._news.wait_for(enough)

    async def silence(self) -> None:
        """Until what the relay sent before now is here: an answer that is asked for now comes behind it."""
        for _ in range(2):
            await self.call("relay.ping")

    async def _until(self, identifier: Any, enough: Any) -> list[Frame]:
        async with asyncio.timeout(ANSWER_S), self._peers._news:
            await self._peers._news.wait_for(lambda: enough(self.so_far(identifier)))
        return self.so_far(identifier)

    def _look(self) -> None:
        events, self._looked_at = self._peers.events[self._looked_at :], len(self._peers.events)
        for event in events:
            if event["event"] == "message" and event["name"] == self.peer.name:
                assert event["encrypted"]
                assert event["src"] == self.address
                frame = json.loads(event["text"])
                if self.loses is not None and self.loses(frame):
                    self.lost.append(frame)
                    continue
                self.sizes.setdefault(frame.get("id"), []).append(len(event["text"].encode()))
                self._frames.setdefault(frame.get("id"), []).append(frame)


class Stream:
    """The frames of one streamed answer."""

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.events = [frame["event"].removeprefix("relay.response.") for frame in frames]
        self.begin = next((frame for frame in frames if frame["event"].endswith(".begin")), None)
        self.end = next(frame for frame in frames if frame["event"] in TERMINAL)
        self.numbered = dict(sorted(_numbered(frames).items()))
        self.lines = [piece for piece in self.numbered.values() if isinstance(piece, str)]
        self.chunks = [piece for piece in self.numbered.values() if isinstance(piece, bytes)]
        self.batches = [frame["lines"] for frame in frames if frame["event"] == "relay.response.lines"]

    @property
    def body(self) -> bytes:
        """The upstream's bytes, as docs/protocol.md says how to get them back."""
        joined = b"".join(
            piece.encode() + b"\n" if isinstance(piece, str) else piece for piece in self.numbered.values()
        )
        return joined[: self.end["bytes"]]


def fresh() -> str:
    """An id that no test has used."""
    return f"r-{next(_numbers)}"


def _numbered(frames: list[Frame]) -> dict[int, str | bytes]:
    found: dict[int, str | bytes] = {}
    for frame in frames:
        if frame["event"] == "relay.response.lines":
            found |= {line["seq"]: line["line"] for line in frame["lines"]}
        elif frame["event"] == "relay.response.chunk":
            found[frame["seq"]] = base64.b64decode(frame["b64"], validate=True)
    return found
