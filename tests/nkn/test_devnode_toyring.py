"""Several nodes in one process: who owns whom, and what the others see of one that is stopped or frozen."""

import asyncio
import contextlib

import pytest
from nkn.devnode_raw import Raw, rpc, told, until

from relay.nkn import address
from relay.nkn.devnode import DevNode, Faults, PortTaken, Times, ToyRing
from relay.nkn.devnode import limits as own


def name_of(ring, index):
    """A name whose address lives on a node of the ring."""
    for number in range(1000):
        name = f"client{number}"
        client = Raw(ring.nodes[0].ws_url, name)
        if ring.nodes[0].ring.owner(address.client_id(client.addr)).place == ring.nodes[index].place:
            return name
    raise AssertionError


async def owner(node, client):
    return told(await rpc(node, "getwsaddr", address=client.addr))


async def test_each_node_owns_its_part():
    async with ToyRing(3) as ring:
        assert [node.place.id[0] for node in ring.nodes] == [0, 0x55, 0xAA]
        names = [name_of(ring, index) for index in range(3)]
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(Raw(node.ws_url, name))
                for node, name in zip(ring.nodes, names, strict=True)
            ]
            for client in clients:
                await client.register()
            for sender in clients:
                for receiver in clients:
                    await sender.send(receiver, f"from {sender.addr}")
                    assert await receiver.message() == f"from {sender.addr}"
            for node in ring.nodes:
                addrs = [(await owner(node, client))["result"]["addr"] for client in clients]
                assert addrs == [other.place.ws for other in ring.nodes]


async def test_the_wrong_node_names_the_right_one():
    async with ToyRing(2) as ring, Raw(ring.nodes[0].ws_url, name_of(ring, 1)) as lost:
        with pytest.raises(AssertionError):
            await lost.register()
        assert ring.nodes[0].statistics()["wrong_node_answers"] == 1


async def test_a_stopped_nodes_clients_belong_to_another_until_it_is_back():
    async with ToyRing(2) as ring:
        low, high = ring.nodes
        name = name_of(ring, 1)
        async with Raw(high.ws_url, name) as client:
            await client.register()
            await high.down()
            assert await client.gone() == 1006
        async with Raw(low.ws_url, name) as client:
            assert (await owner(low, client))["result"]["addr"] == low.place.ws
            await client.register()
            await high.up()
            pushed = await client.control("")
            assert (pushed["Error"], pushed["Result"]["addr"]) == (48001, high.place.ws)


async def test_a_frozen_nodes_clients_belong_to_another_after_a_while(monkeypatch):
    monkeypatch.setattr(own, "FROZEN_RPC_S", 0.02)
    async with ToyRing(2, times=Times(frozen_leave_s=0.3)) as ring:
        low, high = ring.nodes
        async with Raw(high.ws_url, name_of(ring, 1)) as client, Raw(low.ws_url, name_of(ring, 0)) as other:
            await client.register()
            await other.register()
            high.faults = Faults(frozen=True)
            assert (await owner(low, client))["error"]["data"] == "Wait for reply timeout"
            await other.send(client, "lost")
            await until(lambda: high.statistics().get("lost_here") == 1)
            await until(lambda: len(low.ring.members) == 1)
            assert (await owner(low, client))["result"]["addr"] == low.place.ws
            high.faults = Faults()
            assert (await owner(low, client))["result"]["addr"] == high.place.ws
            await other.send(client, "through again")
            assert await client.message() == "through again"


async def test_a_question_about_a_frozen_node_is_answered_as_soon_as_another_takes_over():
    async with ToyRing(2, times=Times(frozen_leave_s=0.1)) as ring:
        low, high = ring.nodes
        client = Raw(high.ws_url, name_of(ring, 1))
        high.faults = Faults(frozen=True)
        asked = asyncio.create_task(owner(low, client))
        async with asyncio.timeout(own.FROZEN_RPC_S - 1):
            assert (await asked)["result"]["addr"] == low.place.ws


async def test_a_lone_node_stays_on_its_ring_though_frozen():
    async with DevNode(times=Times(frozen_leave_s=0.0), faults=Faults(frozen=True)) as node:
        await asyncio.sleep(0.15)  # its look-out is ten times a second
        assert len(node.ring.members) == 1


async def test_a_usurper_swallows_what_belongs_elsewhere():
    async with ToyRing(2) as ring:
        low, high = ring.nodes
        async with Raw(high.ws_url, name_of(ring, 1)) as there, Raw(low.ws_url, name_of(ring, 0)) as here:
            await there.register()
            await here.register()
            low.faults = Faults(usurp=True)
            await here.send(there, "vanishes")
            await until(lambda: low.statistics().get("nobody_there") == 1)
            assert (await owner(low, there))["result"]["addr"] == low.place.ws
            assert (await owner(high, there))["result"]["addr"] == high.place.ws


async def test_blocks_are_the_same_for_all_and_outlive_the_first_node():
    async with ToyRing(2, block_s=0) as ring:
        low, high = ring.nodes
        low.make_block()
        newest = low.ring.chain.newest
        await low.down()
        assert told(await rpc(high, "getlatestblockhash"))["result"] == {"hash": newest.hex(), "height": 1}
        assert ring.nodes[0].ring.leads(high._life)


async def test_a_seed_makes_the_same_ring():
    places = []
    for _ in range(2):
        async with ToyRing(2, seed=3) as ring:
            places.append([(node.place.id, node.place.public_key) for node in ring.nodes])
    assert places[0] == places[1]
    assert len(set(places[0])) == 2


async def test_nothing_stays_open_when_one_of_them_cannot_start(unused_tcp_port_factory):
    base = unused_tcp_port_factory()
    async with DevNode(rpc_port=base + 10):
        ring = ToyRing(2, rpc_port=base)
        with pytest.raises(PortTaken):
            await ring.__aenter__()
        assert [node.running for node in ring.nodes] == [False, False]


@pytest.mark.parametrize(
    ("height", "receipted", "waits"), [(0, False, 3.0), (1, False, 5.0), (3, True, 5.0), (3, False, 60.0)]
)
async def test_blocks_come_slower_while_nothing_is_receipted(monkeypatch, height, receipted, waits):
    node = DevNode(times=Times(first_block_s=3.0, block_s=5.0, idle_block_s=60.0))
    slept, chain = [], node.ring.chain
    for _ in range(height):
        chain.advance()
    chain.receipted = receipted

    async def sleep(seconds):
        slept.append(seconds)

    def make_block():
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(node.ring, "leads", lambda _: True)
    monkeypatch.setattr(node.ring, "make_block", make_block)
    with pytest.raises(asyncio.CancelledError):
        await node._life._make_blocks()
    assert sum(slept) == waits
