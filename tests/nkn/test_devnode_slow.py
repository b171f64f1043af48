"""Slow clients: what they do to themselves and to others; a real node's ten seconds are made shorter."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from nkn.devnode_raw import Raw, until
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from relay.nkn import envelope, seal
from relay.nkn.devnode import DevNode, Faults, Times
from relay.nkn.devnode import limits as own

BIG = "x" * 1_000_000


async def pair(stack_alice, stack_bob):
    return await stack_alice.register(), await stack_bob.register()


def of(node, name):
    """What the node says about a client."""
    return next(client for client in node.clients() if name in client["address"])


def number_in(frame):
    return int(seal.parse(envelope.read(frame).payload).payload)


async def flood(sender, receiver, count):
    frame = sender.frame(receiver, BIG)
    for _ in range(count):
        await sender.socket.send(frame)


async def fill(node, alice, bob):
    """Bob reads nothing, and the system takes no more for him: what is written to him stalls."""
    await pair(alice, bob)
    bob.socket.transport.pause_reading()
    await flood(alice, bob, 16)
    await until(lambda: node.statistics().get("routed") == 16)
    before = 0
    while (now := of(node, "bob")["queued_b"]) != before or not now:
        before = now
        await asyncio.sleep(0.04)


async def test_a_write_that_takes_too_long_makes_a_zombie():
    times = Times(write_stall_s=0.05)
    async with (
        DevNode(times=times) as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob", max_queue=1) as bob,
    ):
        await pair(alice, bob)
        bob.socket.transport.pause_reading()
        await flood(alice, bob, 20)
        await until(lambda: of(node, "bob")["silenced"])
        assert (node.statistics()["clients"], node.statistics()["queued_b"]) == (2, 0)
        await bob.socket.send('{"Action":"heartbeat"}')
        await bob.socket.send(bob.frame(alice, "still relayed"))
        assert await alice.message() == "still relayed"
        bob.socket.transport.resume_reading()
        node.cut()
        got = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                got.append(await bob.recv())
        assert 0 < len(got) < 20
        assert {type(frame) for frame in got} == {bytes}


async def test_a_client_that_reads_nothing_is_dropped_after_a_while_and_bothers_nobody():
    times = Times(ping_s=0.2, pong_timeout_s=1.0)
    async with (
        DevNode(times=times) as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob", max_queue=1) as bob,
        Raw(node.ws_url, "carol") as carol,
    ):
        await pair(alice, bob)
        await carol.register()
        bob.socket.transport.pause_reading()
        await flood(alice, bob, 10)
        await alice.send(carol, "meanwhile")
        assert await carol.message() == "meanwhile"
        assert of(node, "bob")["queued_b"] > len(BIG)
        await until(lambda: node.statistics()["clients"] == 2)
        assert node.statistics()["silent_dropped"] == 1


class Noting(ClientConnection):
    """A connection that notes the pings and messages it reads, in order."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.noted = []

    def process_event(self, event):
        if isinstance(event, Frame) and event.opcode in {Opcode.PING, Opcode.BINARY}:
            self.noted.append(event.opcode.name)
        super().process_event(event)


async def test_pings_wait_behind_data():
    faults = Faults(only="bob", downlink_bps=2_000_000)
    async with (
        DevNode(faults=faults, times=Times(ping_s=0.1)) as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob", create_connection=Noting) as bob,
    ):
        await pair(alice, bob)
        await until(lambda: bob.socket.noted)
        bob.socket.noted.clear()
        frame = alice.frame(bob, "x" * 300_000)
        for _ in range(3):
            await alice.socket.send(frame)
        await until(lambda: bob.socket.noted.count("PING") >= 2)
        first = bob.socket.noted.index("BINARY")
        assert bob.socket.noted[first : first + 3] == ["BINARY"] * 3


