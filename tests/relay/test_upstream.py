"""HTTP to upstreams, against small real servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import socket
import ssl
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import h11
import pytest

from relay import upstream, workers
from relay.call import Call
from relay.events import StreamMode
from relay.nkn.devnode import certificate
from relay.policy import UpstreamRequest
from relay.upstream import Upstream
from wire import headers as wire_headers
from wire import limits
from wire.errors import Fault, OurFault, PeerFault, UpstreamFault

Make = Callable[..., UpstreamRequest]
Event = tuple[Any, ...]
PATIENCE_S = 20.0
"""After this long a wait has failed; no test lasts as long, and none measures it."""


class Peer:
    """One accepted connection: what the server's script has in hand."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.raw = b""
        self.gone = threading.Event()

    def read_request(self) -> bytes:
        """Head and body by Content-Length; everything read is kept in `raw`."""
        while b"\r\n\r\n" not in self.raw:
            self._more()
        head, _, body = self.raw.partition(b"\r\n\r\n")
        length = [
            line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        ]
        while len(body) < int(length[0] if length else 0):
            self._more()
            body = self.raw.partition(b"\r\n\r\n")[2]
        return self.raw

    def send(self, *parts: bytes) -> None:
        self.connection.sendall(b"".join(parts))

    def reset(self) -> None:
        """Close so that the other side reads a connection reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def wait_gone(self) -> None:
        """Until the relay closed its side."""
        with contextlib.suppress(OSError):
            while self.connection.recv(65_536):
                pass
        self.gone.set()

    def _more(self) -> None:
        data = self.connection.recv(65_536)
        if not data:
            raise ConnectionError("gone")
        self.raw += data


class Server:
    """Runs a script for each connection, on a thread of its own."""

    def __init__(self, script: Callable[[Peer], None], context: ssl.SSLContext | None = None) -> None:
        self.peers: list[Peer] = []
        self.url = ""
        self._script = script
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}/api/chat"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_S)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                stack.enter_context(connection)
            peer = Peer(connection)
            self.peers.append(peer)
            self._script(peer)


class Recorder:
    """The events, in order."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Event] = queue.Queue()
        self.raise_at_head: Exception | None = None

    def head(self, tag: int, status: int, headers: dict[str, str]) -> None:
        if self.raise_at_head is not None:
            raise self.raise_at_head
        self.queue.put(("head", tag, status, headers))

    def data(self, tag: int, data: bytes, _came_at: float) -> None:
        self.queue.put(("data", tag, data))

    def eof(self, tag: int) -> None:
        self.queue.put(("eof", tag))

    def failed(self, tag: int, fault: Fault) -> None:
        self.queue.put(("failed", tag, fault))

    def closed(self, tag: int) -> None:
        self.queue.put(("closed", tag))

    def next(self) -> Event:
        return self.queue.get(timeout=PATIENCE_S)


class Bench:
    """An Upstream on a loop on a thread, its events, and servers."""

    def __init__(self, make: Make, workers: int) -> None:
        self.events = Recorder()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.upstream = self.on_loop(lambda: Upstream(workers, self.events))
        self.servers: list[Server] = []
        self._make = make
        self._tags = 0

    def serve(self, script: Callable[[Peer], None], context: ssl.SSLContext | None = None) -> Server:
        self.servers.append(Server(script, context))
        return self.servers[-1]

    def start(self, url: str, **changes: Any) -> int:
        self._tags += 1
        request = self._make(url=url, **changes)
        self.on_loop(lambda: self.upstream.start(self._tags, request))
        return self._tags

    def on_loop(self, function: Callable[[], Any]) -> Any:
        async def called() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(PATIENCE_S)

    def abort(self, tag: int) -> None:
        self.on_loop(lambda: self.upstream.abort(tag))

    def hold(self, tag: int, *, held: bool) -> None:
        self.on_loop(lambda: self.upstream.hold(tag, held=held))

    def pause(self, *, paused: bool) -> None:
        self.on_loop(lambda: self.upstream.pause(paused=paused))

    @property
    def threads(self) -> list[threading.Thread]:
        return list(self.upstream._workers._threads)

    def until_closed(self, tag: int) -> list[Event]:
        """The events up to `closed`, bytes of the body joined into one `data`."""
        found: list[Event] = []
        while (event := self.events.next())[0] != "closed":
            assert event[1] == tag
            if event[0] == "data" and found and found[-1][0] == "data":
                event = ("data", tag, found.pop()[2] + event[2])
            found.append(event)
        assert event == ("closed", tag)
        assert self.events.queue.empty()
        return found

    def close(self) -> None:
        threads = self.threads
        self.on_loop(self.upstream.close)
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        self.on_loop(lambda: None)
        assert self.upstream._calls == {}
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()
        for server in self.servers:
            server.close()


@pytest.fixture
def bench(make_request: Make) -> Iterator[Bench]:
    running = Bench(make_request, workers=1)
    yield running
    running.close()


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def answering(answer: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)

    return script


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread is about to do."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.001)


