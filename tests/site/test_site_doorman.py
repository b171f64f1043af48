"""doorman: TLS versions, plain HTTP, slow and silent and greedy connections, and an end at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
import warnings
from pathlib import Path

import pytest
from answers import STRICT
from bounds import Patience
from doorman import _Protocol
from keeping import Kept
from places import DEADLINE_S, LIBRARY_URL, OWN_URLS, PAGE, Serving
from rawtls import Answer, Line, ask, context, get

HANDSHAKE = b"\x16"
SHORT = Patience(handshake_s=0.3, head_s=0.3, idle_s=0.3, piece_s=0.3, close_s=0.3, connections=8)


# -- TLS --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "cipher"),
    [
        ("TLSv1_2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("TLSv1_2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("TLSv1_3", ""),
    ],
)
async def test_new_versions_are_spoken(serving: Serving, version: str, cipher: str) -> None:
    client = context()
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    client.set_alpn_protocols(["h2", "http/1.1"])
    if cipher:
        client.set_ciphers(cipher)
    async with await Line.open(serving.port, client) as line:
        secured = line.writer.get_extra_info("ssl_object")
        assert secured.version() == version.replace("_", ".")
        assert secured.selected_alpn_protocol() == "http/1.1"
        assert secured.compression() is None
        assert (await line.ask(get("/"))).body == PAGE


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        ("TLSv1", "ALL:@SECLEVEL=0"),
        ("TLSv1_1", "ALL:@SECLEVEL=0"),
        ("TLSv1_2", "AES128-GCM-SHA256"),
        ("TLSv1_2", "ECDHE-ECDSA-AES128-SHA256"),
        ("TLSv1_2", "ECDHE-ECDSA-AES256-SHA"),
        ("TLSv1_2", "AECDH-AES128-SHA:@SECLEVEL=0"),
    ],
)
async def test_old_versions_and_ciphers_are_refused_by_the_server(
    serving: Serving, version: str, ciphers: str
) -> None:
    client = context()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    client.set_ciphers(ciphers)
    assert await first_flight(serving.port, client) != HANDSHAKE
    await serving.settles(open_=0)


async def test_what_is_spoken_is_answered_with_a_handshake(serving: Serving) -> None:
    client = context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await first_flight(serving.port, client) == HANDSHAKE


async def first_flight(port: int, client: ssl.SSLContext) -> bytes:
    """The kind of the record a server answers a client's first words with; empty if it only closes.

    By hand, since a client of the same library might refuse by itself; here its offer is seen to leave.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    assert hello[:1] == HANDSHAKE
    async with await Line.open(port, None) as line:
        line.writer.write(hello)
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                return await line.reader.read(1)
    return b""


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
async def test_who_trusts_the_certificate_sees_no_warning(serving: Serving, kept: Kept, name: str) -> None:
    async with await Line.open(serving.port, context(kept.public), name) as line:
        assert (await line.ask(get("/"))).status == 200


async def test_the_certificate_is_for_no_other_name(serving: Serving, kept: Kept) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'evil\.example'"):
        await Line.open(serving.port, context(kept.public), "evil.example")


@pytest.mark.parametrize(
    "data",
    [b"\x16", b"\x16\x03\x01\xff\xff", b"\x16\x03\x00\x00\x05\x01\x00\x00\x01\x00", b"\x16" * 70_000],
    ids=["a byte", "a head", "SSL 3", "rubbish"],
)
async def test_what_begins_like_tls_and_is_none_ends_quietly(folder: Path, kept: Kept, data: bytes) -> None:
    async with Serving(folder, kept, patience=SHORT) as serving:
        async with await Line.open(serving.port, None) as line:
            line.writer.write(data)
            assert len(await line.rest()) < 100  # a TLS alert or nothing
        await serving.settles(open_=0)
        assert (await ask(serving.port, get("/")))[0].status == 200


# -- HTTP without TLS -------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        get("/"),
        get("/app.js?ticket=secret", host="evil.example"),
        get("/", method="POST") + b"x" * 50_000,
        get("/", method="HEAD"),
        b"GET /\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x80\x2e\x01\x00\x02",  # SSL 2
        b"\x00" * 100,
        b"G",
    ],
)
async def test_without_tls_the_answer_names_the_https_url(serving: Serving, data: bytes) -> None:
    async with await Line.open(serving.port, None) as line:
        line.writer.write(data)
        answer = await line.answer(headless=data.startswith(b"HEAD "))
        assert await line.rest() == b""
    assert answer.status == 400
    said = f"This port speaks HTTPS: https://127.0.0.1:{serving.port}/\n".encode()
    assert answer.body == (b"" if data.startswith(b"HEAD ") else said)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["connection"] == "close"
    assert "location" not in answer.headers
    assert "strict-transport-security" not in answer.headers
    assert not any("evil" in value for value in answer.headers.values())
    for name, value in STRICT:
        assert answer.headers[name.lower()] == value
    await serving.settles(open_=0)


# -- connections that are kept ----------------------------------------------------------


