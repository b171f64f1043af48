"""HTTP: worker threads ask, the loop reads what comes; lets go at once when told.

What may block runs on a thread (names, connecting, TLS, sending); what has come is read where it is needed,
so that a line wakes nobody else, and a thousand streams need no thousand threads. Knows nothing of NKN;
owned by `pump`. `asker` says how it is asked, `reading` how it is read.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from functools import partial
from typing import Any

from relay.answer import AnswerReader
from relay.asker import ask, fault_of
from relay.call import Call
from relay.events import StreamMode
from relay.policy import UpstreamRequest
from relay.reading import Events, Reading, Rounds
from relay.workers import Workers
from wire import limits
from wire.errors import Fault, internal


class Upstream:
    """Requests that run. Everything is called on the loop, and so are the events, never within such a call.

    Args:
        workers: threads, at most.
        events: where is told what comes.
    """

    def __init__(self, workers: int, events: Events) -> None:
        self._loop = asyncio.get_running_loop()
        self._events = events
        self._workers = Workers(workers)
        self._calls: dict[int, Call] = {}
        self._readings: dict[int, Reading] = {}
        self._held: set[int] = set()
        self._paused = False
        self._rounds = Rounds()
        self._room = memoryview(bytearray(limits.READ_B))

    @property
    def idle(self) -> bool:
        """Whether no request runs."""
        return not self._calls

    def start(self, tag: int, request: UpstreamRequest) -> None:
        """Ask."""
        call = self._calls[tag] = Call(request)
        if not self._workers.submit(partial(self._ask, tag, call)):
            no_thread = internal("this machine gives the relay no thread to ask with")
            self._loop.call_soon(self._asked, tag, call, None, no_thread)

    def abort(self, tag: int) -> None:
        """Stop a request; `closed` follows, and no other event."""
        if (call := self._calls.get(tag)) is None or call.aborted:
            return
        call.abort()
        if reading := self._readings.get(tag):
            reading.stop()
            self._loop.call_soon(self._end, tag)

    def pause(self, *, paused: bool) -> None:
        """Read no further from any of them, or go on."""
        self._paused = paused
        for tag, reading in self._readings.items():
            reading.hold(held=paused or tag in self._held)

    def hold(self, tag: int, *, held: bool) -> None:
        """The same for one request."""
        if tag not in self._calls:
            return
        if held:
            self._held.add(tag)
        else:
            self._held.discard(tag)
        if reading := self._readings.get(tag):
            reading.hold(held=held or self._paused)

    def gather(self, tag: int, *, lazy: bool) -> None:
        """A little that comes for this request may wait for its window, or not any more."""
        if reading := self._readings.get(tag):
            reading.gather(lazy=lazy)

    def close(self) -> None:
        """Abort everything and let the threads end."""
        for tag in list(self._calls):
            self.abort(tag)
        self._workers.close()

    def _ask(self, tag: int, call: Call) -> None:
        """On a worker's thread."""
        connection: socket.socket | None = None
        fault: Fault | None = None
        try:
            if not call.aborted:
                connection = ask(call)
        except Exception as error:  # noqa: BLE001 - the worker must live, the peer must be told
            fault = fault_of(error, call)
        finally:
            call.detach()
        try:
            self._loop.call_soon_threadsafe(self._asked, tag, call, connection, fault)
        except RuntimeError:  # the loop is closed: the program is ending
            if connection is not None:
                connection.close()

    def _asked(self, tag: int, call: Call, connection: socket.socket | None, fault: Fault | None) -> None:
        if connection is not None and not call.aborted:
            reading = self._readings[tag] = Reading(
                tag,
                call,
                connection,
                self._events,
                room=self._room,
                rounds=self._rounds,
                share_s=self._share_s,
                ended=self._end,
            )
            reading.hold(held=self._paused or tag in self._held)
            reading.begin()
            return
        if connection is not None:
            connection.close()
        if fault is not None and not call.aborted:
            self._events.failed(tag, fault)
        self._end(tag)

    def _share_s(self) -> float:
        return len(self._calls) / limits.READS_PER_S

    def _end(self, tag: int) -> None:
        if self._calls.pop(tag, None) is not None:
            self._readings.pop(tag, None)
            self._held.discard(tag)
            self._events.closed(tag)


def probe(urls: dict[str, str]) -> list[dict[str, Any]]:
    """Ask all targets' roots at once; one {name, ok, detail} each. Blocks for HEALTH_TIMEOUT_S at most."""
    probes = [_Probe(name, url) for name, url in sorted(urls.items())]
    until = time.monotonic() + limits.HEALTH_TIMEOUT_S
    return [one.result(max(0.0, until - time.monotonic())) for one in probes]


class _Probe:
    """One target's question, on a thread of its own: a target that drips its answer holds up no other."""

    def __init__(self, name: str, url: str) -> None:
        # Nothing is sent and only life is looked for, so the certificate does not matter.
        quiet = StreamMode(wanted=False, lines=False)
        self._call = Call(UpstreamRequest(name, "GET", url, "/", {}, None, 0.0, verify=False, stream=quiet))
        self._found: tuple[bool, str] | None = None
        self._thread = threading.Thread(target=self._ask, name="probe", daemon=True)
        self._thread.start()

    def result(self, seconds: float) -> dict[str, Any]:
        """What was found after at most so long."""
        self._thread.join(seconds)
        late = (False, f"does not answer within {limits.HEALTH_TIMEOUT_S:g} s")
        ok, detail = self._found or late
        self._call.abort()
        return {"name": self._call.request.service, "ok": ok, "detail": detail}

    def _ask(self) -> None:
        answer = AnswerReader("GET")
        try:
            with ask(self._call) as connection:
                while not answer.status:
                    if data := connection.recv(limits.READ_B):
                        answer.feed(data)
                    else:
                        answer.end()
            self._found = (answer.status < 500, f"HTTP {answer.status}")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one target, the peer gets an answer
            self._found = (False, f"does not answer ({type(error).__name__})")
        finally:
            self._call.detach()
