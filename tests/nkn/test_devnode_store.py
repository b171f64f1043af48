"""What a node keeps: held messages, sessions, liveness, receipts, deliveries, tokens, the state of a line."""

from uuid import UUID

import pytest

from relay.nkn import envelope
from relay.nkn.devnode import limits as own
from relay.nkn.devnode.holding import Holding
from relay.nkn.devnode.lane import Lane
from relay.nkn.devnode.limiter import Limiter
from relay.nkn.devnode.liveness import Due, Liveness
from relay.nkn.devnode.receipts import Receipts
from relay.nkn.devnode.redelivery import Redelivery
from relay.nkn.devnode.registry import EVERY, Choice, Registry
from relay.nkn.devnode.ring import Parcel
from relay.nkn.devnode.verification import Violation
from relay.nkn.identity import Identity
from wire import limits

BLOCK, NEXT_BLOCK = b"\x01" * 32, b"\x02" * 32


def test_held_messages_come_out_in_the_order_they_came():
    holding = Holding()
    for frame in (b"one", b"two", b"three"):
        assert holding.keep(b"a", frame, 10.0) == 0
    holding.keep(b"b", b"other", 10.0)
    assert len(holding) == 4
    assert holding.pop(b"a") == [b"one", b"two", b"three"]
    assert holding.pop(b"a") == []
    assert len(holding) == 1
    assert holding.held_b == 5


def test_what_is_too_much_goes_at_the_next_purge_the_oldest_first():
    holding = Holding(max_b=10)
    for client_id in (b"a", b"b", b"c"):
        assert holding.keep(client_id, b"12345", 1000.0) == 0
    assert holding.held_b == 15
    assert holding.purge(own.HOLD_PURGE_S) == (0, 1)
    assert [holding.pop(client_id) for client_id in (b"a", b"b", b"c")] == [[], [b"12345"], [b"12345"]]
    assert (len(holding), holding.held_b) == (0, 0)


def test_there_is_a_bound_between_two_purges_too():
    holding = Holding(max_b=1, hard_b=10)
    holding.keep(b"a", b"12345", 10.0)
    holding.keep(b"b", b"12345", 10.0)
    assert holding.keep(b"c", b"123456", 10.0) == 2
    assert holding.pop(b"c") == [b"123456"]
    assert holding.keep(b"c", b"12345678901", 10.0) == 1
    assert len(holding) == 0
    assert holding.held_b == 0


def test_what_is_over_its_time_stays_until_the_next_purge():
    holding = Holding()
    assert holding.purge(100.0) == (0, 0)
    holding.keep(b"a", b"short", 101.0)
    holding.keep(b"a", b"long", 200.0)
    assert holding.purge(100.0 + own.HOLD_PURGE_S - 0.1) == (0, 0)
    assert len(holding) == 2
    assert holding.purge(100.0 + own.HOLD_PURGE_S) == (1, 0)
    assert holding.pop(b"a") == [b"long"]


def test_an_address_may_be_at_several_sockets():
    registry = Registry()
    first, second = registry.open(tls=False), registry.open(tls=True)
    assert (first.tls, second.tls) == (False, True)
    assert first.number != second.number
    for session in (first, second):
        registry.register(session, "a.K", "a.k", b"id", b"key")
    assert registry.at(b"id") == [first, second]
    assert registry.registered() == [first, second]
    registry.close(first)
    assert registry.at(b"id") == [second]
    registry.close(second)
    assert registry.at(b"id") == []
    assert list(registry) == []


def test_a_socket_that_registers_again_moves():
    registry = Registry()
    session, idle = registry.open(tls=False), registry.open(tls=False)
    assert UUID(session.name) != UUID(idle.name)
    registry.register(session, "a", "a", b"one", b"key")
    registry.register(session, "b", "b", b"two", b"key")
    assert registry.at(b"one") == []
    assert registry.at(b"two") == [session]
    assert session.name == b"two".hex()
    assert len(registry) == 2
    registry.close(idle)
    registry.close(idle)
    assert list(registry) == [session]


def test_a_ping_is_due_every_eight_seconds_from_the_upgrade():
    liveness = Liveness(100.0)
    assert liveness.advance(107.9) is Due.NOTHING
    assert liveness.advance(108.0) is Due.PING
    assert liveness.advance(108.0) is Due.NOTHING
    for now in (109.0, 118.0, 127.0, 130.0):
        liveness.heard(now)
    assert liveness.advance(130.0) is Due.PING
    assert liveness.advance(131.9) is Due.NOTHING
    assert liveness.advance(132.0) is Due.PING


def test_silence_of_ten_seconds_is_the_end():
    liveness = Liveness(100.0)
    liveness.heard(101.0)
    assert liveness.advance(101.0 + limits.NODE_PONG_TIMEOUT_S - 0.1) is Due.PING
    assert liveness.advance(101.0 + limits.NODE_PONG_TIMEOUT_S) is Due.DROP