@pytest.mark.parametrize(("fragments", "arrives"), [(1, False), (40, True)])
async def test_one_slow_frame_is_cut_off_and_fragments_with_pongs_pass(fragments, arrives):
    times = Times(ping_s=0.1, pong_timeout_s=0.5)
    async with DevNode(times=times) as node, Raw(node.ws_url) as alice, Raw(node.ws_url, "bob") as bob:
        await pair(alice, bob)
        node.faults = Faults(only="alice", uplink_bps=500_000)
        frame = alice.frame(bob, "x" * 500_000)

        async def upload():
            size = -(-len(frame) // fragments)
            for at in range(0, len(frame), size):
                yield frame[at : at + size]
                await alice.socket.pong()

        if arrives:
            await alice.socket.send(upload())
            assert len(await bob.message()) == 500_000
        else:
            await alice.socket.send(frame)
            assert await alice.gone() == 1006
            assert node.statistics()["silent_dropped"] == 1
            assert node.statistics().get("routed", 0) == 0


async def test_a_slow_line_carries_so_many_bytes_a_second():
    async with DevNode() as node, Raw(node.ws_url) as alice, Raw(node.ws_url, "bob") as bob:
        await pair(alice, bob)
        node.faults = Faults(only="bob", downlink_bps=400_000)
        now = asyncio.get_running_loop().time
        begun = now()
        await alice.send(bob, "x" * 100_000)
        assert len(await bob.message()) == 100_000
        assert now() - begun >= 0.2
        begun = now()
        await bob.send(alice, "x" * 100_000)
        assert len(await alice.message()) == 100_000
        node.faults = Faults(only="bob", uplink_bps=400_000)
        await bob.send(alice, "x" * 100_000)
        assert len(await alice.message()) == 100_000
        assert now() - begun >= 0.2


async def test_a_frame_that_is_too_slow_to_write_makes_a_zombie_too():
    async with (
        DevNode(times=Times(write_stall_s=0.1)) as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob") as bob,
    ):
        await pair(alice, bob)
        node.faults = Faults(only="bob", downlink_bps=100_000)
        await alice.send(bob, "x" * 200_000)
        await until(lambda: of(node, "bob")["silenced"])
        await alice.send(alice, "to others as ever")
        assert await alice.message() == "to others as ever"


async def test_a_block_stops_everything_while_one_client_is_stuck():
    async with (
        DevNode(block_s=0, faults=Faults(freeze_at_block=True)) as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob", max_queue=1) as bob,
    ):
        await fill(node, alice, bob)
        node.make_block()
        newest = asyncio.create_task(alice.control("updateSigChainBlockHash"))
        await alice.send(alice, "waits")
        carol = asyncio.create_task(Raw(node.ws_url, "carol").__aenter__())
        await until(lambda: node.statistics().get("frames") == 17)
        done, _ = await asyncio.wait([newest, carol], timeout=0.05)
        assert not done
        assert node.statistics()["standstills"] == 1
        bob.socket.transport.resume_reading()
        assert (await newest)["Result"] == node.ring.chain.latest.hex()
        assert await alice.message() == "waits"
        await (await carol).__aexit__()
        assert len(await bob.message()) == len(BIG)


async def test_a_stuck_client_that_is_given_up_no_longer_stops_anybody():
    async with (
        DevNode(block_s=0, faults=Faults(freeze_at_block=True)) as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob", max_queue=1) as bob,
    ):
        await fill(node, alice, bob)
        node.make_block()
        stuck = of(node, "bob")["socket"]
        node._life.board.links[stuck].silence()  # as it does by itself after ten seconds
        assert (await alice.control("updateSigChainBlockHash"))["Result"] == node.ring.chain.latest.hex()


async def test_nothing_stands_still_without_the_fault_or_without_a_stuck_client():
    async with (
        DevNode(block_s=0) as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob", max_queue=1) as bob,
    ):
        await pair(alice, bob)
        bob.socket.transport.pause_reading()
        node.faults = Faults(freeze_at_block=True)
        node.make_block()
        await alice.control("updateSigChainBlockHash")
        node.faults = Faults()
        await flood(alice, bob, 16)
        await until(lambda: of(node, "bob")["queued_b"])
        node.make_block()
        await alice.control("updateSigChainBlockHash")
        assert "standstills" not in node.statistics()


async def test_a_node_that_stands_still_can_be_stopped():
    node = DevNode(block_s=0, faults=Faults(freeze_at_block=True))
    await node.start()
    async with Raw(node.ws_url) as alice, Raw(node.ws_url, "bob", max_queue=1) as bob:
        await fill(node, alice, bob)
        node.make_block()
        async with asyncio.timeout(own.STOP_S + 3):
            await node.stop()
        assert await alice.gone() == 1006


async def test_messages_overtake_each_other_and_none_is_lost():
    async with (
        DevNode(faults=Faults(shuffle=1.0), seed=1) as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob") as bob,
    ):
        await pair(alice, bob)
        for number in range(200):
            await alice.send(bob, str(number))
        got = [int(await bob.message()) for _ in range(200)]
        assert sorted(got) == list(range(200))
        assert got != sorted(got)


async def test_held_messages_keep_the_order_in_which_they_came_in():
    async with DevNode(faults=Faults(shuffle=1.0), seed=1) as node, Raw(node.ws_url) as alice:
        await alice.register()
        bob = Raw(node.ws_url, "bob")
        for number in range(100):
            await alice.send(bob, str(number), hold=60)
        await until(lambda: node.statistics()["holding"] == 100)
        stored = [number_in(held.frame) for held in node._life.core.holding._held]
        node.faults = replace(node.faults, shuffle=0.0)
        async with bob:
            await bob.register()
            got = []
            while len(got) < 100:
                if isinstance(frame := await bob.recv(), bytes):
                    got.append(number_in(frame))
        assert got == stored
        assert got != sorted(got)


async def test_one_who_reads_late_gets_everything_in_order():
    async with (
        DevNode() as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob", max_queue=1) as bob,
    ):
        await pair(alice, bob)
        bob.socket.transport.pause_reading()
        for number in range(200):
            await alice.send(bob, f"{number} {'x' * 60_000}")
        await until(lambda: node.statistics().get("routed") == 200)
        assert of(node, "bob")["queued_b"] > 0
        bob.socket.transport.resume_reading()
        assert [int((await bob.message()).partition(" ")[0]) for _ in range(200)] == list(range(200))
        await until(lambda: of(node, "bob")["queued_b"] == 0)
        await alice.send(bob, "and then")
        assert await bob.message() == "and then"


@pytest.mark.parametrize(
    ("faults", "lost", "silenced", "cuts"),
    [
        (Faults(only="bob", loss=1), 2, set(), 0),
        (Faults(only="bob", mute=True), 0, {"bob"}, 0),
        (Faults(only="bob", cut_after_frames=1), 0, set(), 1),
    ],
    ids=["loss", "mute", "cut"],
)
async def test_what_concerns_one_client_leaves_the_others_alone(faults, lost, silenced, cuts):
    async with DevNode() as node, Raw(node.ws_url) as alice, Raw(node.ws_url, "bob") as bob:
        await pair(alice, bob)
        node.faults = faults
        for receiver in (bob, bob, alice, alice):
            await alice.send(receiver, "to alice" if receiver is alice else "to bob")
        assert [await alice.message() for _ in range(2)] == ["to alice", "to alice"]
        counted = node.statistics()
        assert (counted.get("lost", 0), counted.get("cuts", 0)) == (lost, cuts)
        assert {one["address"].partition(".")[0] for one in node.clients() if one["silenced"]} == silenced
