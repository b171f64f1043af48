"""Answers of upstreams, read on the loop as they come.

Reading rests where a line would only be held, so that lines gather and fewer of them wake the loop:

    a frame is under way, and a little comes   → until that is acknowledged, or for the stream's window
    lines come faster than the stream's share  → for that share of what all may read, at most its window

Every read makes a frame. Few streams whose frames are acknowledged read as fast as lines come; no line waits
for longer than its stream's window and a round, or two where all rest for their windows. Owned by `upstream`.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from relay.answer import AnswerReader
from relay.asker import fault_of
from relay.call import Call
from wire import headers as wire_headers
from wire import limits
from wire.errors import Fault

_LAST_CHUNK = b"0\r\n\r\n"


class Events(Protocol):
    """What comes of a request; called on the loop."""

    def head(self, tag: int, status: int, headers: dict[str, str]) -> None:
        """Status and headers came."""

    def data(self, tag: int, data: bytes, came_at: float) -> None:
        """Bytes of the body came, none of them earlier than that by the loop's clock."""

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

    def call_later(self, delay_s: float, callback: Callable[[], None], *, every: int = 1) -> None:
        """Call it, which raises nothing, after that time and at most `every` rounds more."""
        number = every * math.ceil((self._loop.time() + delay_s) / (every * limits.ROUND_S))
        if number not in self._rounds:
            self._rounds[number] = []
            self._loop.call_at(number * limits.ROUND_S, self._run, number)
        self._rounds[number].append(callback)

    def _run(self, number: int) -> None:
        for callback in self._rounds.pop(number):
            callback()


@dataclass(frozen=True, slots=True, eq=False)
class _Rest:
    """A pause in reading.

    Attributes:
        gathers: an acknowledgement ends it.
    """

    gathers: bool


class Reading:
    """One answer.

    Args:
        connection: the request was sent on it; closed at the end of the answer.
        room: where bytes are read into; may be shared.
        share_s: how long lines are to gather now, if the stream's window is as long.
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
        self._window_s = call.request.batch_ms / 1000 if call.request.stream.wanted else 0.0
        self._watched = self._held = self._lazy = False
        self._rest: _Rest | None = None
        self._since = self._loop.time()
        self._came_at: float | None = None  # of what is read after a rest, so that it leaves then
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

    def gather(self, *, lazy: bool) -> None:
        """A little may wait for the window, or not any more."""
        self._lazy = lazy
        if not lazy and self._rest is not None and self._rest.gathers:
            self._loop.call_soon(self._wake, self._rest)

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
            self._loop.add_reader(self._connection.fileno(), self._ready)
        else:
            self._loop.remove_reader(self._connection.fileno())

    def _ready(self) -> None:
        """Something has come."""
        if self._lazy and self._connection is not None and self._is_little(self._connection):
            self._begin_rest(self._window_s, gathers=True)
        else:
            self._look()

    def _is_little(self, connection: socket.socket) -> bool:
        """Whether it may wait: no flood, not the end, nor what is inside TLS and cannot be looked at."""
        if not self._window_s or isinstance(connection, ssl.SSLSocket):
            return False
        try:
            there = connection.recv_into(self._room, limits.LITTLE_B, socket.MSG_PEEK)
        except OSError:
            return False
        return 0 < there < limits.LITTLE_B and not self._room[:there].tobytes().endswith(_LAST_CHUNK)

    def _begin_rest(self, seconds: float, *, gathers: bool) -> None:
        self._rest = _Rest(gathers=gathers)
        self._came_at = self._loop.time()
        self._watch(wanted=False)
        every = 1 if gathers or seconds < self._window_s else limits.CROWD_ROUNDS
        self._rounds.call_later(seconds, partial(self._wake, self._rest), every=every)

    def _wake(self, rest: _Rest) -> None:
        if rest is not self._rest:
            return  # it ended earlier
        self._rest = None
        if not rest.gathers:
            self._since = self._loop.time()
        self._look()

    def _look(self) -> None:
        """Read what there is."""
        if self._held or self._rest is not None:
            return
        try:
            while self._connection is not None and self._read(self._connection):
                pass
        except Exception as error:  # noqa: BLE001 - the loop must live, the peer must be told
            self._fail(error)

    def _read(self, connection: socket.socket) -> bool:
        """One read; whether another is due at once."""
        if self._answer.behind:
            return self._took(connection, b"", flows=False)
        try:
            size = connection.recv_into(self._room)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._came_at = None
            self._watch(wanted=True)
            return False
        if not size:
            self._answer.end()
        return self._took(connection, bytes(self._room[:size]), flows=size == len(self._room))

    def _took(self, connection: socket.socket, raw: bytes, *, flows: bool) -> bool:
        self._take(raw)
        if self._connection is None:
            return False
        if self._answer.behind:  # its frame behind the head's: together they might change places in a node
            self._loop.call_soon(self._look)
            return False
        if self._answer.done:
            self._events.eof(self._tag)
            self._end()
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return not self._held  # of that the selector knows nothing
        self._pace(flows=flows)
        return False

    def _take(self, raw: bytes) -> None:
        answer, headless = self._answer, not self._answer.status
        data = answer.feed(raw)
        if headless and answer.status:
            self._events.head(self._tag, answer.status, wire_headers.to_peer(answer.headers))
        came_at, self._came_at = self._came_at, None
        if data and self._connection is not None:
            self._events.data(self._tag, data, self._loop.time() if came_at is None else came_at)

    def _pace(self, *, flows: bool) -> None:
        """Rest if lines come faster than this stream's share."""
        now = self._loop.time()
        waited_s, self._since = now - self._since, now
        share_s = 0.0 if flows else min(self._share_s(), self._window_s)
        if waited_s < share_s:
            self._begin_rest(share_s, gathers=False)
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