async def test_a_connection_serves_many_requests_also_sent_ahead(serving: Serving) -> None:
    async with await Line.open(serving.port, context()) as line:
        paths = [*OWN_URLS, "/missing", *OWN_URLS] * 3
        line.writer.write(b"".join(get(path) for path in paths))
        answers = [await line.answer() for _ in paths]
    assert [answer.status for answer in answers] == [404 if path == "/missing" else 200 for path in paths]
    assert serving.doorman.statistics()["taken"] == 1


@pytest.mark.parametrize(
    "request_", [get("/", "Connection: close"), b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"]
)
async def test_who_asks_for_one_answer_gets_one(serving: Serving, request_: bytes) -> None:
    answer, behind = await ask(serving.port, request_ + get("/app.js"))
    assert (answer.status, answer.headers["connection"], behind) == (200, "close", b"")


async def test_a_head_in_single_bytes(serving: Serving) -> None:
    async with await Line.open(serving.port, context()) as line:
        for byte in get("/"):
            line.writer.write(bytes([byte]))
            await line.writer.drain()
        assert (await line.answer()).body == PAGE


async def test_who_leaves_in_the_middle_is_forgotten(serving: Serving) -> None:
    for data in (b"", b"GET / HT", get("/")[:-2], get(LIBRARY_URL)):
        async with await Line.open(serving.port, context()) as line:
            line.writer.write(data)
            await line.writer.drain()
    for data in (b"", b"\x16\x03\x01", b"GET"):
        async with await Line.open(serving.port, None) as line:
            line.writer.write(data)
            await line.writer.drain()
    await serving.settles(open_=0)


# -- slow, silent, greedy ---------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["nothing", "a byte", "a head"]
)
async def test_a_handshake_that_does_not_come_is_not_waited_for(
    folder: Path, kept: Kept, data: bytes
) -> None:
    async with Serving(folder, kept, patience=SHORT) as serving, await Line.open(serving.port, None) as line:
        line.writer.write(data)
        assert await line.rest() == b""
        await serving.settles(open_=0)


@pytest.mark.parametrize("rest", [b"", b"X: 1\r\n" * 3], ids=["at once", "after some headers"])
async def test_a_head_that_drips_is_given_up(folder: Path, kept: Kept, rest: bytes) -> None:
    async with (
        Serving(folder, kept, patience=SHORT) as serving,
        await Line.open(serving.port, context()) as line,
    ):
        line.writer.write(get("/")[:-2] + rest + b"X-Drip: ")
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while not line.reader._buffer and time.monotonic() - began < DEADLINE_S:
                line.writer.write(b"a")
                await line.writer.drain()
                await asyncio.sleep(0.02)
        answer = await line.answer()
        assert answer.status == 408
        assert answer.headers["connection"] == "close"
        await serving.settles(open_=0)


async def test_an_idle_connection_is_closed_in_order(folder: Path, kept: Kept) -> None:
    async with (
        Serving(folder, kept, patience=SHORT) as serving,
        await Line.open(serving.port, context()) as line,
    ):
        assert (await line.ask(get("/"))).status == 200
        assert await line.rest() == b""  # a TLS close and no words
        await serving.settles(open_=0)


async def test_who_does_not_read_is_given_up(folder: Path, kept: Kept) -> None:
    (folder / "large.js").write_bytes(b"/* a large file */\n" * 500_000)
    async with (
        Serving(folder, kept, patience=SHORT) as serving,
        await Line.open(serving.port, context()) as line,
    ):
        line.writer.transport.pause_reading()
        line.writer.write(get("/large.js"))
        await serving.settles(open_=1)
        await serving.settles(open_=0)


async def test_who_asks_and_never_reads_is_not_read_either(serving: Serving) -> None:
    """Answers to requests sent ahead are not piled up."""
    async with await Line.open(serving.port, context()) as line:
        line.writer.transport.pause_reading()
        line.writer.write(get("/", method="HEAD") * 100_000)
        before = -1
        async with asyncio.timeout(60):
            while before < serving.answers or not before:
                before = serving.answers
                for _ in range(20):
                    await asyncio.sleep(0.02)
        assert 0 < serving.answers < 50_000  # as many as the system's buffers hold, and no more


async def test_after_a_refusal_a_flood_is_read_for_a_moment_only(serving: Serving) -> None:
    async with await Line.open(serving.port, context()) as line:
        with contextlib.suppress(OSError):
            async with asyncio.timeout(DEADLINE_S):
                line.writer.write(get("/", "Content-Length: 999999999999", method="POST"))
                while not line.writer.transport.is_closing():
                    line.writer.write(b"x" * 10_000)
                    await line.writer.drain()
                    await asyncio.sleep(0.01)
        await serving.settles(open_=0)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/", "X: " + "a" * 20_000), 431),
        (get("/", "Content-Length: 1000000", method="POST"), 405),
        (get("/", "Content-Length: 1000000"), 413),
        (b"POST / HTTP/9.9\r\n\r\n", 505),
    ],
)
async def test_a_refusal_arrives_though_more_is_being_sent(
    serving: Serving, request_: bytes, status: int
) -> None:
    """The server goes on reading while something comes: closed at once, the connection would be reset."""
    async with await Line.open(serving.port, context()) as line:
        assert (await line.ask(request_)).status == status
        for _ in range(20):
            line.writer.write(b"x" * 10_000)
            await line.writer.drain()
            await asyncio.sleep(0.01)
            assert not line.reader.at_eof()
        assert await line.rest() == b""


