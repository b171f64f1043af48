"""Our client against the unmodified SDK, over the development node, and over a real nknd if there is one."""

import asyncio
import os
import ssl

import pytest

from relay.nkn import Client, MultiClient, NknTimeoutError
from relay.nkn.devnode import DevNode, Faults

pytestmark = pytest.mark.node

RECONNECT = {"reconnect_interval_min": 0.02, "reconnect_interval_max": 0.05}
PLAIN, ONE, TWO = {}, {"num_sub_clients": 1}, {"num_sub_clients": 2}
TWO_AND_ORIGINAL = {"num_sub_clients": 2, "original_client": True}
SDK_NAMES = {"num_sub_clients": "numSubClients", "original_client": "originalClient"}
SHAPES = [
    pytest.param(PLAIN, PLAIN, id="client-client"),
    pytest.param(ONE, ONE, id="multi1-multi1"),
    pytest.param(TWO, TWO, id="multi2-multi2"),
    pytest.param(TWO_AND_ORIGINAL, TWO_AND_ORIGINAL, id="multi2+original-multi2+original"),
    pytest.param(TWO_AND_ORIGINAL, PLAIN, id="multi2+original-client"),
    pytest.param(PLAIN, TWO_AND_ORIGINAL, id="client-multi2+original"),
    pytest.param(TWO, ONE, id="multi2-multi1"),
    pytest.param(ONE, TWO_AND_ORIGINAL, id="multi1-multi2+original"),
]
BIG = bytes(range(256)) * 800


class Ours:
    """Our client as a test sees it: what came, and what it answers."""

    def __init__(self, rpc, shape, **options):
        make = MultiClient if shape else Client
        self.client = make(rpc_server_addr=[rpc], **RECONNECT, **shape, **options)
        self.answer = None
        self.got = []
        self.client.on_message(self._take)

    @property
    def addr(self):
        return self.client.addr

    @property
    def data(self):
        return [message.payload for message in self.got]

    async def __aenter__(self):
        await self.client.__aenter__()
        async with asyncio.timeout(10):
            while not all(part["ready"] for part in self.client.statistics()["parts"].values()):
                await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *raised):
        await self.client.__aexit__(*raised)

    def _take(self, message):
        self.got.append(message)
        return message.payload if self.answer == "echo" else self.answer

    async def send(self, *args, **options):
        return await self.client.send(*args, **options)


@pytest.fixture(params=["devnode", pytest.param("nknd", marks=pytest.mark.nknd)])
async def rpc(request):
    if request.param == "devnode":
        async with DevNode(block_s=0.2) as node:
            yield node.rpc_url
            wrong = {
                name: count
                for name, count in node.statistics().items()
                if name.startswith(("dropped_", "refused_", "text_refused")) and count
            }
            assert wrong == {}
        return
    if "NKN_TEST_RPC" not in os.environ:
        pytest.skip("set NKN_TEST_RPC to the JSON-RPC URL of a running nknd, such as http://127.0.0.1:30003")
    yield os.environ["NKN_TEST_RPC"]


def sdk(shape):
    return {SDK_NAMES[name]: value for name, value in shape.items()}


@pytest.mark.parametrize(("ours", "theirs"), SHAPES)
async def test_both_directions_once_each(peers, rpc, ours, theirs):
    async with Ours(rpc, ours, identifier="ours") as mine:
        peer = await peers.open("peer", rpc, identifier="theirs", **sdk(theirs))
        sent = ["text ✓", b"\x00\xff binary", BIG, "x" * 100_000]

        for data in sent:
            assert await peer.send(mine.addr, data) is None
        mine.answer = "echo"
        for data in sent:
            assert await peer.send(mine.addr, data) == data
        mine.answer = "a reply"
        assert await peer.send(mine.addr, "replied to") == "a reply"

        for data in sent:
            assert await mine.send(peer.addr, data) is None
        await peer.handle("echo")
        for data in sent:
            assert await mine.send(peer.addr, data) == data
        await peer.handle({"base64": "AAEC"})
        assert await mine.send(peer.addr, "replied to") == b"\x00\x01\x02"

        await asyncio.sleep(0.05)
        assert mine.data == [*sent, *sent, "replied to"]
        assert await peer.messages(9) == [*sent, *sent, "replied to"]
        assert {message.src for message in mine.got} == {peer.addr}
        assert {event["src"] for event in await peer.arrivals(9)} == {mine.addr}


