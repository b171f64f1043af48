"""One HTTP request that can be stopped and slowed from outside while a thread blocks in it.

A thread blocked in a read is freed by shutting its TCP connection down; a thread that reads faster than its
peer takes is held before its next read. Made of `requests`, stripped of everything that the owner's
environment would add. Knows neither queue nor engine; called by the threads of `upstream`.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from relay.policy import UpstreamRequest
from wire import limits
from wire.errors import Fault, internal, upstream_broke, upstream_refused

_POSTS_AHEAD = 8
"""Reads whose bytes the loop has not taken yet."""

# The peer asked for it and the owner allows it; a warning per request would tell nobody anything.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


class Call:
    """One running request: how its thread is stopped and slowed from outside.

    Attributes:
        opened: the connection stands, TLS included; what fails from now on is a broken answer.
    """

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


@contextmanager
def answer(call: Call) -> Iterator[requests.Response]:
    """Send the request; its answer, once the head is there. The connection is closed behind it."""
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
            yield response


class _Session(requests.Session):
    """A session that brings nothing of its own: no proxy, netrc or header of the owner's."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.headers.clear()

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: a redirect is the peer's to follow, and looking for its target reads the whole body."""


class _HeadError(http.client.HTTPException):
    """The head of an answer is not HTTP; the text says what is wrong with it."""


class _Head(http.client.HTTPResponse):
    """An answer whose head must be HTTP to its end.

    The standard library takes 102 and 103 for the answer itself, drops the headers behind a line that is
    none, and reads an encoding it does not know as if it were the body.
    """

    def begin(self) -> None:
        """Read heads up to the final one."""
        super().begin()
        while 100 <= self.status < 200 and self.status != 101:
            self.headers = self.msg = None  # type: ignore[assignment] # `begin` asks for just this
            super().begin()
        rest = self.headers.get_payload()
        if isinstance(rest, str) and rest.strip():
            raise _HeadError("a header line is none")
        if self.headers.get("transfer-encoding", "chunked").strip().lower() not in {"chunked", "identity"}:
            raise _HeadError("its transfer encoding is unknown")
        if self.status == 101:
            raise _HeadError("it changes to another protocol")


class _Adapter(HTTPAdapter):
    """An HTTP adapter whose connections are shown to a Call; one request, one connection."""

    def __init__(self, call: Call) -> None:
        self._call = call
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        call = self._call

        class Shown:
            """What a connection of either kind does on top of its own."""

            response_class: Any = _Head

            def _new_conn(self) -> socket.socket:
                connected: socket.socket = super()._new_conn()  # type: ignore[misc]
                return call.attach(connected)

            def connect(self) -> None:
                super().connect()  # type: ignore[misc]
                # How long sending and waiting may take is for the engine to say, which aborts.
                self.sock.settimeout(None)  # type: ignore[attr-defined]
                call.opened = True

        class Plain(Shown, urllib3.connection.HTTPConnection):
            pass

        class Tls(Shown, urllib3.connection.HTTPSConnection):
            pass

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class TlsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Tls

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}


def fault_of(error: Exception, call: Call) -> Fault:
    """What a peer is told of an exception."""
    origin = call.request.url.partition("://")[2].partition("/")[0]
    service, cause = call.request.service, _cause(error)
    if not isinstance(error, requests.exceptions.RequestException | urllib3.exceptions.HTTPError | OSError):
        return internal(f"the relay failed to ask {service}: {type(error).__name__}")
    if isinstance(cause, _HeadError):
        return upstream_broke(f"{service} sent an answer that is not HTTP: {cause}")
    if call.opened:
        return upstream_broke(f"{service} broke off its answer ({type(cause).__name__})")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return upstream_refused(f"the certificate of {service} ({origin}) was not accepted")
    if isinstance(cause, ssl.SSLError):
        return upstream_refused(f"{service} does not speak TLS at {origin}; is it http there?")
    return upstream_refused(f"{service} does not answer at {origin}; is it running?")


def _cause(error: BaseException) -> BaseException:
    """What the libraries wrapped."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
