import asyncio
from dataclasses import replace

import pytest

from relay.nkn import address
from relay.nkn.devnode import DevNode, Faults, Ring

pytestmark = pytest.mark.node

SHAPES = [
    pytest.param({}, {}, id="client-client"),
    pytest.param({"numSubClients": 1}, {"numSubClients": 1}, id="multi1-multi1"),
    pytest.param(
        {"numSubClients": 2}, {"numSubClients": 2, "originalClient": True}, id="multi2-multi2+original"
    ),
    pytest.param(
        {"numSubClients": 4, "originalClient": True}, {"numSubClients": 4}, id="multi4+original-multi4"
    ),
    pytest.param({"numSubClients": 2, "originalClient": True}, {}, id="multi2+original-client"),
    pytest.param({}, {"numSubClients": 4, "originalClient": True}, id="client-multi4+original"),
]


def clean(node):
    """Nothing was refused, dropped or lost."""
    wrong = ("dropped_", "refused_", "cut", "slow_", "silent_", "text_refused")
    return {
        name: count for name, count in node.statistics().items() if name.startswith(wrong) and count
    } == {}


@pytest.mark.parametrize(("left", "right"), SHAPES)
async def test_sdk_clients_talk_over_a_strict_node(peers, left, right):
    async with DevNode(block_s=0.2) as node:
        alice = await peers.open("alice", node.rpc_url, identifier="alice", **left)
        bob = await peers.open("bob", node.rpc_url, identifier="bob", **right)
        assert await alice.send(bob.addr, "text ✓") is None
        await bob.handle("echo")
        assert await alice.send(bob.addr, "echo, please") == "echo, please"
        assert await alice.send(bob.addr, bytes(range(256)) * 300) == bytes(range(256)) * 300
        await bob.handle({"text": "a reply"})
        assert await alice.send(bob.addr, b"\0") == "a reply"
        assert await alice.send(bob.addr, "in the clear", encrypt=False) == "a reply"
        arrivals = await bob.arrivals(5)
        assert [one.get("text") for one in arrivals] == ["text ✓", "echo, please", None, None, "in the clear"]
        assert [one["src"] for one in arrivals] == [alice.addr] * 5
        assert [one["encrypted"] for one in arrivals] == [True] * 4 + [False]
        assert clean(node)


async def test_one_send_reaches_several_destinations(peers):
    async with DevNode() as node:
        alice = await peers.open("alice", node.rpc_url, numSubClients=2)
        bob = await peers.open("bob", node.rpc_url, numSubClients=2)
        carol = await peers.open("carol", node.rpc_url, numSubClients=2)
        assert await alice.send([bob.addr, carol.addr], "to both, compressed " * 50) is None
        assert await bob.messages(1) == await carol.messages(1) == ["to both, compressed " * 50]
        assert clean(node)


async def test_a_message_waits_for_an_absent_client(peers, until):
    async with DevNode() as node:
        alice = await peers.open("alice", node.rpc_url)
        bob = await peers.open("bob", node.rpc_url, seed="0b" * 32)
        await bob.close()
        await until(lambda: node.statistics()["clients"] == 1)
        await alice.send(bob.addr, "kept", noReply=True, msgHoldingSeconds=60)
        await alice.send(bob.addr, "not kept", noReply=True)
        await alice.send(bob.addr, "kept too", noReply=True, msgHoldingSeconds=60)
        node.faults = Faults(held_first=True)
        again = await peers.open("again", node.rpc_url, seed="0b" * 32)
        assert await again.messages(2) == ["kept", "kept too"]
        assert node.statistics()["nobody_there"] == 1
        # The SDK acknowledges what came before its registration was answered without a block hash.
        assert node.statistics().get("dropped_block_hash_length", 0) <= 2


async def test_sdk_answers_receipts_until_the_block_has_one(peers, until):
    async with DevNode(block_s=0) as node:
        alice = await peers.open("alice", node.rpc_url)
        bob = await peers.open("bob", node.rpc_url)
        await alice.send(bob.addr, "asks for a receipt")
        await until(lambda: node.statistics()["receipts"])
        asked = node.statistics()["receipts_asked"]
        await alice.send(bob.addr, "does not")
        assert node.statistics()["receipts_asked"] == asked
        node.ring.make_block()
        await alice.send(bob.addr, "asks again")
        assert node.statistics()["receipts_asked"] > asked
        assert clean(node)


async def test_wrong_node_answer_leads_to_the_other_node(peers, until):
    ring = Ring(bytes)
    async with (
        DevNode(ring=ring, node_id=b"\x00" * 32) as low,
        DevNode(ring=ring, node_id=b"\x80" * 32) as high,
    ):
        alice = await peers.open("alice", low.rpc_url, numSubClients=4, originalClient=True)
        bob = await peers.open("bob", high.rpc_url, numSubClients=4, originalClient=True)
        # Asked of the nodes: the SDK may name the node that it was sent away from.
        parts = [*alice.parts, *bob.parts]
        upper = sum(address.client_id(addr)[0] >= 0x80 for addr in parts)
        assert len(parts) == 10
        await until(lambda: high.statistics()["clients"] == upper)
        await until(lambda: low.statistics()["clients"] == len(parts) - upper)
        await bob.handle("echo")
        assert await alice.send(bob.addr, "across") == "across"
        assert clean(low)
        assert clean(high)


