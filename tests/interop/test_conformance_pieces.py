"""docs/protocol.md, table "Conformance", rows U and A: requests in pieces, and how far a peer has got."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from harness import Relay, running_node
from interop.conformance import Asker, Frame, Stage, fresh
from interop.sdk import Peers
from scripted import NDJSON, Scripted, Visit

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]

DONE = b'{"response":"","done":true}\n'
BODY = {"model": "m", "messages": [{"role": "user", "content": "wörds " * 20_000}]}


async def _echo(visit: Visit) -> None:
    """How much came, and the end."""
    await visit.whole(NDJSON, json.dumps({"came": len(visit.asked.body)}).encode() + b"\n", DONE)


async def _quiet(visit: Visit) -> None:
    await visit.head()
    await visit.chunk(b'{"response":"a"}\n')
    await visit.go_on.wait()
    await visit.rest(DONE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("relay")
    async with (
        running_node() as node,
        Scripted({"echo": _echo, "quiet": _quiet}) as upstream,
        Relay(folder, node, upstream.url, RELAY_KEEPALIVE_S="1") as relay,
    ):
        yield Stage(node, relay, upstream)


SHAPES: dict[str, dict[str, Any]] = {"client": {}, "multi": {"numSubClients": 2}}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SHAPES)
async def asker(request: pytest.FixtureRequest, stage: Stage, shared_peers: Peers) -> Asker:
    client = await shared_peers.open(request.param, stage.node, **SHAPES[request.param])
    return Asker(shared_peers, client, stage.relay.address)


def pieces(identifier: str, path: str = "/api/chat?case=echo") -> list[dict[str, Any]]:
    """A request of some 130 kB as its messages."""
    raw = json.dumps(BODY).encode()
    chunks = [raw[at : at + 40_000] for at in range(0, len(raw), 40_000)]
    of = {"id": identifier, "upload_id": f"u{identifier}"}
    req = {"path": f"{path}&of={identifier}", "method": "POST", "stream": "chunks"}
    return [
        {"event": "http.upload.begin", **of, "req": req, "total_chunks": len(chunks)},
        *(
            {"event": "http.upload.chunk", **of, "seq": seq, "total": len(chunks), "b64": encoded(data)}
            for seq, data in enumerate(chunks, 1)
        ),
        {"event": "http.upload.end", **of, "total": len(chunks)},
    ]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def bodies(stage: Stage, identifier: str) -> list[Any]:
    return [
        visit.asked.json for visit in stage.upstream.visits if visit.asked.target.endswith(f"of={identifier}")
    ]


def end_of(frames: list[Frame]) -> Frame:
    return next(frame for frame in frames if frame["event"] == "relay.response.end")


async def test_u1_in_any_order_and_twice_it_is_one_request(asker: Asker, stage: Stage) -> None:
    identifier = fresh()
    parts = pieces(identifier) * 2
    random.Random(7).shuffle(parts)
    for part in parts:
        await asker.tell(**part)
    assert end_of(await asker.whole(identifier))["ok"]
    assert bodies(stage, identifier) == [BODY]


async def test_u2_what_is_missing_is_asked_for(asker: Asker, stage: Stage) -> None:
    identifier = fresh()
    parts = pieces(identifier)
    for part in (parts[0], parts[2], parts[-1]):
        await asker.tell(**part)
    wanted = await asker.first(identifier, "http.upload.missing")
    missing = [seq for seq in range(1, len(parts) - 1) if seq != 2]
    assert (wanted["upload_id"], wanted["missing"]) == (f"u{identifier}", missing)
    for seq in missing:
        await asker.tell(**parts[seq])
    assert end_of(await asker.whole(identifier))["ok"]
    assert bodies(stage, identifier) == [BODY]


async def test_u3_the_same_rules_hold_and_the_end_says_so(asker: Asker, stage: Stage) -> None:
    identifier = fresh()
    for part in pieces(identifier, "/api/pull?case=echo"):
        await asker.tell(**part)
    assert end_of(await asker.whole(identifier))["code"] == "denied"
    assert bodies(stage, identifier) == []


async def test_u4_it_can_be_cancelled_while_it_is_not_whole(asker: Asker, stage: Stage) -> None:
    identifier = fresh()
    parts = pieces(identifier)
    await asker.tell(**parts[0])
    await asker.tell(event="relay.cancel", id=identifier)
    for part in parts[1:]:
        await asker.tell(**part)
    assert end_of(await asker.whole(identifier))["code"] == "cancelled"
    await asker.silence()
    assert {frame["event"] for frame in asker.so_far(identifier)} == {"relay.response.end"}
    assert bodies(stage, identifier) == []


async def test_a1_an_acknowledgement_has_no_answer_and_is_a_sign_of_life(asker: Asker, stage: Stage) -> None:
    identifier = fresh()
    req = {
        "path": f"/api/generate?case=quiet&of={identifier}",
        "method": "POST",
        "json": {},
        "stream": "chunks",
    }
    await asker.tell(event="relay.http", id=identifier, req=req)
    await asker.lines(identifier, 1)
    before = len(asker.so_far(identifier))
    await asker.tell(event="relay.ack", id=identifier, seq=1)
    await asyncio.sleep(0.3)
    frames = asker.so_far(identifier)[before:]
    assert {frame["event"] for frame in frames} <= {"relay.response.keepalive"}
    visit = next(one for one in stage.upstream.visits if one.asked.target.endswith(f"of={identifier}"))
    visit.go_on.set()
    assert end_of(await asker.whole(identifier))["ok"]


@pytest.mark.parametrize("batch_ms", [-1, 81, "20"])
async def test_a2_batch_ms_is_from_0_to_80(asker: Asker, batch_ms: Any) -> None:
    stream = await asker.stream(path="/api/generate?case=echo", batch_ms=20)
    assert stream.end["ok"]
    refused = await asker.stream(path="/api/generate?case=echo", batch_ms=batch_ms)
    assert (refused.end["code"], "batch_ms" in refused.end["error"]) == ("bad_request", True)