# -- answers ----------------------------------------------------------------------------------


def test_chunked_pieces_arrive_as_they_are_sent(bench):
    taken = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED)
        for number in range(3):
            peer.send(chunk(b"line %d\n" % number))
            assert taken.acquire(timeout=PATIENCE_S)
        peer.send(b"0\r\n\r\n")

    tag = bench.start(bench.serve(script).url)
    assert bench.events.next() == ("head", tag, 200, {"content-type": "application/x-ndjson"})
    for number in range(3):
        assert bench.events.next() == ("data", tag, b"line %d\n" % number)
        taken.release()
    assert bench.until_closed(tag) == [("eof", tag)]


@pytest.mark.parametrize(
    ("method", "answer", "status", "body"),
    [
        ("GET", OK + b"Content-Length: 5\r\n\r\nhello", 200, b"hello"),
        ("GET", OK + b"Connection: close\r\n\r\nhello", 200, b"hello"),
        ("GET", b"HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello"),
        ("GET", CHUNKED + b"5;ext=1\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", 200, b"hello"),
        ("GET", OK + b"Content-Length: 0\r\n\r\n", 200, b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
        ("HEAD", OK + b"Content-Length: 5\r\n\r\n", 200, b""),
        ("GET", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi"),
        (
            "GET",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
            200,
            b"hi",
        ),
        (
            "GET",
            b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 100 C\r\n\r\n" + CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
            200,
            b"hi",
        ),
        ("GET", OK + b"Transfer-Encoding: identity\r\n\r\nhi", 200, b"hi"),
        ("GET", OK + b"Content-Type: multipart/x; boundary=y\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
        ("GET", b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 404, b"no"),
        ("POST", b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno", 500, b"no"),
    ],
)
def test_bodies_of_every_framing_are_whole(bench, method, answer, status, body):
    tag = bench.start(bench.serve(answering(answer)).url, method=method)
    events = bench.until_closed(tag)
    assert events[0][:3] == ("head", tag, status)
    assert events[1:] == [*([("data", tag, body)] if body else []), ("eof", tag)]


def test_a_large_body_is_the_same_bytes(bench):
    body = bytes(range(256)) * 4096
    tag = bench.start(bench.serve(answering(OK + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))).url)
    assert bench.until_closed(tag)[1:] == [("data", tag, body), ("eof", tag)]


def test_headers_of_the_answer_are_lower_case_and_end_to_end(bench):
    answer = (
        OK + b"Content-Type: text/x\r\nX-Two: a\r\nX-Two: b\r\nSet-Cookie: secret=1\r\nKeep-Alive: x\r\n"
        b"Connection: X-Hop\r\nX-Hop: y\r\nContent-Length: 0\r\n\r\n"
    )
    tag = bench.start(bench.serve(answering(answer)).url)
    assert bench.until_closed(tag)[0] == ("head", tag, 200, {"content-type": "text/x", "x-two": "a, b"})


def test_an_encoded_body_is_passed_on_as_it_is(bench):
    body = b"\x1f\x8b not really gzip"
    answer = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    tag = bench.start(bench.serve(answering(answer)).url)
    assert bench.until_closed(tag) == [
        ("head", tag, 200, {"content-encoding": "gzip"}),
        ("data", tag, body),
        ("eof", tag),
    ]


def test_a_redirect_is_passed_on_and_not_followed(bench):
    elsewhere = bench.serve(answering(OK + b"Content-Length: 0\r\n\r\n"))
    answer = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 5\r\n\r\nmoved" % elsewhere.url.encode()
    tag = bench.start(bench.serve(answering(answer)).url)
    assert bench.until_closed(tag) == [
        ("head", tag, 302, {"location": elsewhere.url}),
        ("data", tag, b"moved"),
        ("eof", tag),
    ]
    assert elsewhere.peers == []


@pytest.mark.parametrize("location", [b"http://[", b"//evil.example:x/", b"\xff", b""])
def test_a_redirect_to_nonsense_is_passed_on_too(bench, location):
    answer = b"HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 2\r\n\r\nhi" % location
    tag = bench.start(bench.serve(answering(answer)).url)
    assert [event[0] for event in bench.until_closed(tag)] == ["head", "data", "eof"]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"a\r\n b", "a b"),
        (b"a\r\n\tb", "a b"),
        (b"a\x00b\x1b[2Jc\x7f", "a b [2Jc"),
        (b"caf\xc3\xa9", "caf\xc3\xa9"),
    ],
)
def test_a_header_of_the_answer_is_one_line_without_control_characters(bench, sent, told):
    tag = bench.start(bench.serve(answering(OK + b"X-A: " + sent + b"\r\nContent-Length: 0\r\n\r\n")).url)
    assert bench.until_closed(tag)[0] == ("head", tag, 200, {"x-a": told})


# -- failures ---------------------------------------------------------------------------------


def fault_of(events: list[Event]) -> Fault:
    assert [event[0] for event in events].count("failed") == 1
    assert events[-1][0] == "failed"
    return events[-1][2]


