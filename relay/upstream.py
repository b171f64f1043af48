"""HTTP on worker threads: takes requests, posts what comes of them, lets go at once when told.

Blocking reads, one thread per running request: simple, and bounded by RELAY_WORKERS. Knows nothing of NKN;
owned by `pump`, which gets every event on its own loop. `asker` says how one request runs, `call` how it is
stopped.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import Any, Protocol

from relay import thrift
from relay.asker import Answer, Asker, fault_of
from relay.call import Call
from relay.events import StreamMode
from relay.policy import UpstreamRequest
from wire import headers as wire_headers
from wire import limits
from wire.errors import Fault, internal


class Events(Protocol):
    """Where a worker reports; called on its thread."""

    def head(self, tag: int, status: int, headers: dict[str, str]) -> None:
        """Status and headers came."""

    def data(self, tag: int, data: bytes) -> None:
        """Bytes of the body came."""

    def eof(self, tag: int) -> None:
        """The body is complete."""

    def failed(self, tag: int, fault: Fault) -> None:
        """It ends here."""

    def closed(self, tag: int) -> None:
        """The worker is free; always the last."""


class Upstream:
    """Worker threads, made when they are needed; those that idle for a while end.

    Args:
        workers: how many at most; what is started beyond them waits.
        events: where they report.
    """

    def __init__(self, workers: int, events: Events) -> None:
        self._events = events
        self._calls: dict[int, Call] = {}
        self._queue: queue.SimpleQueue[tuple[int, Call] | None] = queue.SimpleQueue()
        self._paused = False
        self._most = workers
        self._free = 0  # workers that wait for a request, less the requests that wait for them
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def start(self, tag: int, request: UpstreamRequest) -> None:
        """Hand a request to a free worker."""
        call = Call(request)
        call.pause(paused=self._paused)
        self._calls[tag] = call
        with self._lock:
            if self._free <= 0 and len(self._threads) < self._most:
                self._add_worker()
            if self._threads:
                self._free -= 1
                self._queue.put((tag, call))
                return
        self._events.failed(tag, internal("this machine gives the relay no thread to ask with"))
        self._events.closed(tag)

    def abort(self, tag: int) -> None:
        """Stop a request; `closed` follows."""
        if call := self._calls.get(tag):
            call.abort()

    def taken(self, tag: int) -> None:
        """The loop took one `data` of this request."""
        if call := self._calls.get(tag):
            call.taken()

    def forget(self, tag: int) -> None:
        """Its `closed` was taken."""
        self._calls.pop(tag, None)

    def pause(self, *, paused: bool) -> None:
        """Hold all workers before their next read, or let them go on."""
        if paused != self._paused:
            self._paused = paused
            for call in self._calls.values():
                call.pause(paused=paused)

    def hold(self, tag: int, *, held: bool) -> None:
        """Hold one request's worker, or let it go on."""
        if call := self._calls.get(tag):
            call.hold(held=held)

    def close(self) -> None:
        """Abort everything and let the threads end."""
        for call in list(self._calls.values()):
            call.abort()
        with self._lock:
            for _ in self._threads:
                self._queue.put(None)

    def _add_worker(self) -> None:
        thread = threading.Thread(target=self._work, name="upstream", daemon=True)
        with contextlib.suppress(RuntimeError):  # no more threads: the request waits for one that is there
            thread.start()
            self._threads.add(thread)
            self._free += 1

    def _work(self) -> None:
        asker = Asker()
        item = self._queue.get()
        while item is not None:
            self._serve(*item, asker)
            del item  # an idle worker keeps nobody's prompt
            item = self._next()

    def _next(self) -> tuple[int, Call] | None:
        """The next request; None if this worker is to end."""
        with self._lock:
            self._free += 1
        while True:
            try:
                return self._queue.get(timeout=limits.WORKER_IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._free <= 0:
                        continue  # a request is on its way to this one
                    self._free -= 1
                    self._threads.discard(threading.current_thread())
                    alone = not self._threads
                if alone:
                    thrift.give_back()
                return None

    def _serve(self, tag: int, call: Call, asker: Asker) -> None:
        try:
            self._run(tag, call, asker)
        except Exception as error:  # noqa: BLE001 - the worker must live, the peer must be told
            if not call.aborted:
                self._events.failed(tag, fault_of(error, call))
        finally:
            call.detach()
            self._events.closed(tag)

    def _run(self, tag: int, call: Call, asker: Asker) -> None:
        if call.aborted:
            return
        with asker.answer(call) as answer:
            self._events.head(tag, answer.status, wire_headers.to_peer(answer.headers))
            self._read(tag, call, answer)

    def _read(self, tag: int, call: Call, answer: Answer) -> None:
        while call.may_read():
            began = time.monotonic()
            data = answer.read()
            if call.aborted:
                return
            if not data:
                self._events.eof(tag)
                return
            self._events.data(tag, data)
            if call.request.stream.wanted and not answer.flows:
                self._rest(call.request, time.monotonic() - began)

    def _rest(self, request: UpstreamRequest, waited_s: float) -> None:
        """Let lines gather if they come faster than this stream's share of what all of them may read.

        Every read wakes a thread and the loop and makes a frame. Few streams read as fast as lines come, and
        none rests for longer than its window. An abort need not wait: it closes the connection itself.
        """
        share_s = min(len(self._calls) / limits.READS_PER_S, request.batch_ms / 1000)
        if waited_s < share_s:
            time.sleep(share_s)


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
        try:
            with Asker().answer(self._call) as answer:
                self._found = (answer.status < 500, f"HTTP {answer.status}")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one target, the peer gets an answer
            self._found = (False, f"does not answer ({type(error).__name__})")
        finally:
            self._call.detach()