async def test_many_at_once_arrive_once_each(peers, rpc):
    async with Ours(rpc, TWO) as mine:
        peer = await peers.open("peer", rpc, **sdk(TWO))
        texts = [f"message {number}" for number in range(50)]
        assert await asyncio.gather(*(mine.send(peer.addr, text) for text in texts)) == [None] * 50
        assert await asyncio.gather(*(peer.send(mine.addr, text) for text in texts)) == [None] * 50
        await asyncio.sleep(0.05)
        assert sorted(mine.data) == sorted(texts)
        assert sorted(await peer.messages(50)) == sorted(texts)


@pytest.mark.parametrize("shape", [PLAIN, TWO], ids=["client", "multi2"])
async def test_several_destinations(peers, rpc, shape):
    async with Ours(rpc, shape, identifier="a") as mine, Ours(rpc, shape, identifier="b") as second:
        peer = await peers.open("peer", rpc, **sdk(shape))
        other = await peers.open("other", rpc, **sdk(shape))
        text = "to both, compressed " * 50
        assert await mine.send([peer.addr, other.addr], text) is None
        assert await peer.messages(1) == await other.messages(1) == [text]
        assert await peer.send([mine.addr, second.addr], text) is None
        await asyncio.sleep(0.05)
        assert mine.data == second.data == [text]
        assert await peer.messages(1) == await other.messages(1) == [text]


async def test_messages_that_want_no_reply_get_none(peers, rpc):
    async with Ours(rpc, PLAIN) as mine:
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
    async with Ours(rpc, PLAIN) as strict, Ours(rpc, PLAIN, accept_unencrypted=True) as open_minded:
        peer = await peers.open("peer", rpc)
        with pytest.raises(peers.Error):
            await peer.send(strict.addr, "in the clear", encrypt=False, responseTimeout=300)
        assert await peer.send(open_minded.addr, "in the clear", encrypt=False) is None
        assert await open_minded.send(peer.addr, "likewise", encrypt=False) is None
        assert [message.is_encrypted for message in open_minded.got] == [False]
        assert [event["encrypted"] for event in await peer.arrivals(1)] == [False]
        assert strict.data == []


async def test_held_messages_wait_for_either_side(peers, rpc, until):
    seed, theirs = os.urandom(32), os.urandom(32).hex()
    sender = await peers.open("sender", rpc)
    absent = Client(seed=seed, rpc_server_addr=[rpc])
    await sender.send(absent.addr, "held for ours", noReply=True, msgHoldingSeconds=60)
    async with Ours(rpc, PLAIN, seed=seed) as mine:
        await until(lambda: mine.data == ["held for ours"])
        gone = await peers.open("gone", rpc, seed=theirs)
        await gone.close()
        await asyncio.sleep(0.05)
        await mine.send(gone.addr, "held for theirs", no_reply=True, max_holding_seconds=60)
        back = await peers.open("back", rpc, seed=theirs)
        assert await back.messages(1) == ["held for theirs"]


async def test_every_message_once_though_copies_come_twice_and_late(peers):
    faults = Faults(duplicate=0.5, reorder=0.5, reorder_ms=20, delay_ms=2, jitter_ms=2)
    async with DevNode(faults=faults, seed=3) as node, Ours(node.rpc_url, TWO) as mine:
        peer = await peers.open("peer", node.rpc_url, **sdk(TWO))
        texts = [f"message {number}" for number in range(20)]
        assert await asyncio.gather(*(peer.send(mine.addr, text) for text in texts)) == [None] * 20
        assert await asyncio.gather(*(mine.send(peer.addr, text) for text in texts)) == [None] * 20
        await asyncio.sleep(0.05)
        assert sorted(mine.data) == sorted(texts)
        assert node.statistics()["duplicated"]


async def test_talk_goes_on_after_a_cut(peers, until):
    async with DevNode() as node, Ours(node.rpc_url, TWO) as mine:
        peer = await peers.open("peer", node.rpc_url, **sdk(TWO), reconnectIntervalMin=20)
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
            Ours(node.rpc_url, TWO, tls=True, ssl=trust) as mine,
        ):
            peer = await peers.open("peer", node.rpc_url, tls=True, **sdk(TWO))
            assert await mine.send(peer.addr, "over TLS") is None
            assert await peer.send(mine.addr, "over TLS") is None
