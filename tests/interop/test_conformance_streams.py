"""docs/protocol.md, table "Conformance", rows F and B: frames and the bodies in them, read by the SDK."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from harness import Relay, running_node
from interop.conformance import Asker, Stage, Stream, fresh
from interop.sdk import Peers
from scripted import NDJSON, SSE, Script, Scripted, Visit

from wire import limits

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]

DONE = b'{"response":"","done":true}\n'
WORDS = [b'{"response":"w%d","done":false}\n' % number for number in range(100)]
SPACED = (
    b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n: comment\n\nevent: x\r\ndata: "\xc3\xa9"\r\n\r\n'
    b"data: [DONE]\n\n"
)
MIXED = b'{"response":"a"}\n\xff\xfe raw\n{"response":"b"}\n\x00'
PICTURE = bytes(range(256)) * 400
LONG = b'{"response":"' + b"x" * 3_000_000 + b'","done":true}\n'
MANY_LONG = b'{"response":"%s"}\n' % (b"z" * 30_000) * 8 + DONE


def answers(kind: str, *pieces: bytes, status: str = "200 OK", **headers: str) -> Script:
    async def script(visit: Visit) -> None:
        await visit.whole(kind, *pieces, status=status, **headers)

    return script


async def _quiet(visit: Visit) -> None:
    """Head, one line, and nothing until it is told to go on."""
    await visit.head()
    await visit.chunk(WORDS[0])
    await visit.go_on.wait()
    await visit.rest(DONE)


async def _late(visit: Visit) -> None:
    """A model that is being loaded: not even a head until it is told to go on."""
    await visit.go_on.wait()
    await visit.whole(NDJSON, WORDS[0], DONE)


async def _stepwise(visit: Visit) -> None:
    """One line each time that it is told to go on."""
    await visit.head()
    for line in [*WORDS[:5], DONE]:
        await visit.chunk(line)
        await visit.go_on.wait()
        visit.go_on.clear()
    await visit.rest()


async def _resets(visit: Visit) -> None:
    await visit.head()
    await visit.chunk(WORDS[0])
    await visit.go_on.wait()
    visit.reset()


async def _dies(visit: Visit) -> None:
    """As Ollama when its runner dies: HTTP ends well, the stream has no end mark."""
    await visit.whole(NDJSON, WORDS[0])


async def _too_long(visit: Visit) -> None:
    await visit.head()
    await visit.chunk(WORDS[0])
    for _ in range(128):
        await visit.chunk(b"y" * 65_536)
    await visit.rest(b"\n" + DONE)


SCRIPTS: dict[str, Script] = {
    "hundred": answers(NDJSON, *WORDS, DONE),
    "at-once": answers(NDJSON, b"".join(WORDS) + DONE),
    "spaced": answers(SSE, SPACED[:30], SPACED[30:95], SPACED[95:]),
    "unfinished": answers(NDJSON, WORDS[0], DONE + b"{"),
    "mixed": answers(NDJSON, MIXED),
    "picture": answers("image/png", PICTURE),
    "plain": answers("text/plain; charset=utf-8", b"a\nb\nc"),
    "long": answers(NDJSON, LONG),
    "many-long": answers(NDJSON, MANY_LONG),
    "eot": answers(NDJSON, b'{"response":"bye<|eot_id|>"}\n'),
    "s": answers(SSE, b'data: {"choices":[{"delta":{"content":"</s>"}}]}\n\n'),
    "missing": answers("application/json", b'{"error":"model not found"}', status="404 Not Found"),
    "headers": answers(NDJSON, DONE, X_Two="a", CONTENT_LANGUAGE="de", Set_Cookie="owner=1"),
    "large": answers("application/json", b"[", b" " * 2_200_000, b"]"),
    "binary": answers("application/octet-stream", b"\x00\xff"),
    "quiet": _quiet,
    "late": _late,
    "stepwise": _stepwise,
    "resets": _resets,
    "dies": _dies,
    "too-long": _too_long,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("relay")
    async with (
        running_node() as node,
        Scripted(SCRIPTS) as upstream,
        Relay(folder, node, upstream.url, RELAY_KEEPALIVE_S="0.2") as relay,
    ):
        yield Stage(node, relay, upstream)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["client", "multi"])
async def asker(request: pytest.FixtureRequest, stage: Stage, shared_peers: Peers) -> Asker:
    shape = {"client": {}, "multi": {"numSubClients": 2}}[request.param]
    return Asker(
        shared_peers, await shared_peers.open(request.param, stage.node, **shape), stage.relay.address
    )


async def begin(asker: Asker, case: str, **req: Any) -> str:
    """Send a streaming request and return its id at once."""
    identifier = fresh()
    asked = {"path": f"/api/generate?case={case}", "method": "POST", "json": {}, "stream": "chunks"} | req
    await asker.tell(event="relay.http", id=identifier, req=asked)
    return identifier


async def read(asker: Asker, case: str, **req: Any) -> Stream:
    return await asker.stream(path=f"/api/generate?case={case}", **req)


# -- F: frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["hundred", "picture", "spaced", "missing", "resets"])
async def test_f1_begin_once_end_once_and_nothing_after_it(asker: Asker, stage: Stage, case: str) -> None:
    identifier = await begin(asker, case)
    if case == "resets":
        await asker.lines(identifier, 1)
        stage.upstream.visits[-1].go_on.set()
    stream = Stream(await asker.whole(identifier))
    assert (stream.events.count("begin"), stream.events.count("end")) == (1, 1)
    assert set(stream.events) <= {"begin", "lines", "chunk", "keepalive", "end"}
    assert sorted(stream.numbered) == list(range(1, stream.end["last_seq"] + 1))
    await asker.silence()
    assert len(asker.so_far(identifier)) == len(stream.frames)


@pytest.mark.parametrize(
    ("req", "code"),
    [
        ({"path": "/api/pull"}, "denied"),
        ({"service": "nobody"}, "bad_request"),
        ({"path": "/api/chat\r\nX: y"}, "bad_request"),
        ({"path": "/api/chat?case=dies"}, "upstream_broke"),
        ({"path": "/api/chat?case=late", "timeout_ms": 60}, "timeout"),
    ],
)
async def test_f2_a_stream_ends_with_end_after_an_error_too_and_never_with_response(
    asker: Asker, req: dict[str, Any], code: str
) -> None:
    stream = await asker.stream(**req)
    assert (stream.events[-1], stream.end["ok"], stream.end["code"]) == ("end", False, code)
    assert isinstance(stream.end["error"], str)


async def test_f3_begin_has_status_and_lower_case_headers(asker: Asker) -> None:
    begun = (await read(asker, "headers")).begin
    assert set(begun) == {"event", "id", "ok", "status", "headers", "ts"}
    assert (begun["ok"], begun["status"]) == (True, 200)
    assert begun["headers"] == {"content-type": NDJSON, "x-two": "a", "content-language": "de"}
    assert begun["ts"] > 1_700_000_000_000
    refused = (await read(asker, "missing")).begin
    assert (refused["ok"], refused["status"]) == (False, 404)


async def test_f4_lines_are_numbered_from_1_in_steps_of_1_and_timed(asker: Asker) -> None:
    stream = await read(asker, "hundred")
    assert all(set(frame) == {"event", "id", "lines"} for frame in stream.frames if "lines" in frame["event"])
    told = sorted((line for batch in stream.batches for line in batch), key=lambda line: line["seq"])
    assert all(set(line) == {"seq", "ts", "line"} for line in told)
    assert [line["seq"] for line in told] == list(range(1, 102))
    times = [line["ts"] for line in told]
    assert times == sorted(times)
    assert times[0] >= stream.begin["ts"]


@pytest.mark.parametrize("case", ["hundred", "at-once"])
async def test_f5_a_frame_has_at_most_24_lines(asker: Asker, case: str) -> None:
    stream = await read(asker, case)
    assert sum(map(len, stream.batches)) == 101
    assert max(map(len, stream.batches)) <= 24


async def test_f6_no_line_waits_for_the_next_one(asker: Asker, stage: Stage) -> None:
    identifier = await begin(asker, "stepwise")
    for count in range(1, 7):
        assert len(await asker.lines(identifier, count)) == count
        stage.upstream.visits[-1].go_on.set()
    assert Stream(await asker.whole(identifier)).end["ok"]


@pytest.mark.parametrize(
    ("case", "body", "most_b"), [("long", LONG, limits.DM_MAX_B), ("many-long", MANY_LONG, 64 * 1024)]
)
async def test_f7_a_frame_fits_one_message(asker: Asker, case: str, body: bytes, most_b: int) -> None:
    stream = await read(asker, case)
    assert (stream.end["ok"], stream.body) == (True, body)
    assert max(asker.sizes[stream.end["id"]]) < most_b


async def test_f8_other_content_types_come_as_numbered_chunks(asker: Asker) -> None:
    stream = await read(asker, "picture")
    assert all(set(frame) == {"event", "id", "seq", "b64"} for frame in stream.frames if "b64" in frame)
    assert (stream.lines, stream.body) == ([], PICTURE)
    assert list(stream.numbered) == list(range(1, len(stream.chunks) + 1))
    assert (stream.end["lines"], stream.end["last_seq"]) == (0, len(stream.chunks))
    assert (await read(asker, "plain")).lines == []
    for word in ("lines", "ndjson", "sse", "events"):
        assert (await read(asker, "plain", stream=word)).lines == ["a", "b", "c"]


async def test_f9_keepalives_come_while_a_stream_is_silent(asker: Asker, stage: Stage) -> None:
    identifier = await begin(asker, "quiet")
    alive = await asker.first(identifier, "relay.response.keepalive", 2)
    assert {"event", "id", "ts"} <= set(alive)
    assert (alive["last_seq"], alive["state"]) == (1, "generating")
    stage.upstream.visits[-1].go_on.set()
    assert Stream(await asker.whole(identifier)).end["ok"]


async def test_f10_keepalives_come_before_begin_too(asker: Asker, stage: Stage) -> None:
    identifier = await begin(asker, "late")
    alive = await asker.first(identifier, "relay.response.keepalive")
    assert (alive["last_seq"], alive["state"]) == (0, "loading")
    assert [frame["event"] for frame in asker.so_far(identifier)] == ["relay.response.keepalive"]
    stage.upstream.visits[-1].go_on.set()
    assert Stream(await asker.whole(identifier)).end["ok"]


PUBLISHED_END = {
    "event", "id", "ok", "bytes", "last_seq", "lines", "eot_seen", "done_seen", "truncated", "error", "t_ms",
}  # fmt: skip


async def test_f11_end_sums_up(asker: Asker) -> None:
    end = (await read(asker, "hundred")).end
    assert set(end) == PUBLISHED_END
    size = sum(map(len, [*WORDS, DONE]))
    assert (end["ok"], end["bytes"], end["last_seq"], end["lines"]) == (True, size, 101, 101)
    assert (end["eot_seen"], end["done_seen"], end["truncated"], end["error"]) == (True, True, False, None)
    assert isinstance(end["t_ms"], int)
    broken = (await read(asker, "dies")).end
    assert set(broken) == PUBLISHED_END | {"code"}


async def test_f12_response_is_the_whole_answer(asker: Asker) -> None:
    post = {"method": "POST", "json": {}}
    answer = await asker.response(path="/api/show?case=missing", **post)
    fields = {"event", "id", "ok", "status", "headers", "json", "body_b64", "truncated", "error"}
    assert set(answer) == fields
    assert (answer["ok"], answer["status"], answer["error"]) == (False, 404, None)
    assert (answer["json"], answer["body_b64"]) == ({"error": "model not found"}, None)
    answer = await asker.response(path="/api/show?case=binary", **post)
    assert (answer["ok"], answer["json"], base64.b64decode(answer["body_b64"])) == (True, None, b"\x00\xff")
    assert set(await asker.response(path="/api/pull", **post)) == fields | {"code"}


# -- B: bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "body"),
    [
        ("hundred", b"".join(WORDS) + DONE),
        ("spaced", SPACED),
        ("unfinished", WORDS[0] + DONE + b"{"),
        ("mixed", MIXED),
        ("picture", PICTURE),
    ],
)
async def test_b1_lines_and_chunks_joined_are_the_upstreams_bytes(
    asker: Asker, case: str, body: bytes
) -> None:
    stream = await read(asker, case)
    assert (stream.body, stream.end["bytes"]) == (body, len(body))


async def test_b2_blank_lines_are_kept(asker: Asker) -> None:
    stream = await read(asker, "spaced")
    assert [line.rstrip("\r") for line in stream.lines].count("") == 4
    assert (stream.chunks, stream.end["lines"]) == ([], 9)


async def test_b3_bytes_that_are_not_utf8_go_as_chunks(asker: Asker) -> None:
    stream = await read(asker, "mixed")
    assert stream.lines == ['{"response":"a"}']
    assert b"".join(stream.chunks) == MIXED.partition(b"\n")[2]


async def test_b4_a_line_leaves_at_once_while_the_one_before_it_is_acknowledged(
    asker: Asker, stage: Stage
) -> None:
    identifier = await begin(asker, "stepwise")
    for count in range(1, 7):
        await asker.lines(identifier, count)
        stage.upstream.visits[-1].go_on.set()
    stream = Stream(await asker.whole(identifier))
    assert [len(batch) for batch in stream.batches] == [1] * 6


async def test_b5_a_peer_that_never_acknowledges_gets_windows(stage: Stage, shared_peers: Peers) -> None:
    asker = Asker(shared_peers, await shared_peers.open("deaf", stage.node), stage.relay.address)
    await asker.peer.handle("none")
    identifier = await begin(asker, "quiet")
    await asker.lines(identifier, 1)
    stage.upstream.visits[-1].go_on.set()
    await asker.whole(identifier)
    stream = await read(asker, "at-once")
    assert (stream.end["ok"], len(stream.lines)) == (True, 101)
    assert len(stream.batches) < 10


async def test_b6_seq_is_the_order_and_last_seq_tells_how_many(asker: Asker) -> None:
    streams = await asyncio.gather(*(read(asker, case) for case in ("hundred", "many-long", "picture")))
    for stream in streams:
        assert list(stream.numbered) == list(range(1, stream.end["last_seq"] + 1))
    assert streams[0].lines == [line.decode().rstrip("\n") for line in [*WORDS, DONE]]


@pytest.mark.parametrize(
    ("case", "path", "done", "eot"),
    [
        ("hundred", "/api/generate", True, True),
        ("eot", "/api/generate", False, True),
        ("s", "/v1/chat/completions", False, True),
        ("spaced", "/v1/chat/completions", True, True),
        ("dies", "/api/generate", False, False),
    ],
)
async def test_b7_eot_seen_and_done_seen(asker: Asker, case: str, path: str, done: bool, eot: bool) -> None:
    end = (await asker.stream(path=f"{path}?case={case}")).end
    assert (end["done_seen"], end["eot_seen"]) == (done, eot)


async def _cancel(asker: Asker, identifier: str, _visit: Visit) -> None:
    await asker.tell(event="relay.cancel", id=identifier)


async def _go_on(_asker: Asker, _identifier: str, visit: Visit) -> None:
    visit.go_on.set()


@pytest.mark.parametrize(
    ("case", "code", "then"),
    [
        ("resets", "upstream_broke", _go_on),
        ("dies", "upstream_broke", None),
        ("quiet", "timeout", None),
        ("quiet", "cancelled", _cancel),
        ("too-long", "line_too_long", None),
    ],
    ids=["broke off", "no end mark", "time-out", "cancelled", "line too long"],
)
async def test_b8_a_body_that_is_not_whole_is_not_ok(
    asker: Asker, stage: Stage, case: str, code: str, then: Callable[..., Any] | None
) -> None:
    identifier = await begin(asker, case, timeout_ms=150 if code == "timeout" else 30_000)
    assert await asker.lines(identifier, 1) == {1: WORDS[0].decode().rstrip()}
    if then is not None:
        await then(asker, identifier, stage.upstream.visits[-1])
    stream = Stream(await asker.whole(identifier))
    assert (stream.end["ok"], stream.end["code"], stream.end["truncated"]) == (False, code, True)
    assert stream.end["error"]
    assert stream.lines == [WORDS[0].decode().rstrip()]


async def test_b9_an_answer_without_stream_is_cut_at_max_body(asker: Asker) -> None:
    answer = await asker.response(path="/api/embed?case=large", method="POST", json={})
    assert (answer["ok"], answer["truncated"], answer["code"], answer["json"]) == (
        False,
        True,
        "truncated",
        None,
    )
    assert answer["error"]
    assert base64.b64decode(answer["body_b64"]) == b"[" + b" " * 2_097_151
    assert json.dumps(answer["status"]) == "200"