def test_a_body_cut_short_is_broken(bench):
    tag = bench.start(bench.serve(answering(OK + b"Content-Length: 10\r\n\r\nhello")).url)
    events = bench.until_closed(tag)
    assert events[1] == ("data", tag, b"hello")
    assert fault_of(events).code == "upstream_broke"


@pytest.mark.parametrize(
    "rest",
    [chunk(b"a\n"), chunk(b"a\n") + b"5\r\nhe", chunk(b"a\n") + b"5", b"zz\r\n", b"-1\r\nx\r\n"],
)
def test_chunks_that_break_off_are_broken(bench, rest):
    tag = bench.start(bench.serve(answering(CHUNKED + rest)).url)
    events = bench.until_closed(tag)
    assert events[0][0] == "head"
    assert isinstance(fault_of(events), UpstreamFault)
    assert fault_of(events).code == "upstream_broke"


def test_a_reset_in_the_middle_is_broken(bench):
    taken = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED, chunk(b"a\n"), b"5\r\nhe")
        assert taken.wait(PATIENCE_S)
        peer.reset()

    tag = bench.start(bench.serve(script).url)
    assert bench.events.next()[0] == "head"
    found = [bench.events.next()[2]]
    taken.set()
    while (event := bench.events.next())[0] == "data":
        found.append(event[2])
    assert b"".join(found) in {b"a\n", b"a\nhe"}
    assert event[0] == "failed"
    assert event[2].code == "upstream_broke"
    assert bench.events.next() == ("closed", tag)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1", b"nonsense\r\n\r\n", b"HTTP/1.1 x OK\r\n\r\n", b"\x16\x03\x01"]
)
def test_an_answer_that_never_begins_is_broken(bench, answer):
    tag = bench.start(bench.serve(answering(answer)).url)
    [event] = bench.until_closed(tag)
    assert event[2].code == "upstream_broke"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (OK + b"no colon\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "a header line is none"),
        (OK + b"Bad Name: x\r\nContent-Length: 2\r\n\r\nhi", "a header line is none"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "its transfer encoding is unknown"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "it changes to another protocol"),
    ],
)
def test_a_head_that_is_not_http_is_broken_and_told_why(bench, answer, why):
    fault = fault_of(bench.until_closed(bench.start(bench.serve(answering(answer)).url)))
    assert (fault.code, fault.detail) == (
        "upstream_broke",
        f"ollama sent an answer that is not HTTP: {why}",
    )


def test_what_broke_an_answer_is_named(bench):
    for answer, name in [
        (b"", "RemoteDisconnected"),
        (b"junk\r\n\r\n", "BadStatusLine"),
        (OK + b"Content-Length: 9\r\n\r\nx", "IncompleteRead"),
        (OK + b"X: " + b"y" * 70_000, "LineTooLong"),
    ]:
        fault = fault_of(bench.until_closed(bench.start(bench.serve(answering(answer)).url)))
        assert fault.detail == f"ollama broke off its answer ({name})"


def test_no_one_listening_is_refused(bench):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        tag = bench.start(f"http://127.0.0.1:{port}/api/chat?secret=1")
        [event] = bench.until_closed(tag)
    fault = event[2]
    assert (fault.code, fault.status) == ("upstream_refused", 502)
    assert f"127.0.0.1:{port}" in fault.detail
    assert "secret" not in fault.detail


def test_a_host_that_cannot_be_is_refused(bench):
    tag = bench.start("http://host..invalid:1/")
    assert fault_of(bench.until_closed(tag)).code == "upstream_refused"


def test_a_self_signed_certificate_is_refused_unless_asked_otherwise(bench):
    context, _ = certificate.make("127.0.0.1")
    server = bench.serve(answering(OK + b"Content-Length: 2\r\n\r\nhi"), context)
    tag = bench.start(server.url)
    fault = fault_of(bench.until_closed(tag))
    assert fault.code == "upstream_refused"
    assert "certificate" in fault.detail
    assert server.peers == []
    tag = bench.start(server.url, verify=False)
    assert bench.until_closed(tag)[1:] == [("data", tag, b"hi"), ("eof", tag)]
    assert len(server.peers) == 1


