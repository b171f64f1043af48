import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.deadlines import Deadlines

KEYS = st.integers(0, 4)
TIMES = st.integers(0, 12).map(float)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, TIMES),
        st.tuples(st.just("drop"), KEYS),
        st.tuples(st.just("take"), TIMES),
    ),
    min_size=10,
    max_size=60,
)


class Naive:
    """The same as a dictionary that is searched each time."""

    def __init__(self):
        self.due = {}

    def set(self, key, at):
        self.due[key] = at

    def drop(self, key):
        self.due.pop(key, None)

    def take(self, now):
        taken = {key: at for key, at in self.due.items() if at <= now}
        for key in taken:
            del self.due[key]
        return taken


def agree(one, naive):
    assert len(one) == len(naive.due)
    assert one.earliest() == min(naive.due.values(), default=None)
    assert {key: one.at(key) for key in range(5)} == {key: naive.due.get(key) for key in range(5)}


@given(STEPS)
def test_they_are_what_a_dictionary_searched_each_time_would_be(steps):
    one, naive = Deadlines(), Naive()
    for name, *arguments in steps:
        if name == "take":
            expected = naive.take(*arguments)
            taken = list(one.take(*arguments))
            assert {key: expected[key] for key in taken} == expected
            assert len(taken) == len(expected)
            assert [expected[key] for key in taken] == sorted(expected.values())
        else:
            getattr(one, name)(*arguments)
            getattr(naive, name)(*arguments)
        agree(one, naive)


@given(STEPS)
def test_nothing_is_left_in_them_once_all_times_have_come(steps):
    one = Deadlines()
    for name, *arguments in steps:
        result = getattr(one, name)(*arguments)
        if name == "take":
            list(result)
    list(one.take(12.0))
    assert (len(one), one.earliest()) == (0, None)
    assert (one._heap, one._queued) == ([], {})


def test_one_that_only_moves_later_costs_one_entry():
    one = Deadlines()
    for at in range(1000):
        one.set("keepalive", float(at))
    assert len(one._heap) == 1
    assert one.earliest() == 999.0


def test_one_that_moves_earlier_comes_before_those_that_were_before_it():
    one = Deadlines()
    one.set("a", 5.0)
    one.set("b", 4.0)
    one.set("a", 3.0)
    assert one.earliest() == 3.0
    assert list(one.take(5.0)) == ["a", "b"]


def test_of_those_due_at_once_the_first_set_is_the_first_taken():
    one = Deadlines()
    for key in "cab":
        one.set(key, 1.0)
    assert list(one.take(1.0)) == ["c", "a", "b"]


def test_what_is_set_again_while_it_is_taken_is_asked_again():
    one = Deadlines()
    one.set("often", 0.0)
    taken = []
    for key in one.take(3.0):
        taken.append(key)
        one.set(key, float(len(taken)))
    assert taken == ["often"] * 4
    assert one.at("often") == 4.0


def test_what_is_dropped_while_others_are_taken_is_not_taken():
    one = Deadlines()
    for at, key in enumerate("abc"):
        one.set(key, float(at))
    taken = []
    for key in one.take(5.0):
        taken.append(key)
        one.drop("b")
    assert taken == ["a", "c"]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((3.0, 1.0, 3.0), 3.0),  # there and back again
        ((1.0, 3.0, 1.0), 1.0),
        ((5.0, 4.0, 3.0, 6.0), 6.0),
    ],
)
def test_a_time_that_moves_to_and_fro_is_taken_once_and_when_it_says(times, expected):
    one = Deadlines()
    for at in times:
        one.set("key", at)
    assert one.earliest() == expected
    assert list(one.take(expected - 0.5)) == []
    assert list(one.take(expected)) == ["key"]
    assert list(one.take(100.0)) == []


def test_who_wants_nothing_is_not_asked():
    one = Deadlines()
    one.drop("nobody")
    assert one.at("nobody") is None
    assert one.earliest() is None
