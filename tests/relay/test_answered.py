"""Ids of ended requests, for a while, and what of them may be asked for again."""

from __future__ import annotations

from collections import Counter

import pytest

from relay.answered import Answered, fingerprint
from relay.commands import Effort
from relay.events import StreamMode
from relay.outflow import Out
from wire import limits
from wire.errors import busy, cancelled

A, B = (b"a" * 32, "i"), (b"b" * 32, "i")
SRC = "somebody"
PRINT = b"p" * 16


def answered() -> Answered:
    return Answered(Counter())


def test_an_ended_request_is_known_for_a_while():
    known = answered()
    assert known.which(A, 100.0) is None
    known.ended(A, PRINT, None, 100.0)
    assert known.which(A, 100.0 + limits.ANSWERED_TTL_S - 0.001) == PRINT
    assert known.which(B, 100.0) is None
    assert known.which(A, 100.0 + limits.ANSWERED_TTL_S) is None
    assert len(known) == 0


def test_keys_and_kinds_of_ids_are_apart():
    known = answered()
    known.ended((b"a" * 32, 1), PRINT, None, 100.0)
    assert known.which((b"a" * 32, 1), 100.0) == PRINT
    assert known.which((b"a" * 32, "1"), 100.0) is None
    assert known.which((b"b" * 32, 1), 100.0) is None


def test_the_oldest_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(limits, "ANSWERED_MAX", 4)
    known = answered()
    for number in range(5):
        known.ended((b"a" * 32, number), PRINT, None, 100.0 + number)
    assert [known.which((b"a" * 32, number), 105.0) for number in range(5)] == [
        None,
        PRINT,
        PRINT,
        PRINT,
        PRINT,
    ]
    assert len(known) == 4


def test_a_key_with_many_requests_pushes_out_its_own_alone(monkeypatch):
    monkeypatch.setattr(limits, "ANSWERED_MAX", 16)
    known = answered()
    known.ended(B, PRINT, None, 100.0)
    for number in range(1000):
        known.ended((b"a" * 32, number), PRINT, None, 101.0)
    assert known.which(B, 102.0) == PRINT


def test_it_never_grows_beyond_what_one_question_leaves_and_one_end_adds(monkeypatch):
    monkeypatch.setattr(limits, "ANSWERED_MAX", 10)
    known = answered()
    for number in range(100):
        assert known.which((b"a" * 32, number), 100.0) is None
        known.ended((b"a" * 32, number), PRINT, None, 100.0)
        assert len(known) <= 10


@pytest.mark.parametrize(
    ("fault", "remembered"), [(None, True), (cancelled(), True), (busy("full", 1), False)]
)
def test_only_what_no_worker_ever_took_may_be_asked_again(fault, remembered):
    known = answered()
    known.keep(A, [Out("end", 1, Effort.SURE, -1, -1)])
    known.ended(A, PRINT, fault, 100.0)
    assert known.which(A, 100.0) == (PRINT if remembered else None)
    assert known.retained.knows(A) is remembered


def test_keepalives_are_not_kept():
    known = answered()
    alive = Out("alive", 2, kept=False)
    known.keep(A, [alive, Out("begin", 1, Effort.SURE, 0, 0), alive])
    assert [command.text for command in known.after(SRC, A, 0, 100.0, running=True)] == ["begin"]


def test_what_is_missing_is_sent_and_what_is_gone_is_told():
    known = answered()
    known.keep(A, [Out("begin", 1, Effort.SURE, 0, 0), Out("lines", 2, Effort.LEAN, 1, 3)])
    commands = known.missing(SRC, A, [2, 0, 4, 3], 100.0)
    assert [(command.dest, command.effort, command.tag) for command in commands] == [
        (SRC, Effort.SPARE, None),
        (SRC, Effort.SPARE, None),
        (SRC, Effort.ONCE, None),
    ]
    assert [command.text for command in commands] == [
        "begin",
        "lines",
        '{"event":"relay.response.gone","id":"i","missing":[4]}',
    ]
    assert known._counts == Counter(sent_again=2, asked_too_late=1)


@pytest.mark.parametrize("running", [True, False])
def test_the_end_of_what_is_not_known_will_never_come(running):
    commands = answered().after(SRC, A, 0, 100.0, running=running)
    gone = '{"event":"relay.response.gone","id":"i","missing":[-1]}'
    assert [command.text for command in commands] == ([] if running else [gone])


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        {"url": "http://127.0.0.1:8080/api/generate"},
        {"headers": {"A": "b"}},
        {"body": b"{ }"},
        {"body": None},
        {"verify": False},
        {"stream": StreamMode(wanted=True, lines=True)},
    ],
)
def test_a_fingerprint_tells_requests_apart(make_request, changes):
    assert fingerprint(make_request(**changes)) != fingerprint(make_request())


@pytest.mark.parametrize("changes", [{}, {"timeout_s": 1.0}, {"body": b"{}"}])
def test_a_fingerprint_is_the_same_for_the_same_request(make_request, changes):
    assert fingerprint(make_request(**changes)) == fingerprint(make_request())


def test_the_order_of_headers_makes_no_other_request(make_request):
    one, other = {"A": "1", "B": "2"}, {"B": "2", "A": "1"}
    assert fingerprint(make_request(headers=one)) == fingerprint(make_request(headers=other))


def test_body_and_url_do_not_run_into_each_other(make_request):
    assert fingerprint(make_request(body=b"")) == fingerprint(make_request(body=None))
    assert fingerprint(make_request(body=b"')b")) != fingerprint(make_request(body=b"b"))


def test_a_fingerprint_is_short_and_an_empty_body_is_no_body(make_request):
    assert len(fingerprint(make_request())) == 16
    assert fingerprint(make_request(body=None)) == fingerprint(make_request(body=b""))
    assert fingerprint(make_request(body=None)) != fingerprint(make_request(body=b"XXXX"))


def test_what_is_asked_too_late_is_counted():
    counts: Counter[str] = Counter()
    known = Answered(counts)
    known.missing(SRC, A, [1, 2], 100.0)
    known.missing(SRC, A, [1], 101.0)
    assert counts["asked_too_late"] == 3
