"""HTTP on worker threads: takes requests, posts what comes of them, lets go at once when told.

Blocking reads with `requests`, one thread per running request. A thread blocked in a read is freed by
shutting its TCP connection down from outside; a thread that reads faster than its peer takes is held
before its next read, so the upstream's socket fills and the upstream waits too. Knows nothing of NKN;
owned by `pump`, which gets every event on its own loop.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from typing import Any, Protocol

import requests
import urllib3
from requests.adapters import HTTPAdapter

from relay.policy import UpstreamRequest
from wire import headers as wire_headers
from wire import limits
from wire.errors import Fault, internal, upstream_broke, upstream_refused

_POSTS_AHEAD = 8
"""Reads whose bytes the loop has not taken yet."""

# The peer asked for it and the owner allows it; a warning per request would tell nobody anything.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


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


class Call:
    """One running request: how its thread is stopped and slowed from outside."""

    def __init__(self, request: UpstreamRequest) -> None:
        self.request = request
        self.opened = False
        self._socket: socket.socket | None = None
        self._aborted = False
        self._paused = False
        self._ahead = 0
        self._changed = threading.Condition()

    def attach(self, connected: socket.socket) -> socket.socket:
        """TCP is connected; a duplicate is kept, so that TLS state is never touched from outside."""
        with self._changed:
            self._socket = socket.socket(fileno=os.dup(connected.fileno()))
            if self._aborted:
                self._shut()
        return connected

    def detach(self) -> None:
        """The request is over."""
        with self._changed:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def abort(self) -> None:
        """Close the connection now; a blocked read returns."""
        with self._changed:
            self._aborted = True
            self._shut()
            self._changed.notify_all()

    def pause(self, *, paused: bool) -> None:
        """Hold the thread before its next read, or let it go on."""
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def taken(self) -> None:
        """The loop took one read's bytes."""
        with self._changed:
            self._ahead -= 1
            self._changed.notify_all()

    def may_read(self) -> bool:
        """Wait until there is room for another read; False if the request was aborted."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or (not self._paused and self._ahead < _POSTS_AHEAD))
            self._ahead += 1
            return not self._aborted

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._aborted

    def _shut(self) -> None:
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # gone already


class Upstream:
    """A fixed set of worker threads.

    Args:
        workers: how many.
        events: where they report.
    """

    def __init__(self, workers: int, events: Events) -> None:
        self._events = events
        self._calls: dict[int, Call] = {}
        self._queue: queue.SimpleQueue[tuple[int, Call] | None] = queue.SimpleQueue()
        self._paused = False
        self._threads = [
            threading.Thread(target=self._work, name=f"upstream-{index}", daemon=True)
            for index in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def start(self, tag: int, request: UpstreamRequest) -> None:
        """Hand a request to a free worker."""
        call = Call(request)
        call.pause(paused=self._paused)
        self._calls[tag] = call
        self._queue.put((tag, call))

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

    def close(self) -> None:
        """Abort everything and let the threads end."""
        for call in list(self._calls.values()):
            call.abort()
        for _ in self._threads:
            self._queue.put(None)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            tag, call = item
            try:
                self._run(tag, call)
            except Exception as error:  # noqa: BLE001 - the worker must live, the peer must be told
                if not call.aborted:
                    self._events.failed(tag, _fault_of(error, call))
            finally:
                call.detach()
                self._events.closed(tag)

    def _run(self, tag: int, call: Call) -> None:
        if call.aborted:
            return
        request = call.request
        with _Session() as session:
            adapter = _Adapter(call)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            with session.request(
                request.method,
                request.url,
                data=request.body,
                headers={"Accept": "*/*", "Accept-Encoding": "identity", **request.headers},
                timeout=(limits.CONNECT_TIMEOUT_S, None),
                verify=request.verify,
                stream=True,
                allow_redirects=False,
            ) as response:
                self._events.head(
                    tag, response.status_code, wire_headers.to_peer(response.raw.headers.items())
                )
                self._read(tag, call, response.raw)

    def _read(self, tag: int, call: Call, raw: Any) -> None:
        while call.may_read():
            # read1 gives what has arrived; read would wait until the buffer is full.
            data = raw.read1(limits.READ_B, decode_content=False)
            if call.aborted:
                return
            if not data:
                self._events.eof(tag)
                return
            self._events.data(tag, data)


class _Session(requests.Session):
    """A session that brings nothing of its own: no proxy, netrc or header of the owner's."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.headers.clear()

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: a redirect is the peer's to follow, and looking for its target reads the whole body."""


class _Adapter(HTTPAdapter):
    """An HTTP adapter whose connections are shown to a Call; one request, one connection."""

    def __init__(self, call: Call) -> None:
        self._call = call
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        call = self._call

        class Plain(urllib3.connection.HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return call.attach(super()._new_conn())

            def connect(self) -> None:
                super().connect()
                call.opened = True

        class Tls(urllib3.connection.HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return call.attach(super()._new_conn())

            def connect(self) -> None:
                super().connect()
                call.opened = True

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Tls

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}


def _fault_of(error: Exception, call: Call) -> Fault:
    origin = call.request.url.partition("://")[2].partition("/")[0]
    if isinstance(error, requests.exceptions.SSLError):
        return upstream_refused(f"the certificate of {call.request.service} ({origin}) was not accepted")
    if isinstance(error, requests.exceptions.RequestException | urllib3.exceptions.HTTPError | OSError):
        if call.opened:
            return upstream_broke(f"{call.request.service} broke off its answer ({type(error).__name__})")
        return upstream_refused(f"{call.request.service} does not answer at {origin}; is it running?")
    return internal(f"the relay failed to ask {call.request.service}: {type(error).__name__}")


def probe(urls: dict[str, str]) -> list[dict[str, Any]]:
    """Ask each target's root; one {name, ok, detail} each. Blocks for up to HEALTH_TIMEOUT_S per target."""
    found = []
    for name, url in sorted(urls.items()):
        try:
            # Nothing is sent and only life is looked for, so the certificate does not matter.
            options: dict[str, Any] = {"stream": True, "allow_redirects": False, "verify": False}
            with (
                _Session() as session,
                session.get(url, timeout=limits.HEALTH_TIMEOUT_S, **options) as answer,
            ):
                status = answer.status_code
                found.append({"name": name, "ok": status < 500, "detail": f"HTTP {status}"})
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one target, the peer gets an answer
            found.append({"name": name, "ok": False, "detail": f"does not answer ({type(error).__name__})"})
    return found
