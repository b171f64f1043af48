"""Slow lines, frozen nodes and slow readers, on the clocks that real nodes and clients have.

They take up to half a minute each, so all of them run at once before the first test, and the tests look at
what came of it. The other end is the unmodified SDK; what it does where ours holds is told as measured.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from interop.line import Line
from interop.ours import Ours
from interop.sdk import Peer, PeerError, Peers

from relay.nkn import NknTimeoutError
from relay.nkn.devnode import DevNode, Faults
from wire import limits

pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]

BLOCK_S = 20.0
"""As in earnest: what was signed before a slow upload must not be out of date behind it."""
PATIENCE_S = 60
MEGABYTE = bytes(range(250)) * 4_000
PIECES = [number.to_bytes(2, "big") * 15_000 for number in range(100)]
"""3 MB in messages of 30 kB."""


@dataclass(slots=True)
class Seen:
    """What came of one case: a counter's name or a word → what was measured."""

    took_s: float
    told: dict[str, Any]


Case = Callable[[Peers, str], Awaitable[dict[str, Any]]]


async def sent(send: Awaitable[Any]) -> str:
    """ "acked", or what went wrong."""
    try:
        return "acked" if await send is None else "answered"
    except (NknTimeoutError, PeerError) as error:
        return str(error)


async def upload_of_ours(peers: Peers, rpc: str) -> dict[str, Any]:
    peer = await peers.open("reader of ours", rpc)
    async with Line(rpc, up_bps=50_000) as line, Ours(line.rpc) as mine:
        end = await sent(mine.send(peer.addr, MEGABYTE, response_timeout=PATIENCE_S))
        return {"end": end, "losses": mine.losses, "arrived": len(await peer.messages(1))}


async def upload_of_the_sdk(peers: Peers, rpc: str) -> dict[str, Any]:
    async with Line(rpc, up_bps=50_000) as line, Ours(rpc) as mine:
        peer = await peers.open("uploader", line.rpc)
        sending = sent(peer.send(mine.addr, MEGABYTE, responseTimeout=15_000, patience=PATIENCE_S))
        return {"end": await sending, "arrived": len(mine.data), "connections": line.connections}


async def reader_that_is_slow(peers: Peers, rpc: str) -> dict[str, Any]:
    async with Line(rpc, down_bps=20_000) as line, Ours(rpc) as mine:
        slow = await peers.open("slow reader", line.rpc)
        quick = await peers.open("quick reader", rpc)
        sending = [sent(mine.send(slow.addr, piece, response_timeout=15)) for piece in PIECES]
        slowly = asyncio.gather(*sending)
        rounds = []
        for _ in range(40):
            began = time.monotonic()
            rounds.append((await sent(mine.send(quick.addr, "meanwhile")), time.monotonic() - began))
            await asyncio.sleep(0.25)
        queued = mine.client.queued_b
        ends = await slowly
        return {
            "rounds": rounds,
            "queued": queued,
            "ends": ends,
            "counts": mine.counts,
            "losses": mine.losses,
        }


async def reader_of_ours_that_is_slow(peers: Peers, rpc: str) -> dict[str, Any]:
    async with Line(rpc, down_bps=200_000) as line, Ours(line.rpc) as mine:
        peer = await peers.open("quick writer", rpc)
        sending = [
            sent(peer.send(mine.addr, piece, responseTimeout=40_000, patience=PATIENCE_S)) for piece in PIECES
        ]
        ends = await asyncio.gather(*sending)
        return {"ends": ends, "data": mine.data, "losses": mine.losses, "counts": mine.counts}


async def frozen_node(peers: Peers, rpc: str) -> dict[str, Any]:
    async with Line(rpc) as line, Ours(rpc) as third, Ours(line.rpc) as mine:
        peer = await peers.open("on ice", line.rpc, reconnectIntervalMin=20)
        async with Line(rpc) as other:
            line.seed.node = other.node
            line.freeze()
            began = time.monotonic()
            while not mine.losses:
                await asyncio.sleep(0.05)
            noticed_s = time.monotonic() - began
            while not mine.client.is_ready:
                await asyncio.sleep(0.05)
            reached = await sent(third.send(mine.addr, "on the other node"))
            (part,) = await peer.state()
            lost = await sent(third.send(peer.addr, "into the ice", response_timeout=1))
            line.thaw()
            back = await knocked(third, peer)
            return {"noticed_s": noticed_s, "losses": mine.losses, "reached": reached, "back": back} | {
                "sdk": (part["socket"], lost)
            }


