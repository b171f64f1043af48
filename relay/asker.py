"""How a worker's thread asks: it connects, shakes hands and sends, and gives the connection away.

The standard library writes the request; nothing of the owner's environment gets into it: no proxy, no
password file, no cookie. One connection for each request, shown to its `Call`, so that it can be shut from
outside. Called by `upstream`.
"""

from __future__ import annotations

import errno
import functools
import http.client
import socket
import ssl
import urllib.parse
from typing import Any, cast

import certifi

from relay.answer import HeadError
from relay.call import Call
from relay.policy import UpstreamRequest
from wire import limits
from wire.chunked import ChunkError
from wire.errors import Fault, internal, upstream_broke, upstream_refused
from wire.origin import PORTS

_ANSWERED_EARLY = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE, errno.ESHUTDOWN})
"""What sending ends with where an upstream refuses a body that it has not read."""


def ask(call: Call) -> socket.socket:
    """Connect and send the request; the answer is to be read from what is returned. Blocks.

    Raises:
        OSError, http.client.HTTPException, UnicodeError: nobody was asked.
    """
    request = call.request
    parts = urllib.parse.urlsplit(request.url)
    assert parts.hostname is not None  # noqa: S101 - the owner's targets name a host
    port = parts.port or PORTS[parts.scheme]
    connected = socket.create_connection((parts.hostname, port), limits.CONNECT_TIMEOUT_S)
    try:
        call.attach(connected)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "https":
            context = _context(verify=request.verify)
            connected = context.wrap_socket(connected, server_hostname=parts.hostname)
        # How long sending and waiting may take is for the engine to say, which aborts.
        connected.settimeout(None)
        call.opened = True
        _send(connected, request, parts)
    except BaseException:
        connected.close()
        raise
    return connected


def _send(connected: socket.socket, request: UpstreamRequest, parts: urllib.parse.SplitResult) -> None:
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    ours = {"Host": parts.netloc, "Accept": "*/*", "Accept-Encoding": "identity"}
    headers = {name.lower(): (name, value) for name, value in (ours | request.headers).items()}
    written = _Written()
    writer = http.client.HTTPConnection("")
    writer.sock = cast("Any", written)
    writer.request(request.method, target, request.body, dict(headers.values()))
    try:
        for piece in written.pieces():
            connected.sendall(piece)
    except OSError as error:
        if error.errno not in _ANSWERED_EARLY:
            raise


class _Written:
    """A request as the standard library writes it; a short one is one piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.sendall = self._parts.append

    def pieces(self) -> list[bytes]:
        short = sum(map(len, self._parts)) <= limits.READ_B
        return [b"".join(self._parts)] if short else self._parts


@functools.cache
def _context(*, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    if not verify:  # the peer asked for it and the owner allows it
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_THEIRS = (http.client.HTTPException, ChunkError, OSError, UnicodeError)
"""What an upstream, or its name, can cause."""


def fault_of(error: Exception, call: Call) -> Fault:
    """What a peer is told of an exception."""
    origin = urllib.parse.urlsplit(call.request.url).netloc
    service = call.request.service
    if not isinstance(error, _THEIRS):
        return internal(f"the relay failed to ask {service}: {type(error).__name__}")
    if isinstance(error, HeadError):
        return upstream_broke(f"{service} sent an answer that is not HTTP: {error}")
    if call.opened:
        return upstream_broke(f"{service} broke off its answer ({type(error).__name__})")
    if isinstance(error, ssl.SSLCertVerificationError):
        return upstream_refused(f"the certificate of {service} ({origin}) was not accepted")
    if isinstance(error, ssl.SSLError):
        return upstream_refused(f"{service} does not speak TLS at {origin}; is it http there?")
    return upstream_refused(f"{service} does not answer at {origin}; is it running?")
