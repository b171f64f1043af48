"""When a peer asks for what it lacks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.gaps import Gaps
from wire import limits

NONE: frozenset[int] = frozenset()


def asked_at(until: float, step: float = 0.05) -> list[float]:
    """The times at which a number that never comes is asked for."""
    gaps, found, now = Gaps(), [], 0.0
    while now <= until:
        if gaps.look([7], NONE, now):
            found.append(round(now, 2))
        now += step
    return found


def test_a_gap_is_not_asked_for_at_once_and_then_ever_more_rarely():
    assert asked_at(20.0) == pytest.approx([0.3, 0.9, 2.1, 4.5, 9.3, 14.3, 19.3], abs=0.3)
    pauses = [after - before for before, after in zip(asked_at(60.0), asked_at(60.0)[1:], strict=False)]
    assert max(pauses) <= limits.GAP_MAX_S + 0.1
    assert pauses[-1] >= limits.GAP_MAX_S - 0.1


def test_a_gap_that_closes_by_itself_is_never_asked_for():
    gaps = Gaps()
    assert gaps.look([1, 2], NONE, 0.0) == []
    assert gaps.look([2], NONE, 0.29) == []
    assert gaps.look([2], NONE, 0.3) == [2]
    assert gaps.look([], NONE, 5.0) == []


def test_a_number_that_is_missing_once_more_begins_anew():
    gaps = Gaps()
    gaps.look([1], NONE, 0.0)
    assert gaps.look([1], NONE, 0.3) == [1]
    gaps.look([], NONE, 0.4)
    assert gaps.look([1], NONE, 10.0) == []
    assert gaps.look([1], NONE, 10.0 + limits.GAP_FIRST_S) == [1]


def test_each_gap_has_its_own_clock_and_the_lowest_come_first():
    gaps = Gaps()
    gaps.look([5], NONE, 0.0)
    gaps.look([9, 5, 3], NONE, 0.2)
    assert gaps.look([9, 5, 3], NONE, 0.3) == [5]
    assert gaps.look([9, 5, 3], NONE, 0.5) == [3, 9]


def test_not_more_is_asked_for_at_a_time_than_one_event_may_name():
    gaps = Gaps()
    missing = range(2 * limits.MISSING_MAX + 5)
    gaps.look(missing, NONE, 0.0)
    assert gaps.look(missing, NONE, 0.3) == list(range(limits.MISSING_MAX))
    assert gaps.look(missing, NONE, 0.4) == list(range(limits.MISSING_MAX, 2 * limits.MISSING_MAX))
    assert gaps.look(missing, NONE, 0.5) == list(range(2 * limits.MISSING_MAX, 2 * limits.MISSING_MAX + 5))


def test_what_is_gone_is_not_asked_for_and_lost_when_it_is_not_under_way_either():
    gaps = Gaps()
    gaps.look([1, 2], NONE, 0.0)
    assert gaps.look([1, 2], {1}, 1.0) == [2]
    assert gaps.lost(1.0 + limits.GAP_GONE_S - 0.01) == []
    assert gaps.look([1, 2], {1}, 9.0) == [2]
    assert gaps.lost(1.0 + limits.GAP_GONE_S) == [1]
    gaps.look([2], {1}, 10.9)
    assert gaps.lost(20.0) == [], "it came after all"


@given(st.lists(st.tuples(st.floats(0, 3), st.sets(st.integers(-1, 9)), st.sets(st.integers(-1, 9)))))
def test_only_what_is_missing_and_not_gone_is_asked_for_and_never_twice_within_a_pause(steps):
    gaps, now, last = Gaps(), 0.0, {}
    for pause, missing, gone in steps:
        now += pause
        asked = gaps.look(missing, gone, now)
        assert set(asked) <= missing - gone
        for seq in list(last):
            if seq not in missing:
                del last[seq]
        for seq in asked:
            assert now - last.get(seq, -1.0) >= limits.GAP_FIRST_S
            last[seq] = now
        assert set(gaps.lost(now)) <= missing
