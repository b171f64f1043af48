"""HTTP as a worker speaks it: `requests`, stripped of everything that the owner's environment would add.

One connection for each request, shown to its `Call`, so that it can be shut from outside; heads must be HTTP
to their end, bodies come as they arrive. Called by the threads of `upstream`.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from relay.call import Call
from wire import limits
from wire.chunked import ChunkError, ChunkReader
from wire.errors import Fault, internal, upstream_broke, upstream_refused

# The peer asked for it and the owner allows it; a warning per request would tell nobody anything.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


class Answer:
    """The head of an answer, and its body as it arrives.

    Attributes:
        status: the HTTP status.
        headers: names and values as the upstream wrote them, in order.
    """

    def __init__(self, response: requests.Response, head: _Head) -> None:
        self.status: int = response.status_code
        self.headers: list[tuple[str, str]] = list(response.raw.headers.items())
        self._head = head

    def read(self) -> bytes:
        """What arrived, at least a byte; empty at the end of the body.

        Raises:
            OSError, http.client.HTTPException, ChunkError: the answer broke off, or is none.
        """
        return self._head.read_some()

    @property
    def flows(self) -> bool:
        """Whether there was at least as much as the last read could take."""
        return self._head.flows


class Asker:
    """One thread's way to ask: what costs most of a request is made once."""

    def __init__(self) -> None:
        self._session, self._adapter = _Session(), _Adapter()
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)

    @contextmanager
    def answer(self, call: Call) -> Iterator[Answer]:
        """Send the request; its answer, once the head is there. Nothing of it is left behind."""
        request, self._adapter.call = call.request, call
        try:
            with self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers={"Accept": "*/*", "Accept-Encoding": "identity", **request.headers},
                timeout=(limits.CONNECT_TIMEOUT_S, None),
                verify=request.verify,
                stream=True,
                allow_redirects=False,
            ) as response:
                assert call.head is not None  # noqa: S101 - there is no answer without a head
                yield Answer(response, call.head)
        finally:
            # One connection for each request, and nobody's cookies for the next one.
            self._adapter.close()
            del self._adapter.call
            self._session.cookies.clear()


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
    none, and reads an encoding it does not know as if it were the body. It gives one chunk at a time, however
    small; here all that has arrived comes at once.
    """

    def __init__(self, call: Call, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Only heads pass through the buffer, and most are shorter; a thousand streams have one each.
        self.fp = io.BufferedReader(self.fp.detach(), limits.HEAD_BUFFER_B)
        self._chunks = ChunkReader()
        self._size = limits.READ_LEAST_B
        self.flows = False
        call.head = self

    def read_some(self) -> bytes:
        """Bytes of the body, empty at its end; blocks until there are some."""
        if not self.chunked:
            data = self._sized(self.read1)
            if not data and self.length:
                raise http.client.IncompleteRead(b"", self.length)
            return data
        while not self._chunks.done:
            raw = self._sized(self.fp.read1)
            if not raw:
                raise http.client.IncompleteRead(b"")
            if data := self._chunks.feed(raw):
                return data
        return b""

    def _sized(self, read: Callable[[int], bytes]) -> bytes:
        """A read takes its memory before it waits: little, until much comes."""
        data = read(self._size)
        self.flows = len(data) >= self._size
        self._size = min(2 * self._size, limits.READ_B) if self.flows else limits.READ_LEAST_B
        return data

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


class _Shown:
    """What a connection of either kind does on top of its own: it shows itself to the call it is made for."""

    def __init__(self, call: Call, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._call = call
        self.response_class: Any = partial(_Head, call)

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        return self._call.attach(connected)

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        # How long sending and waiting may take is for the engine to say, which aborts.
        self.sock.settimeout(None)  # type: ignore[attr-defined]
        self._call.opened = True


class _Plain(_Shown, urllib3.connection.HTTPConnection):
    pass


class _Tls(_Shown, urllib3.connection.HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """An HTTP adapter whose connections are shown to the call they are made for; none is kept.

    Attributes:
        call: the request that is asked now.
    """

    call: Call

    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(self._pool, urllib3.HTTPConnectionPool, _Plain),
            "https": partial(self._pool, urllib3.HTTPSConnectionPool, _Tls),
        }

    def _pool(self, kind: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        pool = kind(*args, **kwargs)
        pool.ConnectionCls = partial(connection, self.call)
        return pool


_THEIRS = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ChunkError,
    OSError,
)
"""What an upstream can cause."""


def fault_of(error: Exception, call: Call) -> Fault:
    """What a peer is told of an exception."""
    origin = call.request.url.partition("://")[2].partition("/")[0]
    service, cause = call.request.service, _cause(error)
    if not isinstance(error, _THEIRS):
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
