from collections import Counter

import pytest

from relay.nkn import payload
from relay.nkn.waiting import Waiting
from wire import limits

ID, OTHER_ID = b"12345678", b"87654321"
BOB, CAROL, MALLORY = b"b" * 32, b"c" * 32, b"m" * 32


@pytest.fixture
def counts():
    return Counter()


@pytest.fixture
def waiting(counts):
    return Waiting(counts)


def test_a_reply_is_handed_to_who_waits_once(waiting, counts):
    got = []
    waiting.expect([BOB], ID, got.append)
    waiting.answer(BOB, payload.reply("hello", ID))
    waiting.answer(BOB, payload.reply("again", ID))
    assert got == ["hello"]
    assert counts == {"replies_received": 2, "replied": 1, "answers_repeated": 1}
    assert len(waiting) == 0


def test_an_acknowledgement_is_none(waiting, counts):
    got = []
    waiting.expect([BOB], ID, got.append)
    waiting.answer(BOB, payload.ack(ID))
    assert got == [None]
    assert counts == {"acks_received": 1, "acknowledged": 1}


def test_a_stranger_cannot_acknowledge_or_answer_for_another(waiting):
    got = []
    waiting.expect([BOB], ID, got.append)
    waiting.answer(MALLORY, payload.ack(ID))
    waiting.answer(MALLORY, payload.reply("forged", ID))
    assert got == []
    waiting.answer(BOB, payload.reply("genuine", ID))
    assert got == ["genuine"]


def test_an_answer_to_another_message_is_not_taken(waiting):
    got = []
    waiting.expect([BOB], ID, got.append)
    waiting.answer(BOB, payload.ack(OTHER_ID))
    assert got == []
    assert len(waiting) == 1


def test_each_destination_may_answer_once(waiting):
    got = []
    waiting.expect([BOB, CAROL], ID, got.append)
    for key in (BOB, CAROL, BOB, CAROL):
        waiting.answer(key, payload.reply(key[:1], ID))
    assert got == [b"b", b"c"]


def test_who_was_forgotten_hears_nothing(waiting):
    got = []
    waiting.expect([BOB], ID, got.append)
    waiting.forget(BOB, ID)
    waiting.forget(BOB, ID)
    waiting.answer(BOB, payload.ack(ID))
    assert got == []


def test_the_table_is_bounded_and_the_oldest_waiter_is_given_up(waiting, counts, monkeypatch):
    monkeypatch.setattr(limits, "WAITERS_MAX", 2)
    got = []
    for number in range(3):
        waiting.expect([BOB], bytes([number]) * 8, lambda _, n=number: got.append(n))
    assert len(waiting) == 2
    assert counts == {"waiters_dropped": 1}
    for number in range(3):
        waiting.answer(BOB, payload.ack(bytes([number]) * 8))
    assert got == [1, 2]


def test_an_unsealed_answer_to_a_sealed_message_is_dropped_and_counted():
    counts = Counter()
    waiting = Waiting(counts)
    got = []
    waiting.expect([b"k"], b"i", got.append)
    waiting.answer(b"k", payload.ack(b"i"), sealed=False)
    assert (got, counts["unsealed_dropped"]) == ([], 1)
    waiting.answer(b"k", payload.ack(b"i"))
    assert got == [None]


def test_an_answer_after_the_wait_was_given_up_is_late(waiting, counts):
    waiting.expect([BOB], ID, pytest.fail)
    waiting.forget(BOB, ID)
    waiting.answer(BOB, payload.ack(ID))
    assert counts["answers_late"] == 1


def test_an_answer_nobody_waited_for_is_counted_so(waiting, counts):
    waiting.forget(BOB, ID)
    waiting.answer(BOB, payload.ack(ID))
    assert counts == {"acks_received": 1, "answers_unawaited": 1}


def test_how_old_waits_ended_is_forgotten_in_time(waiting, counts, monkeypatch):
    monkeypatch.setattr(limits, "ANSWERED_RECENTLY_MAX", 1)
    for identifier in (ID, OTHER_ID):
        waiting.expect([BOB], identifier, lambda _: None)
        waiting.answer(BOB, payload.ack(identifier))
    for identifier in (ID, OTHER_ID):
        waiting.answer(BOB, payload.ack(identifier))
    assert (counts["answers_unawaited"], counts["answers_repeated"]) == (1, 1)


def test_who_waits_for_an_unsealed_answer_can_be_forgotten_too(waiting, counts):
    got = []
    waiting.expect([BOB], ID, got.append, sealed=False)
    waiting.forget(BOB, ID)
    assert len(waiting) == 0
    waiting.answer(BOB, payload.reply("late", ID), sealed=False)
    assert got == []
    assert counts["answers_late"] == 1


def test_every_answer_counts(waiting, counts):
    for message_id in (ID, OTHER_ID):
        waiting.expect([BOB, CAROL], message_id, lambda _: None)
        waiting.answer(BOB, payload.ack(message_id))
        waiting.answer(CAROL, payload.reply("x", message_id))
        waiting.answer(MALLORY, payload.ack(message_id))
    assert (counts["acknowledged"], counts["replied"], counts["answers_unawaited"]) == (2, 2, 2)


def test_everyone_who_is_given_up_for_want_of_room_counts(waiting, counts, monkeypatch):
    monkeypatch.setattr(limits, "WAITERS_MAX", 1)
    waiting.expect([BOB, CAROL, MALLORY], ID, lambda _: None)
    assert counts["waiters_dropped"] == 2


def settle(waiting, key):
    waiting.expect([key], ID, lambda _: None)
    waiting.answer(key, payload.ack(ID))


def test_what_was_settled_longest_ago_is_forgotten_first(waiting, counts, monkeypatch):
    monkeypatch.setattr(limits, "ANSWERED_RECENTLY_MAX", 4)
    for key in (BOB, CAROL):
        settle(waiting, key)
    waiting.answer(BOB, payload.ack(ID))
    assert counts["answers_repeated"] == 1
    for key in (MALLORY, b"d" * 32):
        settle(waiting, key)
    waiting.answer(BOB, payload.ack(ID))
    assert counts["answers_unawaited"] == 1
    waiting.answer(MALLORY, payload.ack(ID))
    assert counts["answers_repeated"] == 2


def test_what_was_settled_is_forgotten_when_it_aged_twice(waiting, counts):
    settle(waiting, BOB)
    waiting.age()
    waiting.answer(BOB, payload.ack(ID))
    waiting.age()
    waiting.answer(BOB, payload.ack(ID))
    assert (counts["answers_repeated"], counts["answers_unawaited"]) == (1, 1)
