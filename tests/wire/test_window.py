"""Bounded memory with two keys."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wire.window import Window


def test_what_was_put_is_remembered_for_its_time() -> None:
    window: Window[str, int, str] = Window(10, 5.0)
    window.put("a", 1, "x", 0.0)
    window.put("b", 1, "y", 1.0)
    assert window.get("a", 1, 4.9) == "x"
    assert window.get("a", 2, 4.9) is None
    assert window.get("a", 1, 5.0) is None
    assert window.get("b", 1, 5.9) == "y"
    assert window.get("b", 1, 6.0) is None
    assert len(window) == 0


def test_what_is_too_old_is_forgotten_when_told_so() -> None:
    window: Window[str, int, str] = Window(10, 5.0)
    window.put("a", 1, "x", 0.0)
    window.put("b", 1, "y", 1.0)
    for now, left in ((4.9, 2), (5.0, 1), (6.0, 0)):
        window.forget(now)
        assert len(window) == left


def test_what_is_put_again_is_new_and_counts_once() -> None:
    gone: list[str] = []
    window: Window[str, int, str] = Window(10, 5.0, gone.append)
    window.put("a", 1, "x", 0.0)
    window.put("a", 1, "y", 4.0)
    assert gone == ["x"]
    assert len(window) == 1
    assert window.get("a", 1, 8.0) == "y"


def test_a_crowd_of_one_owners_items_pushes_out_its_own() -> None:
    window: Window[str, int, int] = Window(32, 1e9)
    for number in range(4):
        window.put("small", number, number, 0.0)
    for number in range(1000):
        window.put("greedy", number, number, 1.0)
        assert len(window) <= 32
    assert [window.get("small", number, 2.0) for number in range(4)] == [0, 1, 2, 3]
    assert window.get("greedy", 999, 2.0) == 999
    assert window.get("greedy", 0, 2.0) is None


def test_of_more_owners_than_there_is_room_for_the_oldest_go() -> None:
    window: Window[int, int, int] = Window(16, 1e9)
    for owner in range(20):
        window.put(owner, 0, owner, 0.0)
    assert len(window) == 16
    assert [owner for owner in range(20) if window.get(owner, 0, 0.0) is not None] == list(range(4, 20))


STEPS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.floats(0, 3), st.booleans()), max_size=120
)


@given(STEPS, st.integers(1, 20))
def test_it_holds_no_more_than_it_may_and_nothing_made_up_and_forgets_each_once(
    steps: list[tuple[str, int, float, bool]], most: int
) -> None:
    gone: list[int] = []
    window: Window[str, int, int] = Window(most, 10.0, gone.append)
    put: dict[tuple[str, int], tuple[float, int]] = {}
    now = 0.0
    for number, (owner, item, pause, reads) in enumerate(steps):
        now += pause
        if reads:
            found = window.get(owner, item, now)
            if found is not None:
                assert put[owner, item][1] == found
                assert now < put[owner, item][0] + 10.0
        else:
            window.put(owner, item, number, now)
            put[owner, item] = now, number
            assert window.get(owner, item, now) == number
        assert len(window) <= most
    assert len(set(gone)) == len(gone)
    window.get("a", 0, now + 10.0)
    assert len(window) == 0
    assert sorted(gone) == sorted(number for number, step in enumerate(steps) if not step[3])


def test_what_is_too_old_makes_room_and_is_told_when_something_is_put() -> None:
    gone: list[str] = []
    window: Window[str, int, str] = Window(10, 5.0, gone.append)
    window.put("a", 1, "x", 0.0)
    window.put("b", 1, "y", 5.0)
    assert gone == ["x"]
    assert len(window) == 1


def test_as_many_are_remembered_as_may_be() -> None:
    gone: list[int] = []
    window: Window[str, int, int] = Window(4, 1e9, gone.append)
    for number in range(4):
        window.put("a", number, number, 0.0)
    assert gone == []
    window.put("a", 4, 4, 0.0)
    assert gone == [0]


def test_of_two_crowds_the_bigger_one_makes_room() -> None:
    window: Window[str, int, int] = Window(64, 1e9)
    for number in range(30):
        window.put("bigger", number, number, 0.0)
        window.put("a bystander", number % 16, number, 0.0)
        window.put("zero", number % 18, number, 0.0)
    window.put("zero", 18, 0, 0.0)
    kept = {owner: len(window._items[owner]) for owner in ("a bystander", "zero")}
    assert kept == {"a bystander": 16, "zero": 19}
    assert window.get("bigger", 29, 0.0) == 29
    assert len(window) == 60


def test_room_is_made_for_a_sixteenth_at_a_time_and_nobody_loses_more_than_to_a_share() -> None:
    window: Window[int, int, int] = Window(160, 1e9)
    for number in range(160):
        window.put(number % 8, number, number, 0.0)
    window.put(0, 1000, 1000, 0.0)
    assert [len(window._items[owner]) for owner in range(8)] == [15, 15, 20, 20, 20, 20, 20, 20]