def test_tls_to_a_server_without_it_is_refused_and_told_as_that(bench):
    server = bench.serve(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    tag = bench.start(server.url.replace("http:", "https:"), verify=False)
    fault = fault_of(bench.until_closed(tag))
    assert fault.code == "upstream_refused"
    assert fault.detail == f"ollama does not speak TLS at 127.0.0.1:{server.port}; is it http there?"


def test_a_tls_alert_behind_the_handshake_is_a_broken_answer_and_no_wrong_certificate(bench):
    context, _ = certificate.make("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED  # in TLS 1.3 the client learns of it with the first read
    server = bench.serve(answering(OK + b"Content-Length: 2\r\n\r\nhi"), context)
    fault = fault_of(bench.until_closed(bench.start(server.url, verify=False)))
    assert fault.code == "upstream_broke"
    assert "certificate of" not in fault.detail


def test_a_tls_body_cut_short_is_broken(bench):
    context, _ = certificate.make("127.0.0.1")
    server = bench.serve(answering(OK + b"Content-Length: 10\r\n\r\nhello"), context)
    tag = bench.start(server.url, verify=False)
    assert fault_of(bench.until_closed(tag)).code == "upstream_broke"


def test_a_mistake_of_ours_is_told_as_ours_and_the_worker_lives(bench):
    server = bench.serve(answering(OK + b"Content-Length: 2\r\n\r\nhi"))
    bench.events.raise_at_head = KeyError("secret")
    tag = bench.start(server.url)
    fault = fault_of(bench.until_closed(tag))
    assert isinstance(fault, OurFault)
    assert fault.code == "internal"
    assert "secret" not in fault.detail
    bench.events.raise_at_head = None
    tag = bench.start(server.url)
    assert bench.until_closed(tag)[1:] == [("data", tag, b"hi"), ("eof", tag)]


def test_a_worker_survives_a_hundred_failures(bench):
    answers = [b"", b"junk\r\n\r\n", OK + b"Content-Length: 9\r\n\r\nx", CHUNKED + b"5\r\nhe", None]

    def script(peer: Peer) -> None:
        peer.read_request()
        answer = answers[len(server.peers) % len(answers)]
        if answer is None:
            peer.reset()
        else:
            peer.send(answer)

    server = bench.serve(script)
    for _ in range(100):
        tag = bench.start(server.url)
        assert fault_of(bench.until_closed(tag)).code == "upstream_broke"
    answers[:] = [OK + b"Content-Length: 2\r\n\r\nhi"]
    tag = bench.start(server.url)
    assert bench.until_closed(tag)[-1] == ("eof", tag)
    assert [thread.is_alive() for thread in bench.threads] == [True]
    assert bench.upstream._calls == {}


# -- abort --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_abort_frees_a_blocked_read_and_closes_the_connection(bench, tls):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED, chunk(b"a\n"))
        peer.wait_gone()

    server = bench.serve(script, certificate.make("127.0.0.1")[0] if tls else None)
    tag = bench.start(server.url, verify=not tls)
    assert bench.events.next()[0] == "head"
    assert bench.events.next() == ("data", tag, b"a\n")
    bench.abort(tag)
    assert bench.until_closed(tag) == []
    assert server.peers[0].gone.wait(PATIENCE_S)


def test_abort_before_the_head(bench):
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        asked.set()
        peer.wait_gone()

    server = bench.serve(script)
    tag = bench.start(server.url)
    assert asked.wait(PATIENCE_S)
    bench.abort(tag)
    assert bench.until_closed(tag) == []
    assert server.peers[0].gone.wait(PATIENCE_S)


def test_abort_while_a_large_body_is_being_sent(bench):
    begun = threading.Event()
    let_go = threading.Event()

    def script(peer: Peer) -> None:
        peer._more()
        begun.set()
        assert let_go.wait(PATIENCE_S)
        peer.wait_gone()

    server = bench.serve(script)
    tag = bench.start(server.url, body=b"x" * 32_000_000)
    assert begun.wait(PATIENCE_S)
    bench.abort(tag)
    assert bench.until_closed(tag) == []
    let_go.set()
    assert server.peers[0].gone.wait(PATIENCE_S)


def test_an_upstream_may_take_longer_to_read_a_request_than_to_accept_it(bench, monkeypatch):
    monkeypatch.setattr(limits, "CONNECT_TIMEOUT_S", 0.05)

    def script(peer: Peer) -> None:
        left = size
        time.sleep(0.2)  # four times the limit, which once held for sending all of it
        while left > 0:
            left -= len(peer.connection.recv(1_000_000))
        peer.send(OK, b"Content-Length: 2\r\n\r\nhi")

    size = 32_000_000  # more than the kernel keeps for both ends
    tag = bench.start(bench.serve(script).url, body=b"x" * size)
    assert bench.until_closed(tag)[1:] == [("data", tag, b"hi"), ("eof", tag)]


def test_an_upstream_that_refuses_a_body_which_it_has_not_read_is_heard(bench):
    def script(peer: Peer) -> None:
        peer._more()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
        peer.reset()

    server = bench.serve(script)
    for _ in range(5):
        tag = bench.start(server.url, body=b"x" * 32_000_000)
        assert bench.until_closed(tag) == [("head", tag, 413, {}), ("data", tag, b"too much"), ("eof", tag)]


def test_abort_of_what_no_worker_took_yet_makes_no_connection(bench):
    server = bench.serve(Peer.wait_gone)
    first, second = bench.start(server.url.replace("http:", "https:")), bench.start(server.url)
    until(lambda: server.peers)
    bench.abort(second)
    bench.abort(first)  # which waits for a handshake
    assert bench.events.next() == ("closed", first)
    assert bench.events.next() == ("closed", second)
    assert len(server.peers) == 1


def test_abort_while_held(bench):
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED)
        assert go_on.wait(PATIENCE_S)
        peer.send(chunk(b"a"))
        peer.wait_gone()

    server = bench.serve(script)
    tag = bench.start(server.url)
    assert bench.events.next()[0] == "head"
    bench.hold(tag, held=True)
    go_on.set()
    bench.abort(tag)
    bench.abort(tag)
    assert bench.until_closed(tag) == []
    assert server.peers[0].gone.wait(PATIENCE_S)


def test_abort_of_an_unknown_request_is_nothing(bench):
    bench.abort(99)
    bench.hold(99, held=True)
    bench.hold(99, held=False)
    assert bench.events.queue.empty()


def test_a_connection_that_stands_after_the_abort_is_shut_at_once(make_request):
    call = Call(make_request())
    here, there = socket.socketpair()
    with here, there, contextlib.closing(detaching(call)):
        there.settimeout(PATIENCE_S)
        call.abort()
        call.attach(here)
        assert there.recv(1) == b""
        assert call.aborted
    assert call._socket is None


def test_a_connection_that_is_gone_already_does_not_disturb_an_abort(make_request):
    call = Call(make_request())
    with socket.socket() as never_connected, contextlib.closing(detaching(call)):
        call.attach(never_connected)
        call.abort()
    assert call.aborted
    call.detach()
    assert call._socket is None


def detaching(call: Call) -> Any:
    """Something whose `close` detaches the call, so that a failing test leaves no socket behind."""
    return SimpleNamespace(close=call.detach)


def test_abort_in_the_middle_of_a_tls_handshake(bench):
    greeted = threading.Event()

    def script(peer: Peer) -> None:
        peer._more()
        greeted.set()
        peer.wait_gone()

    server = bench.serve(script)
    tag = bench.start(server.url.replace("http:", "https:"))
    assert greeted.wait(PATIENCE_S)
    bench.abort(tag)
    assert bench.until_closed(tag) == []
    assert server.peers[0].gone.wait(PATIENCE_S)


def test_no_file_descriptor_is_kept(bench):
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED)
        assert go_on.wait(PATIENCE_S)
        peer.send(b"0\r\n\r\n")
        peer.wait_gone()

    server = bench.serve(script)
    tag = bench.start(server.url)
    call = bench.upstream._calls[tag]
    assert bench.events.next()[0] == "head"
    reading = bench.upstream._readings[tag]
    assert call._socket is None
    go_on.set()
    assert bench.until_closed(tag) == [("eof", tag)]
    assert reading._connection is None
    assert server.peers[0].gone.wait(PATIENCE_S)
    assert (bench.upstream._calls, bench.upstream._readings) == ({}, {})


