"""A sum that refills."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.budget import Budget


def test_it_is_full_at_first_and_refills_no_further() -> None:
    budget = Budget(10, 2)
    assert budget.left(5.0) == 10
    assert budget.left(500.0) == 10


def test_the_last_one_may_overdraw_it_and_then_time_must_pass() -> None:
    budget = Budget(10, 2)
    assert budget.allows(0.0)
    budget.spend(9)
    assert budget.allows(0.0)
    budget.spend(9)
    assert not budget.allows(0.0)
    assert budget.wait_s(0.0) == pytest.approx(4.0)
    assert not budget.allows(4.0)
    assert budget.allows(4.1)


def test_what_is_asked_for_may_be_more_than_a_little() -> None:
    budget = Budget(10, 2)
    budget.spend(8)
    assert budget.wait_s(0.0, 4) == pytest.approx(1.0)
    assert budget.wait_s(0.0, 1) == 0.0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    budget = Budget(10, 2)
    budget.spend(10)
    assert budget.left(9.0) == 0
    assert budget.left(8.0) == 0
    assert budget.left(10.0) == 2


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=50))
def test_never_more_is_spent_than_it_holds_and_gets_but_for_the_last(
    steps: list[tuple[float, float]],
) -> None:
    budget, now, spent, last = Budget(10, 2), 0.0, 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if budget.allows(now):
            budget.spend(amount)
            spent, last = spent + amount, amount
    assert spent - last <= 10 + 2 * now + 1e-6
