import itertools

import pytest

from relay.nkn.devnode import limits
from relay.nkn.devnode.ring import Chain, Place, Ring, View, path_of


def entropy():
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size)


class Node:
    def __init__(self, first_byte):
        self.place = Place(bytes([first_byte]) * 32, b"k" * 32, "host:1", "host:2", "host:3")
        self.told = []
        self.frozen = False

    def take(self, parcel):
        self.told.append(parcel)

    def ring_changed(self):
        self.told.append("ring")

    def block_made(self):
        self.told.append("block")


def test_a_place_is_described_with_the_address_asked_for():
    place = Place(b"\x01" * 32, b"\x02" * 32, "host:1", "", "host:3")
    told = {"id": "01" * 32, "pubkey": "02" * 32, "rpcAddr": "host:3", "sdp": ""}
    assert place.described(tls=False) == {"addr": "host:1", **told}
    assert place.described(tls=True) == {"addr": "", **told}


@pytest.mark.parametrize(("address", "path"), [("__0__.a.k", 0), ("__12__.k", 12), ("a.k", -1), ("k", -1)])
def test_the_path_is_the_sub_clients_number(address, path):
    assert path_of(address) == path


def test_the_owner_is_the_greatest_id_not_above_and_wraps():
    ring = Ring(entropy())
    assert ring.owner(b"\x80" * 32) is None
    low, high = Node(0x40), Node(0xC0)
    ring.join(low)
    assert ring.owner(b"\x00" * 32) is low
    ring.join(high)
    assert ring.owner(low.place.id) is low
    assert ring.owner(b"\x41" + b"\x00" * 31) is low
    assert ring.owner(high.place.id) is high
    assert ring.owner(b"\xff" * 32) is high
    assert ring.owner(b"\x00" * 32) is high


def test_all_are_told_when_a_node_comes_or_goes():
    ring = Ring(entropy())
    low, high = Node(0x40), Node(0xC0)
    ring.join(low)
    ring.join(high)
    assert low.told == ["ring", "ring"]
    assert high.told == ["ring"]
    ring.leave(high)
    ring.leave(high)
    assert low.told == ["ring"] * 3
    assert ring.owner(b"\xff" * 32) is low


def test_ids_are_taken_once():
    ring = Ring(entropy())
    ring.join(Node(1))
    with pytest.raises(ValueError, match="two nodes"):
        ring.join(Node(1))


def test_the_first_node_makes_the_blocks_for_all():
    ring = Ring(entropy())
    first, second = Node(0xC0), Node(0x40)
    assert not ring.leads(first)
    ring.join(first)
    ring.join(second)
    assert ring.leads(first)
    assert not ring.leads(second)
    assert ring.members == [first, second]
    ring.make_block()
    assert ring.chain.height == 1
    assert first.told[-1] == second.told[-1] == "block"
    ring.leave(first)
    assert ring.leads(second)


def test_another_node_is_the_same_if_there_is_none():
    ring = Ring(entropy())
    first, second = Node(0xC0), Node(0x40)
    ring.join(first)
    assert ring.other(first) is first
    ring.join(second)
    assert ring.other(first) is second
    assert ring.other(second) is first


def test_the_chain_knows_its_last_hashes():
    chain = Chain(entropy())
    first = chain.latest
    assert len(first) == 32
    for height in range(1, limits.HASHES_KEPT + 1):
        chain.advance()
        assert chain.height == height
    assert chain.knows(first)
    assert chain.knows(chain.latest)
    chain.advance()
    assert not chain.knows(first)
    assert not chain.knows(b"")


def test_what_is_signed_is_the_block_before_the_newest():
    chain = Chain(entropy())
    genesis = chain.newest
    assert chain.latest == genesis
    chain.advance()
    assert (chain.latest, chain.newest == genesis) == (genesis, False)
    newest = chain.newest
    chain.advance()
    assert chain.latest == newest


def test_a_block_begins_without_receipts():
    chain = Chain(entropy())
    chain.receipted = True
    chain.advance()
    assert not chain.receipted


def test_a_usurper_owns_everything_in_its_own_eyes():
    ring = Ring(entropy())
    low, high = Node(0x00), Node(0x80)
    ring.join(low)
    ring.join(high)
    view = View(ring, low)
    assert view.owner(b"\xff" * 32) is high
    assert view.other() is high
    assert view.chain is ring.chain
    view.usurped = True
    assert view.owner(b"\xff" * 32) is low
    assert ring.owner(b"\xff" * 32) is high