# -- holding ------------------------------------------------------------------------------------


def test_pause_holds_reading_and_resume_lets_it_go_on(bench):
    sent = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED + chunk(b"a") + chunk(b"b") + b"0\r\n\r\n")
        sent.set()
        peer.wait_gone()

    bench.pause(paused=True)
    tag = bench.start(bench.serve(script).url)
    until(lambda: tag in bench.upstream._readings)
    assert sent.wait(PATIENCE_S)
    bench.pause(paused=True)
    bench.on_loop(lambda: None)
    assert bench.events.queue.empty()
    bench.pause(paused=False)
    assert bench.until_closed(tag)[1:] == [("data", tag, b"ab"), ("eof", tag)]


@pytest.mark.parametrize("tls", [False, True])
def test_what_runs_already_is_held_by_a_pause_or_by_itself_and_goes_on_when_neither_holds_it(bench, tls):
    sent, go_on = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED, chunk(b"a"))
        assert go_on.wait(PATIENCE_S)
        peer.send(chunk(b"b"), chunk(b"c"), b"0\r\n\r\n")
        sent.set()
        peer.wait_gone()

    server = bench.serve(script, certificate.make("127.0.0.1")[0] if tls else None)
    tag = bench.start(server.url, verify=False)
    assert [bench.events.next()[0], bench.events.next()[0]] == ["head", "data"]
    bench.pause(paused=True)
    bench.hold(tag, held=True)
    bench.pause(paused=False)
    go_on.set()
    assert sent.wait(PATIENCE_S)
    bench.pause(paused=True)
    bench.hold(tag, held=False)
    bench.on_loop(lambda: None)
    assert bench.events.queue.empty()
    bench.pause(paused=False)
    assert bench.until_closed(tag) == [("data", tag, b"bc"), ("eof", tag)]


def test_an_upstream_that_is_held_cannot_send_on(bench):
    body = bytes(32_000_000)  # more than the kernel keeps for both ends
    sent = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK, b"Content-Length: %d\r\n\r\n" % len(body))
        assert go_on.wait(PATIENCE_S)
        peer.send(body)
        sent.set()

    go_on = threading.Event()
    tag = bench.start(bench.serve(script).url)
    assert bench.events.next()[0] == "head"
    bench.hold(tag, held=True)
    go_on.set()
    assert not sent.wait(0.1)
    assert bench.events.queue.empty()
    bench.hold(tag, held=False)
    assert bench.until_closed(tag) == [("data", tag, body), ("eof", tag)]
    assert sent.wait(PATIENCE_S)


