"""The other end: ask a relay, ping it, see what it offers; what `relay ask|ping|info` are made of.

An asyncio shell over `relay.nkn` and `reader`; knows nothing of the relay's own engine. Called by `cli`
and usable by other programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from relay.gaps import Gaps
from relay.nkn import Message, MultiClient
from relay.nkn.waiting import Acknowledged
from relay.parcel import Parcel
from relay.reader import Piece, Reader
from wire import jsontext, limits


class PeerError(Exception):
    """The relay did not answer, or answered with an error; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What one request took, in seconds.

    Attributes:
        acknowledged_s: until the relay's node-to-node acknowledgement: one round trip.
        first_s: until the first line.
        total_s: until the end frame.
    """

    acknowledged_s: float | None
    first_s: float | None
    total_s: float


class Peer:
    """Asks one relay; any number of requests at once.

    Args:
        address: the relay's NKN address.
        client: a started client.
    """

    def __init__(self, address: str, client: MultiClient) -> None:
        self.address = address
        self._client = client
        self._inboxes: dict[object, asyncio.Queue[dict[str, Any]]] = {}
        client.on_message(self._take)

    async def call(self, event: str, timeout: float = 10.0, **fields: Any) -> dict[str, Any]:
        """Send `relay.ping`, `relay.info` or `relay.health`; the answer's fields and `rtt_ms`.

        Raises:
            PeerError: if none came within `timeout` seconds.
        """
        identifier = os.urandom(8).hex()
        inbox = self._inboxes[identifier] = asyncio.Queue(1)
        question = jsontext.dumps({"event": event, "id": identifier, **fields})
        started = time.monotonic()
        try:
            self._client.send_nowait(self.address, question, no_reply=True)
            async with asyncio.timeout(timeout):
                return {**await inbox.get(), "rtt_ms": (time.monotonic() - started) * 1000}
        except TimeoutError as error:
            raise PeerError(_silence(self.address, timeout)) from error
        finally:
            del self._inboxes[identifier]

    def request(self, req: dict[str, Any]) -> Answer:
        """Send a streaming request; iterate over the answer for its pieces in order."""
        identifier = os.urandom(8).hex()
        inbox = self._inboxes[identifier] = asyncio.Queue(limits.READER_AHEAD_MAX)
        return Answer(self, identifier, req, inbox)

    def tell(self, event: dict[str, Any], on_ack: Acknowledged | None = None) -> None:
        """Send one event, again until the relay has it; `on_ack` is called then."""
        self._client.send_nowait(self.address, jsontext.dumps(event), on_ack=on_ack, resend=True)

    async def post(self, events: Iterable[dict[str, Any]]) -> None:
        """Send many events, no faster than the nodes' sockets take them."""
        for event in events:
            while self._client.queued_b > limits.UNSENT_LOW_B:  # noqa: ASYNC110 - links signal no one
                await asyncio.sleep(limits.GAP_LOOK_S / 4)
            self.tell(event)

    def forget(self, identifier: str) -> None:
        """Frames of this request are passed over from now on."""
        self._inboxes.pop(identifier, None)

    def _take(self, message: Message) -> None:
        if message.src != self.address:
            return
        try:
            frame = json.loads(message.payload)
        except (ValueError, RecursionError):
            return
        identifier = frame.get("id") if isinstance(frame, dict) else None
        inbox = self._inboxes.get(identifier) if isinstance(identifier, str) else None
        if inbox is not None and not inbox.full():
            inbox.put_nowait(frame)


