"""Answers of upstreams, read on the loop as they come.

A stream whose lines come faster than its share of what all of them may read rests between two reads, so that
lines gather: every read makes a frame. Few streams read as fast as lines come, and none rests for longer than
its window. Owned by `upstream`.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from relay.answer import AnswerReader
from relay.asker import fault_of
from relay.call import Call
from wire import headers as wire_headers
from wire import limits
from wire.errors import Fault


class Events(Protocol):
    """What comes of a request; called on the loop."""

    def head(self, tag: int, status: int, headers: dict[str, str]) -> None:
        """Status and headers came."""

    def data(self, tag: int, data: bytes) -> None:
        """Bytes of the body came."""

    def eof(self, tag: int) -> None:
        """The body is complete."""

    def failed(self, tag: int, fault: Fault) -> None:
        """It ends here."""

    def closed(self, tag: int) -> None:
        """It holds nothing any more; always the last."""


class Rounds:
    """Calls things a while later, together with others whose time is near."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rounds: dict[int, list[Callable[[], None]]] = {}

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call it, which raises nothing, after that time or a little more."""
        number = math.ceil((self._loop.time() + delay_s) / limits.ROUND_S)
        if number not in self._rounds:
            self._rounds[number] = []
            self._loop.call_at(number * limits.ROUND_S, self._run, number)
        self._rounds[number].append(callback)

    def _run(self, number: int) -> None:
        for callback in self._rounds.pop(number):
            callback()


class Reading:
    """One answer.

    Args:
        connection: the request was sent on it; closed at the end of the answer.
        room: where bytes are read into; may be shared.
        share_s: how long lines may gather now.
        ended: called at the end of the answer, whole or not, unless it was stopped.
    """

    def __init__(
        self,
        tag: int,
        call: Call,
        connection: socket.socket,
        events: Events,
        *,
        room: memoryview,
        rounds: Rounds,
        share_s: Callable[[], float],
        ended: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tag, self._call, self._events = tag, call, events
        self._connection: socket.socket | None = connection
        self._answer = AnswerReader(call.request.method)
        self._room, self._rounds, self._share_s, self._ended = room, rounds, share_s, ended
        self._watched = self._rests = self._held = False
        self._since = self._loop.time()
        connection.setblocking(False)

    def hold(self, *, held: bool) -> None:
        """Read no further, or go on."""
        if held is self._held:
            return
        self._held = held
        if held:
            self._watch(wanted=False)
        else:
            self._loop.call_soon(self._look)

    def stop(self) -> None:
        """Close the connection; no event comes any more."""
        if self._connection is not None:
            self._watch(wanted=False)
            self._connection.close()
            self._connection = None

    def begin(self) -> None:
        """Read from now on."""
        self._watch(wanted=not self._held)

    def _watch(self, *, wanted: bool) -> None:
        if self._connection is None or wanted is self._watched:
            return
        self._watched = wanted
        if wanted:
            self._loop.add_reader(self._connection.fileno(), self._look)
        else:
            self._loop.remove_reader(self._connection.fileno())

    def _rested(self) -> None:
        self._rests = False
        self._since = self._loop.time()
        self._look()

    def _look(self) -> None:
        """Read what there is."""
        if self._held or self._rests:
            return
        try:
            while self._connection is not None and self._read(self._connection):
                pass
        except Exception as error:  # noqa: BLE001 - the loop must live, the peer must be told
            self._fail(error)

    def _read(self, connection: socket.socket) -> bool:
        """One read; whether another is due at once."""
        try:
            size = connection.recv_into(self._room)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._watch(wanted=True)
            return False
        if size:
            self._take(bytes(self._room[:size]))
        else:
            self._answer.end()
        if self._connection is None:
            return False
        if self._answer.done:
            self._events.eof(self._tag)
            self._end()
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return not self._held  # of that the selector knows nothing
        self._pace(flows=size == len(self._room))
        return False

    def _take(self, raw: bytes) -> None:
        answer, headless = self._answer, not self._answer.status
        data = answer.feed(raw)
        if headless and answer.status:
            self._events.head(self._tag, answer.status, wire_headers.to_peer(answer.headers))
            data = answer.feed(b"")
        if data and self._connection is not None:
            self._events.data(self._tag, data)

    def _pace(self, *, flows: bool) -> None:
        """Rest if lines come faster than this stream's share."""
        now = self._loop.time()
        waited_s, self._since = now - self._since, now
        share_s = self._share_s() if self._call.request.stream.wanted and not flows else 0.0
        if waited_s < share_s:
            self._rests = True
            self._watch(wanted=False)
            self._rounds.call_later(share_s, self._rested)
        else:
            self._watch(wanted=not self._held)

    def _fail(self, error: Exception) -> None:
        try:
            if self._connection is not None:
                self._events.failed(self._tag, fault_of(error, self._call))
        finally:
            self._end()

    def _end(self) -> None:
        if self._connection is not None:
            self.stop()
            self._ended(self._tag)
