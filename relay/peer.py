"""The other end: ask a relay, ping it, see what it offers; what `relay ask|ping|info` are made of.

An asyncio shell over `relay.nkn` and `reader`; knows nothing of the relay's own engine. Called by `cli`
and usable by other programs.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from relay.nkn import Message, MultiClient, NknTimeoutError
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
    """Asks one relay.

    Args:
        address: the relay's NKN address.
        client: a started client.
    """

    def __init__(self, address: str, client: MultiClient) -> None:
        self.address = address
        self.timing = Timing(None, None, 0.0)
        self.reader: Reader | None = None
        self._client = client
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue(limits.READER_AHEAD_MAX)
        client.on_message(self._take)

    async def call(self, event: str, timeout: float = 10.0, **fields: Any) -> dict[str, Any]:
        """Send `ping`, `info` or `health` and return the answer's fields.

        Raises:
            PeerError: if none came within `timeout` seconds.
        """
        identifier = os.urandom(8).hex()
        question = jsontext.dumps({"event": event, "id": identifier, **fields})
        started = time.monotonic()
        self._client.send_nowait(self.address, question, no_reply=True)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    frame = await self._inbox.get()
                    if frame.get("id") == identifier:
                        return {**frame, "rtt_ms": (time.monotonic() - started) * 1000}
        except TimeoutError as error:
            raise PeerError(_silence(self.address, timeout)) from error

    async def request(self, req: dict[str, Any]) -> AsyncIterator[Piece]:
        """Send a streaming request and give its pieces in order; `reader` and `timing` tell the rest.

        Leaving the loop early cancels the request at the relay.

        Raises:
            PeerError: if nothing came for ASK_SILENCE_S seconds.
        """
        identifier = os.urandom(8).hex()
        reader = self.reader = Reader(identifier)
        started, first, acknowledged = time.monotonic(), None, None

        def on_ack(_reply: object) -> None:
            nonlocal acknowledged
            acknowledged = time.monotonic() - started

        event = {"event": "relay.http", "id": identifier, "req": {"stream": "chunks", **req}}
        self._client.send_nowait(self.address, jsontext.dumps(event), on_ack=on_ack)
        try:
            while not reader.complete:
                for piece in reader.feed(await self._next(reader)):
                    first = first or time.monotonic() - started
                    yield piece
        finally:
            self.timing = Timing(acknowledged, first, time.monotonic() - started)
            if reader.end is None:
                cancel = jsontext.dumps({"event": "relay.cancel", "id": identifier})
                self._client.send_nowait(self.address, cancel, no_reply=True)

    async def _next(self, reader: Reader) -> dict[str, Any]:
        try:
            async with asyncio.timeout(limits.ASK_SILENCE_S):
                return await self._inbox.get()
        except TimeoutError as error:
            if reader.progress.frames:
                lost = f"; missing {reader.missing()[:10]}" if reader.missing() else ""
                raise PeerError(f"the stream fell silent for {limits.ASK_SILENCE_S:.0f} s{lost}") from error
            raise PeerError(_silence(self.address, limits.ASK_SILENCE_S)) from error

    def _take(self, message: Message) -> None:
        if message.src != self.address:
            return
        try:
            frame = json.loads(message.payload)
        except (ValueError, RecursionError):
            return
        if isinstance(frame, dict) and not self._inbox.full():
            self._inbox.put_nowait(frame)


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


__all__ = ["NknTimeoutError", "Peer", "PeerError", "Timing", "connect", "text_of"]