@pytest.mark.parametrize("cut", [b"", chunk(b"a")])
def test_an_idle_worker_keeps_nothing_of_the_last_request(bench, cut):
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        assert go_on.wait(PATIENCE_S)
        peer.send(CHUNKED, cut or b"0\r\n\r\n")

    tag = bench.start(bench.serve(script).url, body=b"a prompt")
    kept = weakref.ref(bench.upstream._calls[tag])
    go_on.set()
    assert bench.until_closed(tag)[-1][0] == ("failed" if cut else "eof")

    def is_gone() -> bool:
        gc.collect()
        return kept() is None

    until(is_gone)


def test_threads_are_made_when_they_are_needed_and_no_more_than_allowed(make_request):
    running = Bench(make_request, workers=2)
    server = running.serve(Peer.wait_gone)
    assert not running.threads
    for _ in range(5):
        running.start(server.url.replace("http:", "https:"))  # a handshake that never comes
    until(lambda: len(server.peers) == 2)
    time.sleep(3 * limits.WORKER_LATE_S)
    assert (len(running.threads), len(server.peers)) == (2, 2)
    running.close()
    assert [event[0] for event in running.events.queue.queue] == ["closed"] * 5


def test_no_request_waits_behind_those_that_do_not_get_through(make_request, monkeypatch):
    monkeypatch.setattr(limits, "WORKERS_AT_ONCE", 1)
    running = Bench(make_request, workers=8)
    deaf = running.serve(Peer.wait_gone)
    fine = running.serve(answering(OK + b"Content-Length: 2\r\n\r\nok"))
    for _ in range(3):
        running.start(deaf.url.replace("http:", "https:"))
    tag = running.start(fine.url)
    assert [event[0] for event in running.until_closed(tag)] == ["head", "data", "eof"]
    assert len(running.threads) == 4
    running.close()


def test_a_crowd_that_is_answered_makes_no_crowd_of_threads(make_request):
    running = Bench(make_request, workers=500)
    url = running.serve(answering(OK + b"Content-Length: 2\r\n\r\nok")).url
    request = make_request(url=url)
    running.on_loop(lambda: [running.upstream.start(tag, request) for tag in range(200)])
    assert len(running.threads) <= limits.WORKERS_AT_ONCE
    found = [running.events.next() for _ in range(800)]
    assert sorted(tag for name, tag, *_ in found if name == "eof") == list(range(200))
    running.close()


def test_a_worker_that_idles_ends_and_another_is_made_for_the_next_request(bench, monkeypatch):
    monkeypatch.setattr(limits, "WORKER_IDLE_S", 0.01)
    url = bench.serve(answering(OK + b"Content-Length: 2\r\n\r\nok")).url
    for _ in range(3):
        assert bench.until_closed(bench.start(url))[-1][0] == "eof"
        until(lambda: not bench.threads)


def test_requests_that_come_while_workers_leave_are_all_served(make_request, monkeypatch):
    monkeypatch.setattr(limits, "WORKER_IDLE_S", 0.0)
    running = Bench(make_request, workers=3)
    url = running.serve(answering(OK + b"Content-Length: 2\r\n\r\nok")).url
    tags = {running.start(url) for _ in range(100)}
    while tags:
        event = running.events.next()
        assert event[0] != "failed"
        tags -= {event[1]} if event[0] == "closed" else set()
    running.close()


def test_without_threads_a_request_is_refused_and_what_runs_goes_on(bench, monkeypatch):
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    url = bench.serve(answering(OK + b"Content-Length: 2\r\n\r\nok")).url
    with monkeypatch.context() as patch:
        patch.setattr(workers.threading.Thread, "start", refuse)
        fault = fault_of(bench.until_closed(bench.start(url)))
    assert (fault.code, "no thread" in fault.detail) == ("internal", True)
    assert bench.until_closed(bench.start(url))[-1][0] == "eof"


def test_a_body_that_is_no_stream_is_read_without_rests(bench, monkeypatch):
    monkeypatch.setattr(limits, "READS_PER_S", 0.001)
    monkeypatch.setattr(bench.upstream._rounds, "call_later", lambda *_: pytest.fail("rests"))
    body = b"x" * 400_000
    whole = OK + b"Content-Length: 400000\r\n\r\n" + body
    quiet = StreamMode(wanted=False, lines=False)
    tag = bench.start(bench.serve(answering(whole)).url, stream=quiet)
    assert [event[2] for event in bench.until_closed(tag) if event[0] == "data"] == [body]


def test_chunks_that_came_together_are_one_read(bench):
    pieces = [b"%d;" % number for number in range(20)]
    server = bench.serve(answering(CHUNKED + b"".join(map(chunk, pieces)) + b"0\r\n\r\n"))
    bench.start(server.url)
    assert bench.events.next()[0] == "head"
    assert bench.events.next()[2] == b"".join(pieces)


