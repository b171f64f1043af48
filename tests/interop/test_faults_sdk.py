"""Nodes and seeds that fail, with the unmodified SDK at the other end.

Over the development node and, where one lone node can show it, over a real nknd. The SDK knows one seed
and gives up if its first connect fails, so what a client does at its start is shown by ours alone.
"""

import asyncio
import contextlib

import pytest
import pytest_asyncio
from interop.line import Line, Seed
from interop.ours import Ours, parts, sdk

from relay.nkn import NknTimeoutError, address
from relay.nkn.devnode import DevNode, Faults, Ring
from relay.nkn.session import NodeInfo
from wire import limits

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]

BLOCK_S = 2.0
QUICK = {"reconnectIntervalMin": 20, "reconnectIntervalMax": 100}
NOBODY = "127.0.0.1:1"


@pytest_asyncio.fixture(loop_scope="module")
async def peers(shared_peers):
    yield shared_peers
    await shared_peers.close_all()


@pytest.fixture
def rpc(shared_rpc):
    return shared_rpc


async def talk(mine, peer, text):
    """Both directions, acknowledged."""
    assert await mine.send(peer.addr, f"{text} there") is None
    assert await peer.send(mine.addr, f"{text} back") is None


async def back(mine, peer):
    """Wait until the SDK is registered again, of which it says nothing."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(NknTimeoutError):
                return await mine.send(peer.addr, "knock", response_timeout=0.2)


async def heard(peer, count):
    """What the SDK got, knocks aside."""
    return [text for text in await peer.messages(count) if text != "knock"]


@pytest.mark.parametrize("shape", ["client", "multi2+original"])
async def test_a_killed_node_is_left_and_found_again(peers, rpc, until, shape):
    async with Line(rpc) as line, Ours(line.rpc, shape) as mine:
        peer = await peers.open("peer", line.rpc, **sdk(shape), **QUICK)
        await talk(mine, peer, "before")
        await line.kill()
        await until(lambda: not mine.client.is_ready)
        await until(lambda: all(part.get("failures") for part in mine.parts))
        await line.revive()
        await until(lambda: all(part["ready"] for part in mine.parts))
        await back(mine, peer)
        await talk(mine, peer, "after")
        assert mine.data == ["before back", "after back"]
        assert (await heard(peer, 3))[-1] == "after there"
        for part in mine.parts:
            assert (part["connects"], part["losses"]) == (2, 1)


async def test_of_two_nodes_one_is_killed_and_comes_back(peers, rpc, until):
    async with Line(rpc) as line, Line(rpc) as other, Ours(line.rpc, "client") as third:
        line.seed.others["__1__"] = other.node
        async with Ours(line.rpc, "multi2") as mine:
            peer = await peers.open("peer", line.rpc, **sdk("multi2"), **QUICK)
            await other.kill()
            await until(lambda: len(mine.losses) == 1)
            for number in range(10):
                await talk(mine, peer, f"by the one that is left, {number}")
            await other.revive()
            await until(lambda: all(part["ready"] for part in mine.parts))
            await back(mine, peer)
            await talk(mine, peer, "by both")
            assert [part["connects"] for part in mine.parts] == [1, 2]
            assert len(mine.data) == len(await heard(peer, 12)) == 11
        assert third.losses == []


@pytest.mark.parametrize("mood", ["refuse", "429", "html", "error", "slow"])
async def test_seeds_that_fail_for_a_while(peers, rpc, until, monkeypatch, mood):
    monkeypatch.setattr(limits, "RPC_TIMEOUT_S", 0.2)
    async with Line(rpc) as line, Line(rpc) as apart:
        # The SDK waits ten seconds for a seed that says nothing; it is spared that one.
        peer = await peers.open("peer", (apart if mood == "slow" else line).rpc, **QUICK)
        line.seed.mood = mood
        mine = Ours(line.rpc, "client")
        mine.client.start()
        await until(lambda: len(mine.failures) >= 2)
        assert not mine.client.is_ready
        line.seed.mood = "up"
        async with mine:
            await talk(mine, peer, "first")
            line.seed.mood, asked = mood, line.seed.asked
            await line.kill()
            await line.revive()
            await until(lambda: line.seed.asked >= asked + 4)
            line.seed.mood = "up"
            await back(mine, peer)
            await until(lambda: mine.client.is_ready)
            await talk(mine, peer, "again")
            assert all(line.rpc in reason for reason in mine.failures)


async def test_a_node_that_reads_slowly_fills_its_own_bounded_queue_and_no_other(peers, rpc, monkeypatch):
    monkeypatch.setattr(limits, "OUTBOX_MAX_B", 1_000_000)
    async with Line(rpc) as line, Line(rpc, up_bps=20_000) as slow:
        line.seed.others["__1__"] = slow.node
        async with Ours(line.rpc, "multi2") as mine:
            peer = await peers.open("peer", rpc, numSubClients=2)
            for number in range(140):
                assert await mine.send(peer.addr, bytes([number]) * 50_000) is None
            quick, slow_one = mine.parts
            assert (quick["queued_bytes"], quick["sent"]) == (0, 140)
            assert 0 < slow_one["queued_bytes"] <= 1_000_000
            assert slow_one["outbox_full"] >= 20
            assert len(await peer.messages(140)) == 140


async def test_a_seed_that_is_slow_but_answers_only_takes_longer(peers, rpc):
    async with Line(rpc) as line:
        line.seed.delay_s = 0.4
        async with Ours(line.rpc, "multi2") as mine:
            peer = await peers.open("peer", line.rpc, **sdk("multi2"))
            await talk(mine, peer, "patience")
            assert mine.failures == []


BAD_SEEDS = {
    "closes": ["refuse"],
    "429": ["429"],
    "html": ["html"],
    "error": ["error"],
    "says nothing": ["slow"],
    "names an address where nobody is": [NodeInfo(NOBODY, b"n" * 32)],
    "names a node that sends elsewhere": ["elsewhere"],
    "names a node that says nothing": ["silent"],
    "all of them": ["429", "slow", NodeInfo(NOBODY, b"n" * 32), "elsewhere", "silent", "html"],
}


@pytest.mark.parametrize("bad", BAD_SEEDS.values(), ids=BAD_SEEDS)
async def test_one_good_seed_behind_bad_ones_is_enough(peers, rpc, monkeypatch, bad):
    monkeypatch.setattr(limits, "RPC_TIMEOUT_S", 0.2)
    monkeypatch.setattr(limits, "DIAL_TIMEOUT_S", 0.2)
    foreign = DevNode(faults=Faults(wrong_node=1_000_000, wrong_node_addr=NOBODY))
    silent = DevNode(faults=Faults(frozen=True))
    async with Line(rpc) as line, foreign, silent:
        nodes = {"elsewhere": foreign, "silent": silent}
        seeds = [await seed_of(one, nodes, line) for one in bad]
        try:
            async with Ours([*(seed.url for seed in seeds), line.rpc], "multi2") as mine:
                peer = await peers.open("peer", line.rpc, **sdk("multi2"))
                await talk(mine, peer, "found")
        finally:
            for seed in seeds:
                await seed.port.close()


async def seed_of(kind, nodes, line):
    """An open seed of that kind: what it tells, a mood, or the node it names."""
    if isinstance(kind, NodeInfo):
        seed = Seed(kind)
    elif kind in nodes:
        seed = Seed(NodeInfo(nodes[kind].ws_url.removeprefix("ws://"), b"n" * 32))
    else:
        seed = Seed(line.node, kind)
    await seed.port.open()
    return seed


async def test_both_find_the_right_node_of_a_ring_and_follow_it(peers, until):
    ring, shape = Ring(bytes), "multi4+original"
    async with DevNode(ring=ring, node_id=b"\x00" * 32) as low, Ours(low.rpc_url, shape) as mine:
        peer = await peers.open("peer", low.rpc_url, **sdk(shape), **QUICK)
        ours = [address.add_prefix(mine.addr, part) for part in sorted(parts(shape))]
        upper = sum(address.client_id(one)[0] >= 0x40 for one in [*ours, *peer.parts])
        async with DevNode(ring=ring, node_id=b"\x40" + b"\x00" * 31) as high:
            await until(lambda: high.statistics()["clients"] == upper)
            await until(lambda: low.statistics()["clients"] == 10 - upper)
            await talk(mine, peer, "pushed")
            assert low.statistics().get("wrong_node_pushes", 0) == upper
            async with Ours(high.rpc_url, shape) as late:
                await talk(late, peer, "asked another node of the ring")
        await until(lambda: low.statistics()["clients"] == 10)
        await until(lambda: all(part["ready"] for part in mine.parts))
        await talk(mine, peer, "the other node ended")


async def test_messages_sent_while_everybody_moves_arrive(peers, until):
    ring = Ring(bytes)
    async with (
        DevNode(ring=ring, node_id=b"\x00" * 32) as low,
        Ours(low.rpc_url, "multi2") as mine,
        Ours(low.rpc_url, "multi2") as second,
    ):
        peer = await peers.open("peer", low.rpc_url, **sdk("multi2"), **QUICK)
        async with DevNode(ring=ring, node_id=b"\x01" + b"\x00" * 31) as high:
            texts = [f"message {number}" for number in range(30)]
            for text in texts:
                mine.client.send_nowait(second.addr, text, max_holding_seconds=30)
            # An acknowledgement may come while its receiver is between the nodes; nobody holds those.
            await until(lambda: len(second.data) == 30)
            assert sorted(second.data) == sorted(texts)
            await until(lambda: low.statistics()["clients"] + high.statistics()["clients"] == 6)
            await talk(mine, peer, "settled")


@pytest.mark.parametrize("answers", [1, 3])
async def test_wrong_node_answers_are_followed_by_both(peers, answers):
    async with DevNode() as node:
        node.faults = Faults(wrong_node=answers)
        async with Ours(node.rpc_url, "client") as mine:
            node.faults = Faults(wrong_node=answers)
            peer = await peers.open("peer", node.rpc_url)
            await talk(mine, peer, "in")
        assert node.statistics()["wrong_node_answers"] == 2 * answers