class Answer:
    """The answer to one streaming request; leaving it early cancels the request at the relay.

    Attributes:
        reader: what was seen of it.
        timing: what it took, once it is over.
    """

    def __init__(
        self, peer: Peer, identifier: str, req: dict[str, Any], inbox: asyncio.Queue[dict[str, Any]]
    ) -> None:
        self.reader = Reader(identifier)
        self.timing = Timing(None, None, 0.0)
        self._peer = peer
        self._identifier = identifier
        self._inbox = inbox
        asked = {"stream": "chunks", **req}
        self._event = {"event": "relay.http", "id": identifier, "req": asked}
        self._parcel = Parcel.of(identifier, asked)
        self._posting: asyncio.Task[None] | None = None
        self._gaps = Gaps()
        self._heard_at = self._look_at = 0.0
        self._resumed = False

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Pieces in order; PeerError if nothing came for ASK_SILENCE_S seconds."""
        started, first, acknowledged = time.monotonic(), None, None

        def on_ack(_reply: object) -> None:
            nonlocal acknowledged
            acknowledged = time.monotonic() - started

        try:
            self._heard_at = started
            self._ask(on_ack)
            while not self.reader.complete:
                for piece in self.reader.feed(await self._next()):
                    first = first or time.monotonic() - started
                    yield piece
        finally:
            self.timing = Timing(acknowledged, first, time.monotonic() - started)
            self._peer.forget(self._identifier)
            if self._posting is not None:
                self._posting.cancel()
            if self.reader.end is None:
                self._peer.tell({"event": "relay.cancel", "id": self._identifier})

    def _ask(self, on_ack: Acknowledged | None = None) -> None:
        if self._parcel is None:
            self._peer.tell(self._event, on_ack)
        else:
            self._post(self._parcel.all())

    def _post(self, events: Iterable[dict[str, Any]]) -> None:
        """Send pieces of a large request; what was being sent is asked for if it is missing."""
        if self._posting is not None:
            self._posting.cancel()
        self._posting = asyncio.create_task(self._peer.post(events))

    async def _next(self) -> dict[str, Any]:
        """The next frame; what is missing meanwhile is asked for again.

        Raises:
            PeerError: nothing came for too long, or what is missing is not kept any more.
        """
        frame = None
        while frame is None:
            if self._inbox.empty():  # else the relay is not silent: whoever iterates took his time
                now = time.monotonic()
                self._look_for_gaps(now)
                self._break_silence(now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._due_at()):
                    frame = await self._inbox.get()
        self._heard_at, self._resumed = time.monotonic(), False
        if self._parcel is not None and str(frame.get("event")).lower() == "http.upload.missing":
            missing = frame.get("missing")
            self._post(self._parcel.again(missing if isinstance(missing, list) else []))
        return frame

    def _due_at(self) -> float:
        """When something is to be done although nothing came; the loop's clock is time.monotonic."""
        silent_at = self._heard_at + limits.ASK_SILENCE_S / (1 if self._resumed else 2)
        return min(silent_at, self._look_at) if self.reader.lacks else silent_at

    def _look_for_gaps(self, now: float) -> None:
        reader = self.reader
        if now < self._look_at or not reader.lacks:
            return
        self._look_at = now + limits.GAP_LOOK_S
        if asked := self._gaps.look(reader.missing(), reader.gone, now):
            self._peer.tell({"event": "relay.response.missing", "id": self._identifier, "missing": asked})
        if lost := self._gaps.lost(now):
            if -1 in lost:
                raise PeerError("the relay does not know this request any more; was it restarted?")
            raise PeerError(f"lines {lost[:10]} were lost, and the relay does not keep them any more")

    def _break_silence(self, now: float) -> None:
        """When nothing came for a while, ask for all that follows; or again, as no id is executed twice."""
        begun = self.reader.progress.frames > 0
        if self._posting is not None and not self._posting.done():
            self._heard_at = now  # a large request takes its time
        if now >= self._heard_at + limits.ASK_SILENCE_S:
            if begun:
                raise PeerError(f"the stream fell silent for {limits.ASK_SILENCE_S:.0f} s")
            raise PeerError(_silence(self._peer.address, limits.ASK_SILENCE_S))
        if not self._resumed and now >= self._heard_at + limits.ASK_SILENCE_S / 2:
            self._resumed = True
            if begun:
                self._peer.tell({"event": "relay.resume", "id": self._identifier, "have": self.reader.have})
            else:
                self._ask()


async def connect(seed: bytes | None, rpc: Sequence[str], timeout: float = 30.0) -> MultiClient:
    """A started and connected client for a peer.

    Raises:
        PeerError: if no node was reached within `timeout` seconds.
    """
    client = MultiClient(seed=seed, num_sub_clients=2, rpc_server_addr=rpc)
    reasons: list[str] = []
    client.on_connect_failed(reasons.append)
    client.start()
    try:
        await client.wait_connected(timeout)
    except TimeoutError as error:
        await client.close()
        why = reasons[-1] if reasons else "nothing answered"
        raise PeerError(f"no NKN node was reached in {timeout:.0f} s ({why}); is the network up?") from error
    return client


def text_of(piece: Piece) -> str:
    """The words in a line of /api/generate or /api/chat."""
    try:
        value = jsontext.loads(piece.line or "")
    except jsontext.JsonError:
        return ""
    if not isinstance(value, dict):
        return ""
    message = value.get("message")
    text = message.get("content") if isinstance(message, dict) else value.get("response")
    return text if isinstance(text, str) else ""


def _silence(address: str, seconds: float) -> str:
    return (
        f"no answer from {address} within {seconds:.0f} s. Is the relay running there (`→ NKN ready`), "
        "is the address complete, and does it allow your key (RELAY_ALLOW_PEERS)?"
    )
