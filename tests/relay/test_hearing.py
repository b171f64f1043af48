"""Whether a peer still listens: dialogues and a property."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.hearing import Hearing
from wire.limits import GONE_S, HOLD_B


def listening(now: float = 0.0) -> Hearing:
    return Hearing(now, answers=True)


def test_a_peer_that_never_acknowledged_is_neither_held_nor_given_up() -> None:
    hearing = Hearing(0.0, answers=False)
    for number in range(1, 100):
        hearing.sent(number, HOLD_B, number, 1.0)
    assert not hearing.holding
    assert hearing.gone_at() is None


def test_one_that_acknowledged_elsewhere_is_given_up_at_its_first_silence() -> None:
    hearing = listening()
    assert hearing.gone_at() is None  # nothing to answer
    hearing.sent(1, 10, 0, 2.0)
    assert hearing.gone_at() == GONE_S


def test_a_frame_that_was_sent_late_gets_time_to_be_acknowledged() -> None:
    hearing = listening()
    hearing.sent(1, 10, 0, 1000.0)
    assert hearing.gone_at() == 1000.0 + GONE_S / 2


def test_each_sign_of_life_starts_anew() -> None:
    hearing = listening()
    hearing.sent(1, 10, 0, 1.0)
    hearing.sent(2, 10, 1, 2.0)
    hearing.acknowledged(1, 3.0)
    assert hearing.gone_at() == 3.0 + GONE_S
    hearing.heard(9.0)
    assert hearing.gone_at() == 9.0 + GONE_S
    hearing.acknowledged(2, 10.0)
    assert hearing.gone_at() is None


def test_the_upstream_waits_above_the_limit_until_half_of_it() -> None:
    hearing = listening()
    quarter = HOLD_B // 4
    for number in range(1, 5):
        hearing.sent(number, quarter, number, 1.0)
    assert not hearing.holding
    hearing.sent(5, quarter, 5, 1.0)
    assert hearing.holding
    hearing.acknowledged(3, 2.0)
    hearing.acknowledged(1, 2.0)
    assert hearing.holding
    hearing.acknowledged(2, 2.0)
    assert not hearing.holding


def test_a_number_that_was_acknowledged_before_or_never_sent_changes_nothing() -> None:
    hearing = listening()
    hearing.sent(1, HOLD_B + 1, 1, 1.0)
    hearing.acknowledged(7, 1.0)
    assert hearing.holding
    hearing.acknowledged(1, 1.0)
    hearing.acknowledged(1, 1.0)
    assert not hearing.holding
    hearing.sent(2, HOLD_B, 2, 1.0)
    assert not hearing.holding


def test_how_far_the_peer_has_got_acknowledges_all_before_it_but_not_the_end() -> None:
    hearing = Hearing(0.0, answers=False)
    hearing.sent(1, 10, 0, 1.0)  # begin
    hearing.sent(2, 10, 4, 1.0)
    hearing.sent(3, 10, 9, 1.0)
    hearing.sent(4, 10, -1, 1.0)  # end
    hearing.reached(4, 2.0)
    hearing.acknowledged(3, 2.0)
    assert hearing.gone_at() == 2.0 + GONE_S
    hearing.acknowledged(4, 3.0)
    assert hearing.gone_at() is None


def test_what_is_under_way_to_where_the_peer_was_does_not_count() -> None:
    hearing = listening()
    hearing.sent(1, HOLD_B + 1, 1, 1.0)
    hearing.moved(2.0)
    assert not hearing.holding
    assert hearing.gone_at() is None


def test_what_was_lost_for_good_does_not_hold_a_peer_for_ever() -> None:
    hearing = listening()
    hearing.sent(1, HOLD_B + 1, 1, 0.0)
    hearing.heard(GONE_S - 1)
    assert hearing.holding
    hearing.heard(GONE_S)
    assert not hearing.holding


EVENTS = st.one_of(
    st.tuples(st.just("sent"), st.integers(1, HOLD_B)),
    st.tuples(st.just("acknowledged"), st.integers(1, 40)),
    st.tuples(st.just("reached"), st.integers(0, 40)),
    st.tuples(st.just("heard"), st.just(0)),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 20)), max_size=60), st.booleans())
def test_holding_and_gone_follow_from_what_is_under_way(events: list, answers: bool) -> None:
    hearing, now, number = Hearing(0.0, answers=answers), 0.0, 0
    sizes: dict[int, tuple[float, int]] = {}
    held = False
    for (event, value), pause in events:
        now += pause
        if event == "sent":
            number += 1
            hearing.sent(number, value, number, now)
            sizes[number] = (now, value)
        else:
            answers = True
            if event == "acknowledged":
                hearing.acknowledged(value, now)
                sizes.pop(value, None)
            elif event == "reached":
                hearing.reached(value, now)
                sizes = {key: one for key, one in sizes.items() if key > value}
            else:
                hearing.heard(now)
            sizes = {key: one for key, one in sizes.items() if now - one[0] < GONE_S}
        under_way = sum(size for _, size in sizes.values())
        held = answers and under_way > (HOLD_B // 2 if held else HOLD_B)
        assert hearing.holding == held
        gone_at = hearing.gone_at()
        assert (gone_at is None) == (not answers or not sizes)
        assert gone_at is None or gone_at >= GONE_S


def test_of_a_peer_that_never_answers_no_more_is_kept_than_counts_when_it_does() -> None:
    hearing = Hearing(0.0, answers=False)
    for second in range(10_000):
        hearing.sent(second, 10, second, float(second))
    assert len(hearing._under_way) <= GONE_S
    hearing.heard(10_000.0)
    assert hearing.gone_at() == 10_000.0 + GONE_S


def test_a_peer_that_moved_may_have_as_much_under_way_as_any_other() -> None:
    hearing = listening()
    hearing.sent(1, HOLD_B, 1, 0.0)
    hearing.moved(5.0)
    hearing.sent(2, HOLD_B, 2, 5.0)
    assert not hearing.holding
    assert hearing.gone_at() == 5.0 + GONE_S
    hearing.sent(3, 1, 3, 5.0)
    assert hearing.holding