# -- many -------------------------------------------------------------------------------


async def test_one_more_than_there_may_be_closes_the_one_without_progress_for_longest(
    folder: Path, kept: Kept
) -> None:
    patience = Patience(connections=4)
    async with Serving(folder, kept, patience=patience) as serving, contextlib.AsyncExitStack() as stack:
        first, second, third, fourth = [
            await stack.enter_async_context(await Line.open(serving.port, context())) for _ in range(4)
        ]
        await serving.settles(open_=4)
        assert (await first.ask(get("/"))).status == 200  # so the second has waited for longest
        fifth = await stack.enter_async_context(await Line.open(serving.port, context()))
        assert (await fifth.ask(get("/"))).status == 200
        assert await second.rest() == b""
        for line in (first, third, fourth):
            assert (await line.ask(get("/"))).status == 200
        assert serving.doorman.statistics() == {"open": 4, "taken": 5, "evicted": 1}


async def test_silent_connections_keep_nobody_out(serving: Serving) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(300):
            await stack.enter_async_context(await Line.open(serving.port, None))
        answer, _ = await ask(serving.port, get("/"))
        assert (answer.status, answer.body) == (200, PAGE)
        counts = serving.doorman.statistics()
        assert counts["open"] <= 256
        assert counts["evicted"] >= 300 + 1 - 256
    await serving.settles(open_=0)


async def test_many_at_once_are_all_served(serving: Serving) -> None:
    client = context()

    async def one(number: int) -> Answer:
        async with await Line.open(serving.port, client) as line:
            return await line.ask(get(LIBRARY_URL if number % 4 == 0 else "/"))

    answers = await asyncio.gather(*(one(number) for number in range(60)))
    assert [answer.status for answer in answers] == [200] * 60
    assert serving.doorman.statistics()["evicted"] == 0


async def test_a_server_without_descriptors_waits_and_goes_on(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = serving.doorman._listener
    failures = [OSError(24, "Too many open files"), ConnectionAbortedError(), BlockingIOError()]

    class Sparing:
        fileno = listener.fileno

        def accept(self) -> tuple[socket.socket, object]:
            if failures:
                raise failures.pop()
            return listener.accept()

    monkeypatch.setattr(serving.doorman, "_listener", Sparing())
    for _ in range(2):  # the first was being waited for already
        assert (await ask(serving.port, get("/")))[0].status == 200
    assert not failures


async def test_at_the_end_every_connection_ends_at_once(folder: Path, kept: Kept) -> None:
    (folder / "large.js").write_bytes(b"/* a large file */\n" * 500_000)
    async with contextlib.AsyncExitStack() as stack:
        async with Serving(folder, kept) as serving:
            lines = [
                await stack.enter_async_context(await Line.open(serving.port, tls))
                for tls in (None, None, context(), context(), context())
            ]
            lines[1].writer.write(b"\x16\x03\x01")
            lines[3].writer.write(b"GET / HTTP")
            lines[4].writer.transport.pause_reading()
            lines[4].writer.write(get("/large.js"))
            await serving.settles(open_=5)
            began = time.monotonic()
        assert time.monotonic() - began < 5  # not the 10 or 30 seconds they might have taken
        for line in lines[:4]:
            assert await line.rest() == b""
        with pytest.raises(ConnectionError):
            await Line.open(serving.port, None)


async def test_a_connection_given_up_before_it_was_made_is_aborted_when_it_is() -> None:
    class Transport(asyncio.WriteTransport):
        aborted = 0

        def abort(self) -> None:
            self.aborted += 1

        def get_extra_info(self, name: str, default: object = None) -> object:
            return default

    early, late = Transport(), Transport()
    protocol = _Protocol(asyncio.StreamReader())
    protocol.give_up()
    protocol.connection_made(early)
    other = _Protocol(asyncio.StreamReader())
    other.connection_made(late)
    assert (early.aborted, late.aborted) == (1, 0)
    other.give_up()
    assert (early.aborted, late.aborted) == (1, 1)


@pytest.mark.parametrize("turns", range(0, 48, 3))
async def test_in_whatever_turn_of_the_loop_the_end_comes(folder: Path, kept: Kept, turns: int) -> None:
    """Also in the middle of a handshake, which asyncio would finish, or not begin to end."""
    client = context()

    async def visit() -> bytes:
        async with await Line.open(serving.port, client) as line:
            line.writer.write(get("/"))
            return await line.rest()

    async with Serving(folder, kept) as serving:
        visits = [asyncio.create_task(visit()) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
    began = time.monotonic()
    found = await asyncio.gather(*visits, return_exceptions=True)
    assert time.monotonic() - began < 5
    assert all(isinstance(each, bytes | OSError) for each in found)