async def knocked(mine: Ours, peer: Peer) -> bool:
    for _ in range(60):
        if await sent(mine.send(peer.addr, "knock", response_timeout=0.5)) == "acked":
            return True
    return False


async def node_without_challenge(peers: Peers, _: str) -> dict[str, Any]:
    async with DevNode(faults=Faults(no_challenge=True)) as node:
        began = time.monotonic()
        opening = asyncio.create_task(peers.open("unasked", node.rpc_url))
        async with Ours(node.rpc_url) as mine:
            took_s = time.monotonic() - began
            peer = await opening
            ways = [await sent(mine.send(peer.addr, "there")), await sent(peer.send(mine.addr, "back"))]
            return {"took_s": took_s, "ways": ways, "failures": mine.failures}


CASES: list[Case] = [
    upload_of_ours,
    upload_of_the_sdk,
    reader_that_is_slow,
    reader_of_ours_that_is_slow,
    frozen_node,
    node_without_challenge,
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(shared_peers: Peers, shared_rpc: str) -> dict[Case, Seen]:
    """All cases, run at once."""

    async def watched(case: Case) -> Seen:
        began = time.monotonic()
        told = await case(shared_peers, shared_rpc)
        return Seen(time.monotonic() - began, told)

    return dict(zip(CASES, await asyncio.gather(*map(watched, CASES)), strict=True))


def test_a_megabyte_passes_an_uplink_that_takes_twenty_seconds_for_it(seen):
    told = seen[upload_of_ours].told
    assert seen[upload_of_ours].took_s > 18
    assert told == {"end": "acked", "losses": [], "arrived": 1}


def test_the_sdk_sends_it_in_one_frame_and_is_dropped(seen):
    told = seen[upload_of_the_sdk].told
    assert told["end"] != "acked"
    assert told["arrived"] == 0
    assert told["connections"] > 1


def test_a_slow_reader_holds_up_nobody_else_and_is_told_in_the_statistics(seen):
    told = seen[reader_that_is_slow].told
    assert [end for end, _ in told["rounds"]] == ["acked"] * 40
    assert told["losses"] == []
    assert told["queued"] == 0
    late = len(PIECES) - told["ends"].count("acked")
    assert late > 0
    assert told["counts"]["send_timeouts"] == late
    assert told["counts"]["waiting"] == 0


def test_ours_reads_slowly_keeps_its_node_and_misses_nothing(seen):
    told = seen[reader_of_ours_that_is_slow].told
    assert seen[reader_of_ours_that_is_slow].took_s > 12
    assert told["losses"] == []
    assert sorted(told["data"]) == PIECES
    assert told["ends"] == ["acked"] * 100


def test_a_frozen_node_is_left_after_the_time_of_silence(seen):
    told = seen[frozen_node].told
    assert limits.SILENCE_S - limits.NODE_PING_S <= told["noticed_s"] <= limits.SILENCE_S + 5
    assert told["losses"] == [f"nothing came from the node for {limits.SILENCE_S:.0f} s"]
    assert told["reached"] == "acked"


def test_the_sdk_stays_on_the_frozen_node_until_it_thaws(seen):
    told = seen[frozen_node].told
    assert told["sdk"] == (1, "no reply within 1 s")
    assert told["back"]


def test_a_node_that_sends_no_challenge_is_registered_with_after_the_wait(seen):
    told = seen[node_without_challenge].told
    assert limits.CHALLENGE_WAIT_S <= told["took_s"] < limits.CHALLENGE_WAIT_S + 5
    assert told["ways"] == ["acked", "acked"]
    assert told["failures"] == []