async def test_wrong_node_answers_end_and_the_client_comes_in(peers):
    async with DevNode(faults=Faults(wrong_node=3)) as node:
        alice = await peers.open("alice", node.rpc_url)
        bob = await peers.open("bob", node.rpc_url)
        assert await alice.send(bob.addr, "found the way") is None
        assert node.statistics()["wrong_node_answers"] == 3


async def test_wrong_node_to_a_dead_address_falls_back_to_rpc(peers):
    async with DevNode(faults=Faults(wrong_node=1, wrong_node_addr="127.0.0.1:1")) as node:
        alice = await peers.open("alice", node.rpc_url, reconnectIntervalMin=20)
        bob = await peers.open("bob", node.rpc_url)
        assert await alice.send(bob.addr, "back again") is None


async def test_clients_follow_the_push_when_a_node_joins_and_leaves(peers, until):
    ring = Ring(bytes)
    async with DevNode(ring=ring, node_id=b"\x00" * 32) as low:
        alice = await peers.open(
            "alice", low.rpc_url, numSubClients=4, originalClient=True, reconnectIntervalMin=20
        )
        bob = await peers.open(
            "bob", low.rpc_url, numSubClients=4, originalClient=True, reconnectIntervalMin=20
        )
        theirs = [addr for addr in alice.parts + bob.parts if address.client_id(addr)[0] >= 0x40]
        async with DevNode(ring=ring, node_id=b"\x40" + b"\x00" * 31) as high:
            await until(lambda: high.statistics()["clients"] == len(theirs))
            await until(lambda: low.statistics()["clients"] == 10 - len(theirs))
            assert low.statistics().get("wrong_node_pushes", 0) == len(theirs)
            assert await alice.send(bob.addr, "moved") is None
        await until(lambda: low.statistics()["clients"] == 10)
        assert await alice.send(bob.addr, "moved back") is None


async def test_clients_come_back_after_a_cut(peers, until):
    async with DevNode() as node:
        alice = await peers.open("alice", node.rpc_url, numSubClients=2, reconnectIntervalMin=20)
        bob = await peers.open("bob", node.rpc_url, numSubClients=2, reconnectIntervalMin=20)
        registered = node.statistics()["registered"]
        node.cut()
        await until(lambda: node.statistics()["registered"] == registered + 4)
        assert await alice.send(bob.addr, "again") is None


async def test_clients_come_back_when_rpc_recovers(peers, until):
    async with DevNode() as node:
        alice = await peers.open("alice", node.rpc_url, reconnectIntervalMin=20)
        bob = await peers.open("bob", node.rpc_url, reconnectIntervalMin=20)
        for kind in ("refuse", "500", "429", "garbage", "error"):
            registered, failed = node.statistics()["registered"], node.statistics().get("rpc_failed", 0)
            node.faults = Faults(rpc_failure=kind)
            node.cut()
            await until(lambda failed=failed: node.statistics().get("rpc_failed", 0) >= failed + 6)
            node.faults = Faults()
            await until(lambda registered=registered: node.statistics()["registered"] == registered + 2)
            assert await alice.send(bob.addr, kind) is None
        assert await bob.messages(5) == ["refuse", "500", "429", "garbage", "error"]


async def test_a_few_rpc_failures_at_the_start_are_survived(peers):
    async with DevNode(faults=Faults(rpc_failure="error", rpc_failures=2)) as node:
        alice = await peers.open("alice", node.rpc_url)
        assert alice.addr
        assert node.statistics()["rpc_failed"] == 2


async def test_multiclients_get_through_loss_and_disorder(peers):
    faults = Faults(loss=0.2, duplicate=0.3, reorder=0.5, reorder_ms=20, delay_ms=5, jitter_ms=5)
    async with DevNode(faults=faults, seed=7) as node:
        alice = await peers.open("alice", node.rpc_url, numSubClients=4)
        bob = await peers.open("bob", node.rpc_url, numSubClients=4)
        answers = await asyncio.gather(
            *(alice.send(bob.addr, f"m{number}", responseTimeout=800) for number in range(20)),
            return_exceptions=True,
        )
        got = await bob.messages(answers.count(None))
        assert len(got) == len(set(got))
        assert answers.count(None) >= 15
        assert node.statistics()["lost"]
        assert node.statistics()["duplicated"]


async def test_one_path_may_swallow_everything(peers):
    async with DevNode(faults=Faults(black_hole=(0,))) as node:
        alice = await peers.open("alice", node.rpc_url, numSubClients=2)
        bob = await peers.open("bob", node.rpc_url, numSubClients=2)
        assert await alice.send(bob.addr, "by the other one") is None
        node.faults = replace(node.faults, black_hole=(0, 1))
        with pytest.raises(peers.Error, match=r"timeout|fail"):
            await alice.send(bob.addr, "lost", responseTimeout=200)


async def test_wss_with_the_self_signed_certificate(peers_with, tmp_path):
    async with DevNode(wss_port=0) as node:
        certificate = tmp_path / "node.pem"
        certificate.write_bytes(node.certificate_pem)
        async with peers_with({"NODE_EXTRA_CA_CERTS": str(certificate)}) as peers:
            alice = await peers.open("alice", node.rpc_url, tls=True, numSubClients=2)
            bob = await peers.open("bob", node.rpc_url, tls=True, numSubClients=2)
            await bob.handle("echo")
            assert await alice.send(bob.addr, "over TLS") == "over TLS"
            assert all(part["node"] == node.wss_url.removeprefix("wss://") for part in await alice.state())
        assert clean(node)
