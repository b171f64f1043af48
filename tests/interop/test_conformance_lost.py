"""docs/protocol.md, table "Conformance", rows L: what gets lost on the way, asked for again by the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from harness import Relay, running_node
from interop.conformance import Asker, Frame, Stage, Stream, fresh
from interop.sdk import Peers
from scripted import NDJSON, Scripted, Visit

from wire import limits

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]

DONE = b'{"response":"","done":true}\n'
WORDS = [b'{"response":"w%d","done":false}\n' % number for number in range(99)]


async def _hundred(visit: Visit) -> None:
    await visit.whole(NDJSON, *WORDS, DONE)


async def _quiet(visit: Visit) -> None:
    """Three lines, and the rest when it is told to go on."""
    await visit.head()
    for word in WORDS[:3]:
        await visit.chunk(word)
    await visit.go_on.wait()
    await visit.rest(*WORDS[3:], DONE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("relay")
    async with (
        running_node() as node,
        Scripted({"hundred": _hundred, "quiet": _quiet}) as upstream,
        Relay(folder, node, upstream.url) as relay,
    ):
        yield Stage(node, relay, upstream)


SHAPES: dict[str, dict[str, Any]] = {"client": {}, "multi": {"numSubClients": 2}}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SHAPES)
async def asker(request: pytest.FixtureRequest, stage: Stage, shared_peers: Peers) -> Asker:
    client = await shared_peers.open(request.param, stage.node, **SHAPES[request.param])
    return Asker(shared_peers, client, stage.relay.address)


def streamed(case: str, identifier: str) -> dict[str, Any]:
    """A streaming request whose path no other test asks for."""
    path = f"/api/generate?case={case}&of={identifier}"
    return {"path": path, "method": "POST", "json": {"model": "m"}, "stream": "chunks"}


async def begin(asker: Asker, case: str) -> str:
    """Send a streaming request and return its id at once."""
    identifier = fresh()
    await asker.tell(event="relay.http", id=identifier, req=streamed(case, identifier))
    return identifier


def visits(stage: Stage, identifier: str) -> list[Visit]:
    """What came to the upstream of a request."""
    return [visit for visit in stage.upstream.visits if visit.asked.target.endswith(f"of={identifier}")]


def numbers(frame: Frame) -> list[int]:
    return [line["seq"] for line in frame["lines"]] if word(frame) == "lines" else []


def word(frame: Frame) -> str:
    return frame["event"].rpartition(".")[2]


def check_whole(stream: Stream) -> None:
    assert stream.end["ok"]
    assert list(stream.numbered) == list(range(1, 101))
    assert stream.body == b"".join([*WORDS, DONE])


async def test_l1_missing_brings_those_frames_again(asker: Asker) -> None:
    asker.lost.clear()
    asker.loses = lambda frame: word(frame) in {"begin", "end"} or any(seq % 7 == 3 for seq in numbers(frame))
    identifier = await begin(asker, "hundred")
    while "end" not in map(word, asker.lost):  # on a real node it may overtake the last lines
        await asker.lacking(len(asker.lost) + 1)
    await asker.silence()
    lost, asker.loses = list(asker.lost), None
    there = {seq for frame in asker.so_far(identifier) for seq in numbers(frame)}
    missing = sorted(set(range(1, 101)) - there)
    assert len(missing) >= 14
    await asker.tell(event="relay.response.missing", id=identifier, missing=[0, *missing, -1])
    stream = Stream(await asker.whole(identifier))
    check_whole(stream)
    again = [
        frame
        for frame in stream.frames
        if word(frame) in {"begin", "end"} or set(numbers(frame)) & {*missing}
    ]
    assert all(frame in lost for frame in again)
    assert (stream.events.count("begin"), stream.events.count("end")) == (1, 1)


async def test_l2_what_was_not_sent_yet_is_passed_over_and_what_is_not_kept_is_told(
    asker: Asker, stage: Stage
) -> None:
    identifier = await begin(asker, "quiet")
    await asker.lines(identifier, 3)
    await asker.tell(event="relay.response.missing", id=identifier, missing=[0, 3, 4, 50, -1])
    await asker.first(identifier, "relay.response.begin", 2)
    await asker.silence()
    so_far = asker.so_far(identifier)
    assert {word(frame) for frame in so_far} == {"begin", "lines"}
    assert [seq for frame in so_far for seq in numbers(frame)].count(3) == 2
    visits(stage, identifier)[0].go_on.set()
    check_whole(Stream(await asker.whole(identifier)))
    await asker.tell(event="relay.response.missing", id=identifier, missing=[101])
    gone = await asker.first(identifier, "relay.response.gone")
    assert gone == {"event": "relay.response.gone", "id": identifier, "missing": [101]}


async def test_l3_resume_brings_what_is_behind_have_and_the_rest(asker: Asker, stage: Stage) -> None:
    identifier = await begin(asker, "quiet")
    await asker.lines(identifier, 3)
    await asker.tell(event="relay.resume", id=identifier, have=2)
    alive = await asker.first(identifier, "relay.response.keepalive")
    assert (alive["last_seq"], alive["state"]) == (3, "generating")
    await asker.silence()
    told = [seq for frame in asker.so_far(identifier) for seq in numbers(frame)]
    assert told.count(3) == 2
    assert [word(frame) for frame in asker.so_far(identifier)].count("begin") == 2
    visits(stage, identifier)[0].go_on.set()
    check_whole(Stream(await asker.whole(identifier)))
    await asker.tell(event="relay.resume", id=identifier, have=99)
    await asker.first(identifier, "relay.response.end", 2)


async def test_l4_what_follows_goes_to_where_the_peer_is_now(stage: Stage, shared_peers: Peers) -> None:
    seed = "5a" * 32
    before = Asker(
        shared_peers,
        await shared_peers.open("train", stage.node, seed=seed, identifier="train", numSubClients=2),
        stage.relay.address,
    )
    identifier = await begin(before, "quiet")
    await before.lines(identifier, 3)
    after = Asker(
        shared_peers,
        await shared_peers.open("home", stage.node, seed=seed, identifier="home"),
        stage.relay.address,
    )
    await after.tell(event="relay.resume", id=identifier, have=3)
    assert (await after.first(identifier, "relay.response.begin"))["ok"]
    visits(stage, identifier)[0].go_on.set()
    await after.first(identifier, "relay.response.end")
    await after.tell(event="relay.resume", id=identifier)
    check_whole(Stream(await after.whole(identifier)))
    assert {seq for frame in before.so_far(identifier) for seq in numbers(frame)} == {1, 2, 3}


async def test_l5_a_repeated_id_is_executed_once_and_answered_with_what_was_sent(
    asker: Asker, stage: Stage
) -> None:
    identifier = fresh()
    request = {"event": "relay.http", "id": identifier, "req": streamed("quiet", identifier)}
    for _ in range(3):
        await asker.tell(**request)
    await asker.lines(identifier, 3)
    visits(stage, identifier)[0].go_on.set()
    first = Stream(await asker.whole(identifier))
    check_whole(first)
    await asyncio.sleep(limits.AGAIN_PAUSE_S)
    before = len(asker.so_far(identifier))
    await asker.tell(**request)
    await asker.first(identifier, "relay.response.end", 2)
    await asker.silence()
    again = asker.so_far(identifier)[before:]
    assert sorted(seq for frame in again for seq in numbers(frame)) == list(range(1, 101))
    assert all(frame in first.frames for frame in again)
    assert len(visits(stage, identifier)) == 1


async def test_l6_a_known_id_with_another_request_gets_no_answer_of_the_first(
    asker: Asker, stage: Stage
) -> None:
    identifier = await begin(asker, "quiet")
    await asker.lines(identifier, 3)
    other = streamed("hundred", f"other-{identifier}")
    await asker.tell(event="relay.http", id=identifier, req=other)
    await asker.silence()
    assert [word(frame) for frame in asker.so_far(identifier)].count("begin") == 1
    visits(stage, identifier)[0].go_on.set()
    check_whole(Stream(await asker.whole(identifier)))
    await asker.tell(event="relay.http", id=identifier, req=other)
    refused = await asker.first(identifier, "relay.response.end", 2)
    assert (refused["ok"], refused["code"]) == (False, "replayed")
    assert visits(stage, f"other-{identifier}") == []


async def test_l7_an_id_of_another_key_is_unknown(asker: Asker, stage: Stage, shared_peers: Peers) -> None:
    identifier = await begin(asker, "hundred")
    check_whole(Stream(await asker.whole(identifier)))
    eve = Asker(shared_peers, await shared_peers.open("eve", stage.node), stage.relay.address)
    await eve.tell(event="relay.response.missing", id=identifier, missing=[0, 1, -1])
    assert (await eve.first(identifier, "relay.response.gone"))["missing"] == [0, 1, -1]
    await eve.tell(event="relay.resume", id=identifier)
    assert (await eve.first(identifier, "relay.response.gone", 2))["missing"] == [-1]
    await eve.silence()
    assert {word(frame) for frame in eve.so_far(identifier)} == {"gone"}


async def test_l8_a_request_that_was_refused_may_be_sent_again_under_its_id(asker: Asker) -> None:
    identifier = fresh()
    refused = streamed("hundred", identifier) | {"path": "/api/pull"}
    await asker.tell(event="relay.http", id=identifier, req=refused)
    end = await asker.first(identifier, "relay.response.end")
    assert end["code"] == "denied"
    asker._frames.pop(identifier)
    await asker.tell(event="relay.http", id=identifier, req=streamed("hundred", identifier))
    check_whole(Stream(await asker.whole(identifier)))


async def test_l10_a_cancel_that_overtakes_its_request_still_ends_it(asker: Asker, stage: Stage) -> None:
    identifier = fresh()
    await asker.tell(event="relay.cancel", id=identifier)
    await asyncio.sleep(0.3)
    await asker.tell(event="relay.http", id=identifier, req=streamed("quiet", identifier))
    assert (await asker.first(identifier, "relay.response.end"))["code"] == "cancelled"
    await asker.silence()
    assert visits(stage, identifier) == []


async def test_l9_an_answer_without_stream_can_be_asked_for_again(asker: Asker, stage: Stage) -> None:
    asker.lost.clear()
    asker.loses = lambda frame: frame["event"] == "relay.response"
    identifier = fresh()
    request = {"event": "relay.http", "id": identifier, "req": {"path": f"/api/tags?of={identifier}"}}
    await asker.tell(**request)
    await asker.lacking(1)
    asker.loses = None
    await asker.tell(event="relay.response.missing", id=identifier, missing=[-1])
    assert await asker.first(identifier, "relay.response") == asker.lost[0]
    await asyncio.sleep(limits.AGAIN_PAUSE_S)
    await asker.tell(event="relay.resume", id=identifier)
    await asker.first(identifier, "relay.response", 2)
    await asyncio.sleep(limits.AGAIN_PAUSE_S)
    await asker.tell(**request)
    assert (await asker.first(identifier, "relay.response", 3))["json"]["method"] == "GET"
    assert len(visits(stage, identifier)) == 1
