"""Whatever a peer or an upstream sends: one relay lives through all of it and serves on every worker after.

The tests of this module share one relay; the last one looks at what is left.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from harness import Relay, running_node
from interop.conformance import Asker, Frame, Stream, fresh
from interop.sdk import Peers
from scripted import Script, Scripted, Visit

from relay.nkn.devnode import certificate

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]

WORKERS = 4
OK = b"HTTP/1.1 200 OK\r\n"
HEAD = OK + b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = b'{"response":"a"}\n'
DONE = b'{"response":"","done":true}\n'
DEEP = b"[" * 100_000
DEEP_LINE = b'{"true":' + DEEP + b"\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


# -- what upstreams do ------------------------------------------------------------------------------


def sends(*parts: bytes) -> Script:
    """Says this and closes."""

    async def script(visit: Visit) -> None:
        await visit.send(*parts)

    return script


def resets(*parts: bytes) -> Script:
    """Says this and resets the connection."""

    async def script(visit: Visit) -> None:
        if parts:
            await visit.send(*parts)
            await asyncio.sleep(0.01)  # a reset throws away what was not read yet
        visit.reset()

    return script


def stalls(*parts: bytes) -> Script:
    """Says this and then nothing more."""

    async def script(visit: Visit) -> None:
        await visit.send(*parts)
        await asyncio.Event().wait()

    return script


def floods(first: bytes, piece: bytes) -> Script:
    """Says the same again and again until the other side leaves."""

    async def script(visit: Visit) -> None:
        await visit.send(first)
        while True:
            await visit.send(piece)
            await asyncio.sleep(0)

    return script


async def hold(visit: Visit) -> None:
    """A stream in good order that waits in its middle."""
    await visit.head()
    await visit.chunk(LINE)
    await visit.go_on.wait()
    await visit.rest(DONE)


async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server of http where https was named."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    writer.close()


GOOD = chunk(LINE) + chunk(DONE) + LAST
JSON = OK + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
PACKED = gzip.compress(b'{"embedding":[]}', mtime=0)


@dataclass(frozen=True)
class Case:
    """What an upstream does, and how the two kinds of answer end.

    Attributes:
        code: of both kinds; None is ok.
        whole: of an answer without stream, where it differs.
        body: of both kinds, if it is known.
        half: of a line that broke off; a stream leaves it out.
    """

    script: Script
    code: str | None
    whole: str | None = field(default="same")
    body: bytes | None = None
    half: bytes = b""
    path: str = "/api/generate"
    timeout_ms: int = 20_000


CASES: dict[str, Case] = {
    "resets before the head": Case(resets(), "upstream_broke"),
    "resets in the head": Case(resets(OK + b"Content-"), "upstream_broke"),
    "resets in the body": Case(resets(HEAD + chunk(LINE)), "upstream_broke", body=LINE),
    "closes before the head": Case(sends(), "upstream_broke"),
    "closes in the head": Case(sends(OK + b"Content-"), "upstream_broke"),
    "closes in a line": Case(
        sends(HEAD + chunk(LINE + b'{"resp')), "upstream_broke", body=LINE, half=b'{"resp'
    ),
    "ends in a line": Case(
        sends(HEAD + chunk(LINE + b'{"resp') + LAST), "upstream_broke", None, body=LINE + b'{"resp'
    ),
    "stalls before the head": Case(stalls(), "timeout", timeout_ms=120),
    "stalls in the head": Case(stalls(OK + b"Content-"), "timeout", timeout_ms=120),
    "stalls in the body": Case(stalls(HEAD + chunk(LINE)), "timeout", body=LINE, timeout_ms=120),
    "stalls in a chunk": Case(stalls(HEAD + b"ff\r\n" + LINE), "timeout", body=LINE, timeout_ms=120),
    "a line of 8 MB": Case(
        sends(HEAD + chunk(b"x" * 8_000_000 + b"\n") + LAST), "line_too_long", "truncated"
    ),
    "a line nested 100,000 deep": Case(
        sends(HEAD + chunk(DEEP_LINE + DONE) + LAST), None, body=DEEP_LINE + DONE
    ),
    "JSON nested 100,000 deep": Case(sends(JSON % (len(DEEP), DEEP)), None, body=DEEP, path="/api/embed"),
    "JSON with NaN": Case(sends(JSON % (7, b"[NaN,1]")), None, body=b"[NaN,1]", path="/api/embed"),
    "a number of 100,000 digits": Case(
        sends(JSON % (100_000, b"9" * 100_000)), None, body=b"9" * 100_000, path="/api/embed"
    ),
    "lines that are not UTF-8": Case(
        sends(HEAD + chunk(b"\xff\xfe\n" + LINE + DONE) + LAST), None, body=b"\xff\xfe\n" + LINE + DONE
    ),
    "a line cut inside a character": Case(
        sends(HEAD + chunk(DONE + "é".encode()[:1]) + LAST), None, body=DONE + "é".encode()[:1]
    ),
    "a compressed body": Case(
        sends(OK + b"Content-Encoding: gzip\r\nContent-Type: application/json\r\n"
              b"Content-Length: %d\r\n\r\n%s" % (len(PACKED), PACKED)),
        None, body=PACKED, path="/api/embed",
    ),
    "Content-Length too large": Case(
        sends(OK + b"Content-Type: application/x-ndjson\r\nContent-Length: 99\r\n\r\n" + DONE),
        "upstream_broke", body=DONE,
    ),
    "Content-Length too small": Case(
        sends(OK + b"Content-Type: application/x-ndjson\r\nContent-Length: 9\r\n\r\n" + DONE),
        "upstream_broke", None, body=DONE[:9],
    ),
    "Content-Length that is no number": Case(
        sends(OK + b"Content-Type: application/x-ndjson\r\nContent-Length: many\r\n\r\n" + LINE + DONE),
        None, body=LINE + DONE,
    ),
    "two Content-Lengths": Case(
        sends(OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), "upstream_broke"
    ),
    "headers without end": Case(floods(OK, b"X-More: yes\r\n"), "upstream_broke"),
    "a header without end": Case(floods(OK + b"X-Long: ", b"y" * 4096), "upstream_broke"),
    "a header line that is none": Case(
        sends(OK + b"no colon here\r\nTransfer-Encoding: chunked\r\n\r\n" + GOOD), "upstream_broke"
    ),
    "100, 102 and 103 before the answer": Case(
        sends(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n",
              b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", HEAD + GOOD),
        None, body=LINE + DONE,
    ),
    "103 and nothing more": Case(
        stalls(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), "timeout", timeout_ms=120
    ),
    "103 without end": Case(floods(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "timeout", timeout_ms=120),
    "another protocol": Case(
        sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "upstream_broke"
    ),
    "no HTTP at all": Case(sends(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "upstream_broke"),
    "an unknown transfer encoding": Case(
        sends(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + GOOD), "upstream_broke"
    ),
    "chunk extensions and trailers": Case(
        sends(HEAD + b'11;a=b;c="d"\r\n' + LINE + b"\r\n" + chunk(DONE) + b"0;x\r\nX-Trailer: y\r\n\r\n"),
        None, body=LINE + DONE,
    ),
    "a chunk size that is none": Case(sends(HEAD + b"zz\r\n" + LINE), "upstream_broke"),
    "a chunk size below zero": Case(sends(HEAD + b"-1\r\n" + LINE), "upstream_broke"),
    "a chunk size beyond all bounds": Case(sends(HEAD + b"f" * 40 + b"\r\n" + LINE), "upstream_broke"),
    "a chunk size without end": Case(floods(HEAD, b"1" * 4096), "upstream_broke"),
    "no last chunk": Case(sends(HEAD + chunk(LINE + DONE)), "upstream_broke", body=LINE + DONE),
    "trailers without end": Case(
        floods(HEAD + chunk(LINE + DONE) + b"0\r\n", b"X: y\r\n"), "upstream_broke", body=LINE + DONE
    ),
}  # fmt: skip


@dataclass
class Stage:
    relay: Relay
    node: str
    upstream: Scripted
    before: tuple[int, int]


def left(relay: Relay) -> tuple[int, int]:
    """Open file descriptors and threads of the relay."""
    proc = Path("/proc") / str(relay.process.pid)
    if not proc.exists():
        pytest.skip("open files and threads of a process are only read from /proc, which this system has not")
    return len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, shared_peers: Peers) -> AsyncIterator[Stage]:
    scripts = {name.replace(" ", "-"): case.script for name, case in CASES.items()} | {"hold": hold}
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with (
            running_node() as node,
            Scripted(scripts) as upstream,
            Scripted(tls=certificate.make("127.0.0.1")[0]) as secure,
            await asyncio.start_server(no_tls, "127.0.0.1", 0) as mistaken,
        ):
            targets = {
                "ollama": upstream.url,
                "secure": secure.url,
                "mistaken": f"https://127.0.0.1:{mistaken.sockets[0].getsockname()[1]}",
                "down": f"http://127.0.0.1:{unused.getsockname()[1]}",
            }
            async with Relay(
                tmp_path_factory.mktemp("relay"),
                node,
                "",
                RELAY_TARGETS=json.dumps(targets),
                RELAY_WORKERS=str(WORKERS),
                RELAY_PEER_STREAMS=str(WORKERS),
            ) as relay:
                found = Stage(relay, node, upstream, (0, 0))
                asker = Asker(shared_peers, await shared_peers.open("first", node), relay.address)
                await on_every_worker(asker, found)
                found.before = left(relay)
                yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asker(stage: Stage, shared_peers: Peers) -> Asker:
    return Asker(
        shared_peers, await shared_peers.open("asker", stage.node, numSubClients=2), stage.relay.address
    )


async def on_every_worker(asker: Asker, stage: Stage) -> None:
    """As many streams at once as there are workers, each whole."""
    first = len(stage.upstream.visits)
    ids = [fresh() for _ in range(WORKERS)]
    for identifier in ids:
        req = {"path": "/api/generate?case=hold", "method": "POST", "json": {}, "stream": "chunks"}
        await asker.tell(event="relay.http", id=identifier, req=req)
    for identifier in ids:
        await asker.lines(identifier, 1)
    assert stage.upstream.open == WORKERS
    for visit in stage.upstream.visits[first:]:
        visit.go_on.set()
    for identifier in ids:
        stream = Stream(await asker.whole(identifier))
        assert (stream.end["ok"], stream.body) == (True, LINE + DONE)


def ended(frame: Frame) -> str | None:
    """The code of a terminal frame; None if it is ok."""
    assert frame["ok"] is (frame["error"] is None)
    return frame.get("code")


# -- upstreams ------------------------------------------------------------------------------------


def asked(name: str) -> dict[str, Any]:
    case = CASES[name]
    path = f"{case.path}?case={name.replace(' ', '-')}".replace(",-", "%2C-").replace(",", "%2C")
    return {"path": path, "method": "POST", "json": {"model": "m"}, "timeout_ms": case.timeout_ms}


@pytest.mark.parametrize("name", CASES)
async def test_an_upstream_and_a_stream(asker: Asker, name: str) -> None:
    case = CASES[name]
    stream = await asker.stream(**asked(name))
    assert (stream.events.count("end"), stream.events.count("begin") <= 1) == (1, True)
    assert ended(stream.end) == case.code
    if case.body is not None:
        assert stream.body == case.body


@pytest.mark.parametrize("name", CASES)
async def test_an_upstream_and_an_answer_without_stream(asker: Asker, name: str) -> None:
    case = CASES[name]
    answer = await asker.response(**asked(name))
    assert ended(answer) == (case.code if case.whole == "same" else case.whole)
    if case.body is not None:
        assert base64.b64decode(answer["body_b64"]) == case.body + case.half
        assert answer["json"] is None


@pytest.mark.parametrize("stream", [None, "lines"])
@pytest.mark.parametrize(
    ("service", "words"), [("down", "running"), ("secure", "certificate"), ("mistaken", "TLS")]
)
async def test_a_target_that_cannot_be_reached(
    asker: Asker, service: str, words: str, stream: str | None
) -> None:
    [answer] = await asker.http(service=service, path="/api/tags", stream=stream)
    assert ended(answer) == "upstream_refused"
    assert service in answer["error"]
    assert words in answer["error"]


# -- peers ----------------------------------------------------------------------------------------


def http(**req: Any) -> str:
    return json.dumps({"event": "relay.http", "id": "ID", "req": {"path": "/api/tags", **req}})


POST = {"path": "/api/generate", "method": "POST"}
LONE = "\ud800"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"event":"relay.http","id":"ID","req":' + "[" * 100_000, id="not closed"),
        pytest.param('{"event":"relay.http","id":"ID","req":{"json":' + "[" * 100_000 + "]" * 100_000 + "}}",
                     id="closed"),
        pytest.param('{"event":"relay.http","id":"ID","req":' + '{"a":' * 100_000, id="objects"),
        pytest.param('{"event":"relay.ping","id":"ID","ts_peer":NaN}', id="NaN"),
        pytest.param('{"event":"relay.http","id":"ID","req":{"timeout_ms":Infinity}}', id="Infinity"),
        pytest.param('{"event":"relay.http","id":"ID","req":{"json":[-Infinity]}}', id="-Infinity"),
        pytest.param('{"event":"relay.ping","id":"ID","ts_peer":' + "9" * 100_000 + "}", id="digits"),
        pytest.param('{"event":"relay.http","id":' + "9" * 100_000 + "}", id="digits in id"),
        pytest.param('{"event":"relay.ping","id":"ID","x":"\\ud8', id="half an escape"),
        pytest.param('{"event":"relay.ping","id":"ID"}\x00', id="a NUL behind"),
        pytest.param("x" * 1_000_000, id="a megabyte of nothing"),
    ],
)  # fmt: skip
async def test_what_is_no_json_is_dropped(asker: Asker, stage: Stage, text: str) -> None:
    identifier, before = fresh(), len(stage.relay.log)
    assert await asker.peer.send(asker.address, text.replace("ID", identifier)) is None
    await stage.relay.tells("reason=not_json", before)
    assert asker.so_far(identifier) == []


REFUSED = {
    "an unknown service": http(service="nobody"),
    "a lone surrogate in service": http(service=LONE),
    "a lone surrogate in path": http(path=f"/api/{LONE}"),
    "a lone surrogate in url": http(url=f"UPSTREAM/api/{LONE}"),
    "a lone surrogate in method": http(method=LONE),
    "a lone surrogate in a header's name": http(headers={f"X-{LONE}": "a"}),
    "a lone surrogate in a header": http(headers={"X-A": LONE}),
    "a lone surrogate in data": http(**POST, data=LONE),
    "a lone surrogate in body_b64": http(**POST, body_b64=LONE),
    "a lone surrogate in verify": http(verify=LONE),
    "a number too large for a float": http(**POST, json=0).replace('"json": 0', '"json": [1e999]'),
    "a body that is no object": http(**POST, json=[1]),
    "two bodies": http(**POST, json={}, data="{}"),
    "a path of 100,000 characters": http(path="/" + "a" * 100_000),
    "a header of 100,000 characters": http(headers={"X-A": "a" * 100_000}),
    "100,000 headers": http(headers={f"X-{number}": "a" for number in range(100_000)}),
    "a header with a line feed": http(headers={"X-A": "a\r\nX-B: b"}),
    "timeout_ms below zero": http(timeout_ms=-1),
    "timeout_ms that is text": http(timeout_ms="1"),
    "headers that are no object": http(headers=[["X", "y"]]),
    "a method that is none": http(method={"GET": 1}),
    "verify that is neither": http(verify="perhaps"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_understood_is_refused(
    asker: Asker, stage: Stage, name: str, stream: bool
) -> None:
    identifier, before = fresh(), len(stage.upstream.visits)
    text = REFUSED[name].replace("ID", identifier).replace("UPSTREAM", stage.upstream.url)
    if stream:
        text = text.replace('"req": {', '"req": {"stream": "chunks", ')
    assert await asker.peer.send(asker.address, text) is None
    [answer] = await asker.whole(identifier)
    assert (answer["event"].endswith(".end"), ended(answer)) == (stream, "bad_request")
    assert len(answer["error"]) < 300
    assert len(stage.upstream.visits) == before


@pytest.mark.parametrize(
    "identifier",
    [LONE, "x" * 100_000, "x" * 257, 2**53, -(2**53), 1.5, True, [], {}, None],
    ids=lambda value: repr(value)[:12],
)
async def test_an_id_that_cannot_be_echoed_is_refused_without_one(asker: Asker, identifier: object) -> None:
    heard = len(asker.so_far(None))
    await asker.tell(event="relay.http", id=identifier, req={"path": "/api/tags"})
    answer = (await asker.heard(None, heard + 1))[-1]
    assert (answer["event"], ended(answer), "id" in answer) == ("relay.response", "bad_request", False)


async def test_a_lone_surrogate_in_json_reaches_the_upstream_as_it_was_written(
    asker: Asker, stage: Stage
) -> None:
    stream = await asker.stream(json={"prompt": LONE})
    assert stream.end["ok"]
    assert b'"\\ud800"' in stage.upstream.last.body


# -- after all of it --------------------------------------------------------------------------------


async def test_after_all_of_it_every_worker_streams_and_nothing_is_left_open(
    asker: Asker, stage: Stage
) -> None:
    await on_every_worker(asker, stage)
    assert (await asker.call("relay.health"))["services"][-2] == {
        "name": "ollama",
        "ok": True,
        "detail": "HTTP 200",
    }
    async with asyncio.timeout(10):
        while left(stage.relay) != stage.before or stage.upstream.open:
            await asyncio.sleep(0.02)
    assert "Traceback" not in stage.relay.log
    assert "code=internal" not in stage.relay.log