# -- requests -----------------------------------------------------------------------------------


def captured(bench: Bench, **changes: Any) -> bytes:
    """The raw bytes of one request, read until the relay closed the connection."""
    raw: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK, b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        peer.connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while data := peer.connection.recv(65_536):
                peer.raw += data
        raw.append(peer.raw)
        peer.gone.set()

    server = bench.serve(script)
    url = changes.pop("url", "http://127.0.0.1/api/chat").replace("127.0.0.1", f"127.0.0.1:{server.port}")
    tag = bench.start(url, **changes)
    bench.until_closed(tag)
    assert server.peers[0].gone.wait(PATIENCE_S)
    assert len(server.peers) == 1
    return raw[0].replace(b":%d" % server.port, b"")


def parsed(raw: bytes) -> tuple[h11.Request, bytes]:
    """The one request that a strict server reads from these bytes; anything more is an error."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert connection.trailing_data[0] == b""
    return request, body


def test_the_request_on_the_wire(bench):
    request, body = parsed(
        captured(bench, url="http://127.0.0.1/api/chat?x=%20%2F", headers={"X-A": "b"}, body=b'{"model":"m"}')
    )
    assert (request.method, request.target, body) == (b"POST", b"/api/chat?x=%20%2F", b'{"model":"m"}')
    fields = dict(request.headers)
    assert fields[b"host"] == b"127.0.0.1"
    assert fields[b"accept-encoding"] == b"identity"
    assert fields[b"accept"] == b"*/*"
    assert fields[b"x-a"] == b"b"
    assert fields[b"content-length"] == b"13"
    assert not {b"cookie", b"authorization", b"origin", b"referer", b"transfer-encoding"} & set(fields)


@pytest.mark.parametrize(
    ("method", "body", "length"), [("POST", None, b"0"), ("POST", b"", b"0"), ("GET", None, None)]
)
def test_requests_without_a_body(bench, method, body, length):
    request, sent = parsed(captured(bench, method=method, body=body))
    assert (sent, dict(request.headers).get(b"content-length")) == (b"", length)


def test_accept_of_the_peer_wins(bench):
    request, _ = parsed(captured(bench, headers={"accept": "text/x"}))
    assert [value for name, value in request.headers if name == b"accept"] == [b"text/x"]


HOSTILE_HEADERS: list[dict[str, object]] = [
    {"X": "a\r\nHost: evil"},
    {"X": "a\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"},
    {"X": "a\n Y: folded"},
    {"X": "a\rY: b"},
    {"X": "a\0b"},
    {"X\r\nY": "b"},
    {"X: y\r\nZ": "b"},
    {" X": "b"},
    {"X ": "b"},
    {":path": "/evil"},
    {"X": "é"},
    {"Host": "evil.example", "host": "evil.example", "HOST": "evil.example"},
    {"Content-Length": "0", "content-length": "99999"},
    {"Transfer-Encoding": "chunked", "transfer-encoding": "identity, chunked"},
    {"Transfer-Encoding ": "chunked"},
    {"Connection": "close, Content-Type", "Content-Type": "x/y"},
    {"Connection": "Host, Content-Length"},
    {"Connection": "upgrade", "Upgrade": "h2c", "HTTP2-Settings": "AAA"},
    {"Upgrade": "websocket"},
    {"TE": "trailers", "Trailer": "X-Late"},
    {"Expect": "100-continue"},
    {"Keep-Alive": "timeout=99"},
    {"Proxy-Authorization": "Basic x", "Proxy-Connection": "keep-alive"},
    {"Accept-Encoding": "gzip", "accept-ENCODING": "br"},
    {"X": " \t padded \t "},
    {"X": ""},
    {"X": "\t"},
    {"X": "a" * 8192},
    {"X": 5, "Y": 1.5},
    {"!#$%&'*+-.^_`|~": "token"},
    {"x-a": "1", "X-A": "2"},
    {f"X-{number}": "v" for number in range(64)},
]


def test_whatever_headers_a_peer_gives_the_socket_sees_exactly_one_request(bench):
    body = b"GET /evil HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    passed = 0
    for headers in HOSTILE_HEADERS:
        try:
            kept = wire_headers.from_peer(headers)
        except PeerFault:
            continue
        passed += 1
        request, sent = parsed(captured(bench, headers=kept, body=body))
        names = [name for name, _ in request.headers]
        fields = dict(request.headers)
        assert (request.method, request.target, sent) == (b"POST", b"/api/chat", body)
        assert len(set(names)) == len(names)
        assert (fields[b"host"], fields[b"content-length"]) == (b"127.0.0.1", b"%d" % len(body))
        assert fields[b"accept-encoding"] == b"identity"
        ours = {b"host", b"content-length", b"accept", b"accept-encoding", b"user-agent"}
        assert set(names) - ours <= {name.lower().encode() for name in kept}
        assert not {b"transfer-encoding", b"upgrade", b"te", b"expect", b"proxy-authorization"} & set(names)
    assert passed > len(HOSTILE_HEADERS) // 2


def test_proxies_and_credentials_of_the_environment_are_ignored(bench, monkeypatch, tmp_path):
    proxy = bench.serve(answering(OK + b"Content-Length: 5\r\n\r\nproxy"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login owner password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    raw = captured(bench)
    assert b"authorization" not in raw.lower()
    assert b"proxy" not in raw.lower()
    assert raw.startswith(b"POST /api/chat HTTP/1.1\r\n")
    assert upstream.probe({"a": bench.servers[-1].url})[0]["name"] == "a"
    assert proxy.peers == []


# -- many ---------------------------------------------------------------------------------------


def test_workers_run_side_by_side(make_request):
    bench = Bench(make_request, workers=3)
    together = threading.Barrier(3)

    def script(peer: Peer) -> None:
        peer.read_request()
        together.wait(PATIENCE_S)
        peer.send(OK, b"Content-Length: 2\r\n\r\nhi")

    server = bench.serve(script)
    tags = {bench.start(server.url) for _ in range(3)}
    events = [bench.events.next() for _ in range(12)]
    assert {event[1] for event in events if event[0] == "eof"} == tags
    for tag in tags:
        assert [event[0] for event in events if event[1] == tag] == ["head", "data", "eof", "closed"]
    bench.close()


def test_close_ends_what_runs_and_every_thread(make_request):
    bench = Bench(make_request, workers=2)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(CHUNKED, chunk(b"a"))
        peer.wait_gone()

    server = bench.serve(script)
    tags = {bench.start(server.url) for _ in range(2)}
    events = [bench.events.next() for _ in range(4)]
    assert sorted(event[0] for event in events) == ["data", "data", "head", "head"]
    bench.close()
    closed = [event[1] for event in list(bench.events.queue.queue) if event[0] == "closed"]
    assert set(closed) == tags
    assert all(peer.gone.wait(PATIENCE_S) for peer in server.peers)


# -- health -------------------------------------------------------------------------------------


def test_probe_tells_who_answers(bench):
    fine = bench.serve(answering(OK + b"Content-Length: 2\r\n\r\nhi"))
    missing = bench.serve(answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
    moved = bench.serve(
        answering(b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    )
    broken = bench.serve(answering(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"))
    secure = bench.serve(answering(OK + b"Content-Length: 0\r\n\r\n"), certificate.make("127.0.0.1")[0])
    silent = bench.serve(lambda peer: peer.reset())
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = upstream.probe(
            {
                "g": f"http://127.0.0.1:{unused.getsockname()[1]}",
                "f": silent.url,
                "e": secure.url,
                "d": broken.url,
                "c": moved.url,
                "b": missing.url,
                "a": fine.url,
                "h": "http://host..invalid",
            }
        )
    assert [(entry["name"], entry["ok"]) for entry in found] == [
        ("a", True),
        ("b", True),
        ("c", True),
        ("d", False),
        ("e", True),
        ("f", False),
        ("g", False),
        ("h", False),
    ]
    assert [entry["detail"] for entry in found][:4] == ["HTTP 200", "HTTP 404", "HTTP 302", "HTTP 503"]
    assert all("does not answer" in entry["detail"] for entry in found[5:])


def test_probe_does_not_wait_for_the_body_of_a_redirect(bench):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 9\r\n\r\nx")
        peer.wait_gone()

    server = bench.serve(script)
    assert upstream.probe({"a": server.url}) == [{"name": "a", "ok": True, "detail": "HTTP 302"}]
    assert server.peers[0].gone.wait(PATIENCE_S)


def test_probe_is_not_held_up_by_a_target_that_drips_its_answer(bench, monkeypatch):
    monkeypatch.setattr(upstream.limits, "HEALTH_TIMEOUT_S", 0.3)

    def script(peer: Peer) -> None:
        peer.read_request()
        with contextlib.suppress(OSError):
            peer.send(b"HTTP/1.1 2")
            while True:  # each byte in good time, the head never
                peer.send(b"0")
                time.sleep(0.02)
        peer.gone.set()

    drips, fine = bench.serve(script), bench.serve(answering(OK + b"Content-Length: 0\r\n\r\n"))
    assert upstream.probe({"z": fine.url, "a": drips.url}) == [
        {"name": "a", "ok": False, "detail": "does not answer within 0.3 s"},
        {"name": "z", "ok": True, "detail": "HTTP 200"},
    ]
    assert drips.peers[0].gone.wait(PATIENCE_S)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "probe"])


def test_probe_asks_all_targets_at_once(bench):
    together = threading.Barrier(3)

    def script(peer: Peer) -> None:
        peer.read_request()
        together.wait(PATIENCE_S)
        peer.send(OK, b"Content-Length: 0\r\n\r\n")

    server = bench.serve(script)
    assert [entry["ok"] for entry in upstream.probe(dict.fromkeys("abc", server.url))] == [True] * 3
