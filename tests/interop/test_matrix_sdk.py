"""Every shape of our client with every shape of the unmodified SDK, both directions: what arrives, and once.

One session per pair; all pairs share a node and the SDK's process.
"""

import asyncio
import itertools

import pytest
from interop.ours import SHAPES, Ours, parts, sdk
from interop.sdk import PeerError

from relay.nkn import MessageTooLargeError, NknTimeoutError
from wire import limits

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]

DATA = {
    "text": "text ✓",
    "empty text": "",
    "binary": b"\x00\xff binary",
    "empty binary": b"",
    "one byte": b"\x01",
    "100 kB of text": "ß" * 50_000,
    "200 kB": bytes(range(256)) * 800,
}
MEETING = [pair for pair in itertools.product(SHAPES, SHAPES) if parts(pair[0]) & parts(pair[1])]
STRANGERS = [pair for pair in itertools.product(SHAPES, SHAPES) if pair not in MEETING]
LARGE = [("client", "client"), ("multi2+original", "multi2+original")]
SIGNATURE_B = 64
SEAL_B = {str: 71, bytes: 64}
"""What the SDK's nested protobufs and the seal add to a message of some megabytes."""


def filled(kind, size, dest):
    """Data of which a sealed message to `dest` counts for `size` bytes."""
    letter = "m" if kind is str else b"\xff"
    return letter * (size - len(dest) - SIGNATURE_B - SEAL_B[kind])


def told(data):
    """What the SDK's user gets: no bytes are an empty text there."""
    return data or ""


@pytest.fixture
def open_peer(shared_peers, shared_rpc):
    """Makes an SDK client of a shape."""

    async def opened(shape):
        return await shared_peers.open("peer", shared_rpc, identifier="theirs", **sdk(shape))

    return opened


@pytest.mark.parametrize(("ours", "theirs"), MEETING)
async def test_all_kinds_of_messages_both_ways(shared_rpc, open_peer, until, ours, theirs):
    sent = list(DATA.values())
    async with Ours(shared_rpc, ours, identifier="ours") as mine:
        peer = await open_peer(theirs)
        for answer in ("ack", "echo"):
            mine.answer = None if answer == "ack" else answer
            await peer.handle(answer)
            for data in sent:
                assert await peer.send(mine.addr, data) == (None if answer == "ack" else told(data))
                assert await mine.send(peer.addr, data) == (None if answer == "ack" else told(data))
        mine.answer = b"ours"
        await peer.handle({"text": "theirs"})
        assert await peer.send(mine.addr, "?") == b"ours"
        assert await mine.send(peer.addr, "?") == "theirs"
        copies = len(parts(ours) & parts(theirs))
        await until(lambda: mine.counts.get("duplicates", 0) >= 15 * (copies - 1))
        await asyncio.sleep(0.05)
        assert mine.data == [*sent, *sent, "?"]
        assert await peer.messages(15) == [*map(told, [*sent, *sent]), "?"]
        assert {(message.src, message.is_encrypted) for message in mine.got} == {(peer.addr, True)}
        assert {(one["src"], one["encrypted"]) for one in await peer.arrivals(15)} == {(mine.addr, True)}
        assert mine.counts["messages"] == 15
        assert mine.counts.get("duplicates", 0) == 15 * (copies - 1)
        await peer.close()


@pytest.mark.parametrize(("ours", "theirs"), STRANGERS)
async def test_who_has_no_part_in_common_meets_by_the_parts_address(shared_rpc, open_peer, ours, theirs):
    async with Ours(shared_rpc, ours) as mine:
        peer = await open_peer(theirs)
        with pytest.raises(PeerError, match="timeout"):
            await peer.send(mine.addr, "nobody there", responseTimeout=250)
        with pytest.raises(NknTimeoutError):
            await mine.send(peer.addr, "nobody there", response_timeout=0.1)
        assert mine.data == []
        mine.answer = "found"
        if theirs == "client":
            # Ours answers a plain client on the part that it wrote to.
            assert await peer.send(f"__0__.{mine.addr}", "a part of yours?") == "found"
            assert await mine.send(peer.addr, "you, then") is None
        else:
            # The SDK's part answers to a part that ours does not have.
            await mine.send(f"__0__.{peer.addr}", "a part of yours?", no_reply=True)
            assert await peer.messages(1) == ["a part of yours?"]
        await peer.close()


@pytest.mark.parametrize("shape", SHAPES)
async def test_one_send_reaches_several(shared_rpc, open_peer, shape):
    async with (
        Ours(shared_rpc, shape, identifier="a") as mine,
        Ours(shared_rpc, shape, identifier="b") as second,
    ):
        peer, other = await open_peer(shape), await open_peer(shape)
        for number, data in enumerate(["to both, compressed " * 50, b"\0" * 100_000, ""], 1):
            assert await mine.send([peer.addr, other.addr], data) is None
            assert (await peer.messages(number))[-1] == (await other.messages(number))[-1] == told(data)
            assert await peer.send([mine.addr, second.addr], data) is None
        await asyncio.sleep(0.05)
        assert mine.data == second.data == ["to both, compressed " * 50, b"\0" * 100_000, ""]
        assert await peer.messages(3) == await other.messages(3) == mine.data
        await peer.close()
        await other.close()


@pytest.mark.parametrize(("ours", "theirs"), LARGE)
async def test_messages_up_to_the_networks_limit_and_none_beyond_it(shared_rpc, open_peer, ours, theirs):
    async with Ours(shared_rpc, ours) as mine:
        peer = await open_peer(theirs)
        prefix = "" if ours == "client" else "__0__."
        # As the network counts, with destination, seal and signature: 1 MB, 3,999,999, 4,000,000.
        sizes = itertools.product((1_000_000, limits.DM_MAX_B - 1, limits.DM_MAX_B), (str, bytes))
        for number, (size, kind) in enumerate(sizes, 1):
            there = filled(kind, size, prefix + peer.addr)
            assert await mine.send(peer.addr, there, response_timeout=15) is None
            assert (await peer.messages(number))[-1] == there
            back = filled(kind, size, prefix + mine.addr)
            assert await peer.send(mine.addr, back, responseTimeout=15_000) is None
            assert mine.data[-1] == back
        over = filled(bytes, limits.DM_MAX_B + 1, prefix + peer.addr)
        for data in (over, b"\xff" * 3_999_999):
            with pytest.raises(MessageTooLargeError, match=r"400\d{4} bytes .* may have 4000000"):
                await mine.send(peer.addr, data)
        with pytest.raises(PeerError, match="greater than 4000000 bytes"):
            await peer.send(mine.addr, b"\xff" * 3_999_999)
        assert await mine.send(peer.addr, "goes on") is None
        assert len(mine.data) == 6
        assert len(await peer.messages(7)) == 7
        await peer.close()