def test_a_node_that_slept_pings_once_and_then_ends_it_whatever_is_answered():
    liveness = Liveness(100.0)
    assert liveness.advance(145.0) is Due.PING
    liveness.heard(145.1)
    assert liveness.advance(145.2) is Due.DROP
    assert liveness.advance(147.0) is Due.DROP


def test_every_message_asks_until_the_block_has_a_receipt():
    receiver, receipts = Identity(b"r" * 32), Receipts()
    asked = [receipts.ask(mark, receiver.public_key, BLOCK) for mark in (b"1", b"2")]
    assert [len(prev_hash) for prev_hash in asked] == [32, 32]
    assert asked[0] != asked[1]
    assert receipts.take(signed(receiver, asked[0]), strict=True)
    assert receipts.ask(b"3", receiver.public_key, BLOCK) == b""
    assert len(receipts.ask(b"4", receiver.public_key, NEXT_BLOCK)) == 32


def test_strict_receipts_are_those_asked_for_and_signed_by_the_receiver():
    receiver, other, receipts = Identity(b"r" * 32), Identity(b"o" * 32), Receipts()
    prev_hash = receipts.ask(b"1", receiver.public_key, BLOCK)
    with pytest.raises(Violation) as raised:
        receipts.take(signed(receiver, b"\x00" * 32), strict=True)
    assert raised.value.reason == "receipt_unknown"
    with pytest.raises(Violation) as raised:
        receipts.take(signed(other, prev_hash), strict=True)
    assert raised.value.reason == "receipt_signature"
    assert receipts.ask(b"2", receiver.public_key, BLOCK)
    assert not receipts.take(envelope.Receipt(b"whatever", b""), strict=False)
    assert receipts.ask(b"3", receiver.public_key, BLOCK)
    assert receipts.take(envelope.Receipt(prev_hash, b"unsigned"), strict=False)
    assert receipts.ask(b"4", receiver.public_key, BLOCK) == b""


def test_old_requests_for_receipts_are_forgotten(monkeypatch):
    monkeypatch.setattr(own, "RECEIPTS_ASKED_MAX", 1)
    receiver, receipts = Identity(b"r" * 32), Receipts()
    old = receipts.ask(b"1", receiver.public_key, BLOCK)
    receipts.ask(b"2", receiver.public_key, BLOCK)
    with pytest.raises(Violation):
        receipts.take(signed(receiver, old), strict=True)


def signed(identity, prev_hash):
    return envelope.read(envelope.receipt(identity, prev_hash))


def parcel(hold_s):
    return Parcel(b"id", -1, "alice.k", b"payload", b"mark", hold_s)


def test_deliveries_are_looked_at_again_once_if_they_may_be_held_long_enough():
    redelivery = Redelivery()
    redelivery.note(parcel(own.REDELIVER_OVER_S), 1, 110.0)
    redelivery.note(parcel(own.REDELIVER_OVER_S + 1), 2, 111.0)
    redelivery.note(parcel(60), 3, 112.0)
    assert redelivery.due(110.9) == []
    assert [given.epoch for given in redelivery.due(111.0)] == [2]
    assert [given.parcel.hold_s for given in redelivery.due(200.0)] == [60]
    assert redelivery.due(300.0) == []


def test_a_burst_and_then_ten_a_second_for_each_peer():
    limiter = Limiter()
    assert [limiter.admits("a", 3, 100.0) for _ in range(4)] == [True, True, True, False]
    assert limiter.admits("b", 3, 100.0)
    assert not limiter.admits("a", 3, 100.09)
    assert limiter.admits("a", 3, 100.11)
    assert not limiter.admits("a", 3, 100.12)
    assert [limiter.admits("a", 3, 200.0) for _ in range(4)] == [True, True, True, False]


def test_without_a_burst_there_is_no_limit():
    limiter = Limiter()
    assert all(limiter.admits("a", 0, 0.0) for _ in range(1000))


def test_peers_of_long_ago_are_forgotten(monkeypatch):
    monkeypatch.setattr(own, "RATE_PEERS_MAX", 1)
    limiter = Limiter()
    assert limiter.admits("a", 1, 0.0)
    assert limiter.admits("b", 1, 0.0)
    assert limiter.admits("a", 1, 0.0)


def test_a_lane_carries_one_thing_after_the_other():
    lane = Lane()
    assert lane.carry(100, 1000.0, 10.0) == pytest.approx(0.1)
    assert lane.carry(100, 1000.0, 10.05) == pytest.approx(0.15)
    assert lane.carry(500, 1000.0, 20.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (EVERY, {1, 2, 3, 4}),
        (Choice(address="bob"), {3}),
        (Choice(path=1), {2}),
        (Choice(path=-1), {1, 3}),
        (Choice(socket=4), {4}),
        (Choice(address="alice", path=-1), {1}),
        (Choice(address="alice", socket=3), set()),
    ],
)
def test_sockets_are_chosen_by_what_is_known_of_them(choice, chosen):
    registry = Registry()
    for name in ("alice.k", "__1__.alice.k", "bob.k"):
        registry.register(registry.open(tls=False), name, name, name.encode(), b"k")
    registry.open(tls=False)
    assert {session.number for session in registry if choice.holds(session)} == chosen
