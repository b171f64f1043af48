"""Who runs and who waits."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.admission import Admission, Shares
from relay.rights import Rights
from wire import limits
from wire.errors import PeerFault

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32


def test_defaults_leave_a_worker_for_another_key():
    shares = Shares()
    assert shares.per_peer == shares.workers - 1 == limits.WORKERS - 1


def test_one_key_never_holds_every_worker():
    admission = Admission(Shares(workers=4, per_peer=3, queue=8))
    assert [admission.admit(tag, A) for tag in range(4)] == [True, True, True, False]
    assert admission.admit(10, B)
    assert (admission.running, admission.waiting) == (4, 1)


def test_a_key_over_its_share_is_passed_over():
    admission = Admission(Shares(workers=2, per_peer=1, queue=8))
    assert admission.admit(1, A)
    assert not admission.admit(2, A)
    assert admission.admit(3, B)
    assert not admission.admit(4, C)
    admission.release(3)
    assert admission.next() == 4
    assert admission.next() is None
    admission.release(1)
    assert admission.next() == 2


def test_first_come_first_served_within_a_key():
    admission = Admission(Shares(workers=1, per_peer=1, queue=8))
    assert admission.admit(1, A)
    assert not admission.admit(2, A)
    assert not admission.admit(3, A)
    admission.release(1)
    assert [admission.next(), admission.next()] == [2, None]
    admission.release(2)
    assert admission.next() == 3


def test_no_one_overtakes_a_request_that_could_run():
    admission = Admission(Shares(workers=1, per_peer=1, queue=8))
    assert admission.admit(1, A)
    assert not admission.admit(2, B)
    admission.release(1)
    assert not admission.admit(3, C)
    assert admission.next() == 2


def test_a_key_does_not_overtake_itself():
    admission = Admission(Shares(workers=2, per_peer=1, queue=8))
    assert admission.admit(1, A)
    assert not admission.admit(2, A)
    admission.release(1)
    assert not admission.admit(3, A)
    assert admission.next() == 2


def test_the_place_in_the_queue_counts_from_one_and_moves_up():
    admission = Admission(Shares(workers=1, per_peer=1, queue=8))
    admission.admit(1, A)
    admission.admit(2, A)
    admission.admit(3, B)
    assert [admission.position(tag) for tag in (1, 2, 3, 9)] == [None, 1, 2, None]
    admission.withdraw(2)
    admission.withdraw(2)
    assert [admission.position(tag) for tag in (2, 3)] == [None, 1]


def test_a_full_queue_refuses_with_a_time_to_come_back():
    admission = Admission(Shares(workers=1, per_peer=1, queue=2))
    admission.admit(1, A)
    admission.admit(2, A)
    admission.admit(3, B)
    with pytest.raises(PeerFault, match="queue is full") as caught:
        admission.admit(4, C)
    assert (caught.value.code, caught.value.status) == ("busy", 503)
    assert caught.value.retry_after_ms == limits.RETRY_AFTER_MS
    assert admission.waiting == admission.peak_waiting == 2


def test_one_key_gets_half_of_the_queue():
    admission = Admission(Shares(workers=1, per_peer=1, queue=4))
    for tag in range(3):
        admission.admit(tag, A)
    with pytest.raises(PeerFault, match="of this key") as caught:
        admission.admit(3, A)
    assert caught.value.code == "busy"
    assert not admission.admit(4, B)


def test_half_of_a_small_queue_is_rounded_down():
    admission = Admission(Shares(workers=1, per_peer=1, queue=3))
    admission.admit(1, A)
    admission.admit(2, A)
    with pytest.raises(PeerFault, match="of this key"):
        admission.admit(3, A)
    assert not admission.admit(4, B)


def test_even_a_queue_of_one_lets_a_key_wait():
    admission = Admission(Shares(workers=1, per_peer=1, queue=1))
    assert admission.admit(1, A)
    assert not admission.admit(2, A)


def test_release_of_what_does_not_run_changes_nothing():
    admission = Admission(Shares(workers=2, per_peer=2, queue=4))
    admission.admit(1, A)
    admission.admit(2, A)
    admission.release(9)
    admission.release(1)
    admission.release(1)
    assert admission.running == 1
    assert admission.admit(3, A)
    assert not admission.admit(4, A)


OPS = st.lists(st.tuples(st.sampled_from(["admit", "release", "withdraw"]), st.integers(0, 3)), max_size=60)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), OPS)
def test_any_order_of_events_keeps_the_bounds_and_starves_no_one(workers, per_peer, queue, ops):
    admission = Admission(Shares(workers, per_peer, queue))
    owner: dict[int, int] = {}
    running: list[int] = []
    waiting: list[int] = []
    peak = 0

    def check() -> None:
        assert (admission.running, admission.waiting) == (len(running), len(waiting))
        assert len(running) <= workers
        assert len(waiting) <= queue
        for key in range(4):
            assert sum(owner[tag] == key for tag in running) <= per_peer
        assert [admission.position(tag) for tag in waiting] == list(range(1, len(waiting) + 1))

    def start_all() -> None:
        while (tag := admission.next()) is not None:
            waiting.remove(tag)
            running.append(tag)

    for tag, (what, key) in enumerate(ops):
        if what == "admit":
            owner[tag] = key
            mine = sum(owner[other] == key for other in waiting)
            if len(waiting) >= queue or mine >= max(1, queue // 2):
                # Refused if it cannot run at once; never more than the bounds allow.
                with contextlib.suppress(PeerFault):
                    assert admission.admit(tag, bytes([key]) * 32)
                    running.append(tag)
            else:
                (running if admission.admit(tag, bytes([key]) * 32) else waiting).append(tag)
        elif what == "release" and running:
            admission.release(running.pop(key % len(running)))
            start_all()
        elif what == "withdraw" and waiting:
            admission.withdraw(waiting.pop(key % len(waiting)))
        peak = max(peak, len(waiting))
        check()
    assert admission.peak_waiting == peak
    while running:
        admission.release(running.pop(0))
        start_all()
    assert not waiting


def test_a_keys_own_share_holds_however_many_others_have_one():
    admission = Admission(Shares(4, 3, 8))
    assert admission.admit(1, b"mine", Rights(running=1))
    assert not admission.admit(2, b"mine", Rights(running=1))
    assert admission.admit(3, b"other", Rights(running=2))
    assert admission.next() is None
    admission.release(1)
    assert admission.next() == 2


@pytest.mark.parametrize(
    ("queue", "waits", "scope"), [(2, (A, B), "queue"), (4, (A, A), "peer_queue"), (1, (B,), "queue")]
)
def test_who_finds_no_room_is_told_of_what_and_when_to_ask_again(queue, waits, scope):
    admission = Admission(Shares(workers=1, per_peer=1, queue=queue))
    assert admission.admit(0, A)
    for tag, key in enumerate(waits, 1):
        assert not admission.admit(tag, key)
    with pytest.raises(PeerFault) as caught:
        admission.admit(9, A)
    fault = caught.value
    assert (fault.code, fault.scope, fault.retry_after_ms) == ("busy", scope, limits.RETRY_AFTER_MS)


def test_a_worker_that_is_free_again_counts_once():
    admission = Admission(Shares(workers=4, per_peer=2, queue=8))
    assert [admission.admit(tag, A) for tag in range(3)] == [True, True, False]
    admission.release(0)
    assert admission.next() == 2
    assert not admission.admit(3, A)
    admission.release(1)
    assert admission.next() == 3
    assert not admission.admit(4, A)
    assert admission.next() is None


def test_a_key_whose_share_was_raised_does_not_overtake_itself_either():
    admission = Admission(Shares(workers=4, per_peer=3, queue=8))
    assert admission.admit(1, A, Rights(running=1))
    assert not admission.admit(2, A, Rights(running=1))
    assert not admission.admit(3, A, Rights())
