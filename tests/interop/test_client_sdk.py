"""Our client against the unmodified SDK, over the development node, and over a real nknd if there is one."""

import asyncio
import os
import ssl

import pytest
from interop.ours import Ours, parts, sdk

from relay.nkn import NknTimeoutError
from relay.nkn.devnode import DevNode, Faults

pytestmark = pytest.mark.node


async def test_many_at_once_arrive_once_each(peers, rpc):
    async with Ours(rpc, "multi2") as mine:
        peer = await peers.open("peer", rpc, **sdk("multi2"))
        texts = [f"message {number}" for number in range(50)]
        assert await asyncio.gather(*(mine.send(peer.addr, text) for text in texts)) == [None] * 50
        assert await asyncio.gather(*(peer.send(mine.addr, text) for text in texts)) == [None] * 50
        await asyncio.sleep(0.05)
        assert sorted(mine.data) == sorted(texts)
        assert sorted(await peer.messages(50)) == sorted(texts)


async def test_messages_that_want_no_reply_get_none(peers, rpc):
    async with Ours(rpc, "client") as mine:
        peer = await peers.open("peer", rpc)
        await peer.handle("echo")
        assert await mine.send(peer.addr, "no answer, please", no_reply=True) is None
        assert await mine.send(peer.addr, "answer, please") == "answer, please"
        mine.answer = False
        with pytest.raises(peers.Error):
            await peer.send(mine.addr, "nothing comes back", responseTimeout=300)
        await peer.handle("none")
        with pytest.raises(NknTimeoutError):
            await mine.send(peer.addr, "nothing comes back", response_timeout=0.1)
        assert mine.data == ["nothing comes back"]


async def test_unsealed_messages_need_a_receiver_who_wants_them(peers, rpc):
    async with Ours(rpc, "client") as strict, Ours(rpc, "client", accept_unencrypted=True) as open_minded:
        peer = await peers.open("peer", rpc)
        with pytest.raises(peers.Error):
            await peer.send(strict.addr, "in the clear", encrypt=False, responseTimeout=300)
        assert await peer.send(open_minded.addr, "in the clear", encrypt=False) is None
        assert await open_minded.send(peer.addr, "likewise", encrypt=False) is None
        assert [message.is_encrypted for message in open_minded.got] == [False]
        assert [event["encrypted"] for event in await peer.arrivals(1)] == [False]
        assert strict.data == []


@pytest.mark.parametrize("shape", ["client", "multi2", "multi4+original"])
async def test_held_messages_wait_for_either_side_and_come_once(peers, rpc, until, shape):
    theirs = os.urandom(32).hex()
    texts = [f"held {number}" for number in range(3)]
    sender = await peers.open("sender", rpc, **sdk(shape))
    absent = Ours(rpc, shape, seed=os.urandom(32))
    for text in texts:
        await sender.send(absent.addr, text, noReply=True, msgHoldingSeconds=60)
    async with absent as mine:
        await until(lambda: len(mine.data) == 3)
        gone = await peers.open("gone", rpc, seed=theirs, **sdk(shape))
        await gone.close()
        await asyncio.sleep(0.05)
        for text in texts:
            await mine.send(gone.addr, text, no_reply=True, max_holding_seconds=60)
        back = await peers.open("back", rpc, seed=theirs, **sdk(shape))
        assert sorted(await back.messages(3)) == texts
        await until(lambda: mine.counts.get("duplicates", 0) == 3 * (len(parts(shape)) - 1))
        assert sorted(mine.data) == texts
        assert back.arrived == 3


@pytest.mark.parametrize(("shape", "times"), [("client", 3), ("multi2", 1)])
async def test_what_is_sent_again_under_its_id_comes_again_only_to_the_sdks_plain_client(
    peers, rpc, shape, times
):
    # Its MultiClient knows the id and, unlike ours, does not acknowledge it a second time.
    async with Ours(rpc, shape) as mine:
        peer = await peers.open("peer", rpc, **sdk(shape))
        for _ in range(3):
            mine.client.send_nowait(peer.addr, "the same", message_id=b"the same")
        await mine.send(peer.addr, "another")
        assert (await peer.messages(times + 1)).count("the same") == times


async def test_what_the_sdk_sends_again_is_acknowledged_again_and_comes_once(peers, rpc):
    async with Ours(rpc, "client") as mine:
        peer = await peers.open("peer", rpc)
        for _ in range(3):
            assert await peer.send(mine.addr, "the same", messageId=b"the same".hex()) is None
        assert mine.data == ["the same"]
        assert (mine.counts["duplicates"], mine.counts["acks_sent"]) == (2, 3)


async def test_every_message_once_though_copies_come_twice_and_late(peers):
    faults = Faults(duplicate=0.5, reorder=0.5, reorder_ms=20, delay_ms=2, jitter_ms=2)
    async with DevNode(faults=faults, seed=3) as node, Ours(node.rpc_url, "multi2") as mine:
        peer = await peers.open("peer", node.rpc_url, **sdk("multi2"))
        texts = [f"message {number}" for number in range(20)]
        assert await asyncio.gather(*(peer.send(mine.addr, text) for text in texts)) == [None] * 20
        assert await asyncio.gather(*(mine.send(peer.addr, text) for text in texts)) == [None] * 20
        await asyncio.sleep(0.05)
        assert sorted(mine.data) == sorted(texts)
        assert node.statistics()["duplicated"]


async def test_the_statistics_tell_what_became_of_each_message(peers, until):
    faults = Faults(loss=0.4, duplicate=0.1)
    async with DevNode(faults=faults, seed=5) as node, Ours(node.rpc_url, "multi2") as mine:
        peer = await peers.open("peer", node.rpc_url, **sdk("multi2"))
        await peer.handle("echo")
        sends = (mine.send(peer.addr, f"{number}", response_timeout=1) for number in range(100))
        ends = await asyncio.gather(*sends, return_exceptions=True)
        told = mine.counts
        assert told["sent"] == 100
        assert told["replied"] == sum(isinstance(end, str) for end in ends)
        assert told["send_timeouts"] == sum(isinstance(end, NknTimeoutError) for end in ends) > 0
        assert told["acknowledged"] == told["messages"] == 0
        arrived = sum(part["received"] for part in mine.parts)
        repeated = told["answers_repeated"] + told["answers_late"] + told["answers_unawaited"]
        assert arrived == told["replies_received"] == told["replied"] + repeated
        assert [part["sent"] for part in mine.parts] == [100, 100]


async def test_talk_goes_on_after_a_cut(peers, until):
    async with DevNode() as node, Ours(node.rpc_url, "multi2") as mine:
        peer = await peers.open("peer", node.rpc_url, **sdk("multi2"), reconnectIntervalMin=20)
        node.cut()
        await until(lambda: node.statistics()["registered"] == 8)
        assert await peer.send(mine.addr, "again") is None
        assert await mine.send(peer.addr, "again") is None
        assert mine.data == ["again"]


async def test_wss(peers_with, tmp_path):
    async with DevNode(wss_port=0) as node:
        certificate = tmp_path / "node.pem"
        certificate.write_bytes(node.certificate_pem)
        trust = ssl.create_default_context(cafile=str(certificate))
        async with (
            peers_with({"NODE_EXTRA_CA_CERTS": str(certificate)}) as peers,
            Ours(node.rpc_url, "multi2", tls=True, ssl=trust) as mine,
        ):
            peer = await peers.open("peer", node.rpc_url, tls=True, **sdk("multi2"))
            assert await mine.send(peer.addr, "over TLS") is None
            assert await peer.send(mine.addr, "over TLS") is None
