"""Ids of ended requests, for a while."""

from __future__ import annotations

from relay.answered import Answered
from wire import limits

A, B = (b"a" * 32, "i"), (b"b" * 32, "i")


def test_an_ended_request_is_known_for_a_while():
    answered = Answered()
    assert not answered.knows(A, 100.0)
    answered.remember(A, 100.0)
    assert answered.knows(A, 100.0 + limits.ANSWERED_TTL_S - 0.001)
    assert not answered.knows(B, 100.0)
    assert not answered.knows(A, 100.0 + limits.ANSWERED_TTL_S)
    assert len(answered) == 0


def test_keys_and_kinds_of_ids_are_apart():
    answered = Answered()
    answered.remember((b"a" * 32, 1), 100.0)
    assert answered.knows((b"a" * 32, 1), 100.0)
    assert not answered.knows((b"a" * 32, "1"), 100.0)
    assert not answered.knows((b"b" * 32, 1), 100.0)


def test_the_oldest_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(limits, "ANSWERED_MAX", 4)
    answered = Answered()
    for number in range(5):
        answered.remember((b"a" * 32, number), 100.0 + number)
    assert [answered.knows((b"a" * 32, number), 105.0) for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert len(answered) == 3


def test_it_never_grows_beyond_what_one_question_leaves_and_one_end_adds(monkeypatch):
    monkeypatch.setattr(limits, "ANSWERED_MAX", 10)
    answered = Answered()
    for number in range(100):
        assert not answered.knows((b"a" * 32, number), 100.0)
        answered.remember((b"a" * 32, number), 100.0)
        assert len(answered) <= 10
