"""Holding, registry, liveness and receipts of the development node."""

import pytest

from relay.nkn import envelope
from relay.nkn.devnode import limits as own
from relay.nkn.devnode.holding import Holding
from relay.nkn.devnode.liveness import Due, Liveness
from relay.nkn.devnode.receipts import Receipts
from relay.nkn.devnode.registry import Registry
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


def test_the_oldest_go_first_when_there_is_no_room():
    holding = Holding(max_b=10)
    holding.keep(b"a", b"12345", 10.0)
    holding.keep(b"b", b"12345", 10.0)
    assert holding.keep(b"c", b"123456", 10.0) == 2
    assert holding.pop(b"c") == [b"123456"]
    assert holding.keep(b"c", b"12345678901", 10.0) == 1
    assert len(holding) == 0
    assert holding.held_b == 0


def test_what_is_over_its_time_stays_until_the_next_purge():
    holding = Holding()
    assert holding.purge(100.0) == 0
    holding.keep(b"a", b"short", 101.0)
    holding.keep(b"a", b"long", 200.0)
    assert holding.purge(100.0 + own.HOLD_PURGE_S - 0.1) == 0
    assert len(holding) == 2
    assert holding.purge(100.0 + own.HOLD_PURGE_S) == 1
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
    assert session.name == f"socket-{session.number}"
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
    liveness.heard(130.0)
    assert liveness.advance(130.0) is Due.PING
    assert liveness.advance(131.9) is Due.NOTHING
    assert liveness.advance(132.0) is Due.PING


def test_silence_of_ten_seconds_is_the_end():
    liveness = Liveness(100.0)
    liveness.heard(101.0)
    assert liveness.advance(101.0 + limits.NODE_PONG_TIMEOUT_S - 0.1) is Due.PING
    assert liveness.advance(101.0 + limits.NODE_PONG_TIMEOUT_S) is Due.DROP


def test_every_message_asks_until_the_block_has_a_receipt():
    receiver, receipts = Identity(b"r" * 32), Receipts()
    asked = [receipts.ask(mark, receiver.public_key, BLOCK) for mark in (b"1", b"2")]
    assert [len(prev_hash) for prev_hash in asked] == [32, 32]
    assert asked[0] != asked[1]
    receipts.take(signed(receiver, asked[0]), BLOCK, strict=True)
    assert receipts.ask(b"3", receiver.public_key, BLOCK) == b""
    assert len(receipts.ask(b"4", receiver.public_key, NEXT_BLOCK)) == 32


def test_strict_receipts_are_those_asked_for_and_signed_by_the_receiver():
    receiver, other, receipts = Identity(b"r" * 32), Identity(b"o" * 32), Receipts()
    prev_hash = receipts.ask(b"1", receiver.public_key, BLOCK)
    with pytest.raises(Violation) as raised:
        receipts.take(signed(receiver, b"\x00" * 32), BLOCK, strict=True)
    assert raised.value.reason == "receipt_unknown"
    with pytest.raises(Violation) as raised:
        receipts.take(signed(other, prev_hash), BLOCK, strict=True)
    assert raised.value.reason == "receipt_signature"
    assert receipts.ask(b"2", receiver.public_key, BLOCK)
    receipts.take(envelope.Receipt(b"whatever", b""), BLOCK, strict=False)
    assert receipts.ask(b"3", receiver.public_key, BLOCK) == b""


def test_old_requests_for_receipts_are_forgotten(monkeypatch):
    monkeypatch.setattr(own, "RECEIPTS_ASKED_MAX", 1)
    receiver, receipts = Identity(b"r" * 32), Receipts()
    old = receipts.ask(b"1", receiver.public_key, BLOCK)
    receipts.ask(b"2", receiver.public_key, BLOCK)
    with pytest.raises(Violation):
        receipts.take(signed(receiver, old), BLOCK, strict=True)


def signed(identity, prev_hash):
    return envelope.read(envelope.receipt(identity, prev_hash))
