"""Which path a message takes and how long its acknowledgement is waited for, as dialogues with a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn.pace import Pace, Paces
from wire import limits

SURVEY_S, FRESH_S, SHUN_S = limits.PATH_SURVEY_S, limits.PATH_FRESH_S, limits.PATH_SHUN_S
BOTH = (0, 1)
TOOK = st.floats(0.0, 100.0)


def known(*means, at=0.0):
    """Paths 0, 1 … of these means, all measured at a time; the survey of the start is over."""
    paces = Paces()
    for index, mean in enumerate(means):
        paces.sample(index, mean, at)
    paces.choose(BOTH, at)
    return paces


# -- one path -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "mean", "spread"),
    [
        ([1.0], 1.0, 0.5),
        ([1.0, 1.0], 1.0, 0.375),
        ([1.0, 3.0], 1.25, 0.875),
        ([1.0, 3.0, 1.25], 1.25, 0.65625),
    ],
)
def test_times_are_smoothed_as_tcp_does(samples, mean, spread):
    paces = Paces()
    for took in samples:
        paces.sample(0, took, 0.0)
    assert (paces._paths[0].mean, paces._paths[0].spread) == (mean, spread)


@given(st.lists(TOOK, min_size=1, max_size=50))
def test_the_mean_stays_between_the_extremes_and_the_spread_is_never_negative(samples):
    pace = Pace(samples[0], samples[0] / 2, 0.0)
    for took in samples[1:]:
        pace.sample(took, 1.0)
    slack = 1e-9
    assert min(samples) - slack <= pace.mean <= max(samples) + slack
    assert 0.0 <= pace.spread <= max(samples)
    assert pace.patience >= pace.mean + limits.RESEND_SPREAD_MIN_S


@given(TOOK)
def test_a_path_that_takes_always_the_same_is_soon_given_little_more(took):
    pace = Pace(took, took / 2, 0.0)
    for _ in range(60):
        pace.sample(took, 0.0)
    assert pace.patience == pytest.approx(took + limits.RESEND_SPREAD_MIN_S, abs=1e-3)


def test_each_loss_makes_a_path_shunned_for_twice_as_long_up_to_a_bound():
    pace = Pace(0.1, 0.0, 0.0)
    shunned = []
    for _ in range(9):
        pace.lost(100.0)
        shunned.append(pace.shunned_until - 100.0)
    assert shunned == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


# -- which path -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("means", "indices", "chosen"),
    [
        ((), BOTH, [0, 1]),
        ((0.2, 0.1), BOTH, [1]),
        ((0.1, 0.2), BOTH, [0]),
        ((0.2,), BOTH, [0]),  # an unknown one is not tried alone
        ((0.2, 0.1), (0,), [0]),  # the better one is not connected
        ((0.2, 0.1), (2, 3), [2, 3]),
        ((0.2, 0.1), (), []),
        ((0.0, 0.0), BOTH, [0]),
    ],
)
def test_the_best_of_the_known_paths_is_taken_and_all_if_none_is_known(means, indices, chosen):
    assert known(*means).choose(indices, 1.0) == chosen


@pytest.mark.parametrize(("better", "chosen"), [(0.19, [0]), (0.1875, [0]), (0.187, [1])])
def test_another_path_must_be_a_quarter_faster_to_be_changed_to(better, chosen):
    paces = known(0.25)
    assert paces.choose(BOTH, 0.0) == [0]
    paces.sample(1, better, 0.0)
    assert paces.choose(BOTH, 0.0) == chosen


def test_small_changes_let_no_frames_overtake_each_other():
    paces = known(0.10, 0.11)
    taken = set()
    for step in range(40):
        now = step / 10
        paces.sample(0, 0.12 if step % 8 < 4 else 0.09, now)
        paces.sample(1, 0.11, now)
        taken |= set(paces.choose(BOTH, now))
    assert taken == {0}


def test_a_path_that_swallowed_a_message_is_passed_over_longer_each_time():
    paces = known(0.1, 0.3)
    now = 0.1
    for shunned in (SHUN_S, 2 * SHUN_S, 4 * SHUN_S):
        assert paces.choose(BOTH, now) == [0]
        paces.lost([0], now)
        assert paces.choose(BOTH, now) == [1]
        assert paces.choose(BOTH, now + shunned - 0.001) == [1]
        now += shunned


def test_if_all_swallowed_something_all_are_taken():
    paces = known(0.1, 0.3)
    paces.lost([0, 1], 1.0)
    assert paces.choose(BOTH, 1.0) == [0, 1]
    assert paces.choose(BOTH, 1.0 + SHUN_S) == [0]


def test_the_word_that_a_path_does_not_swallow_ends_its_shunning():
    paces = known(0.1, 0.3)
    for _ in range(4):
        paces.lost([0], 1.0)
    paces.kept(0)
    assert paces.choose(BOTH, 1.0) == [0]
    paces.lost([0], 1.0)
    assert paces.choose(BOTH, 1.0 + SHUN_S) == [0]


def test_what_is_measured_on_all_paths_does_not_end_a_shunning():
    paces = known(0.1, 0.3)
    paces.lost([0], 1.0)
    paces.sample(0, 0.1, 1.1)
    assert paces.choose(BOTH, 1.1) == [1]


def test_what_happens_on_a_path_that_is_not_known_is_passed_over():
    paces = known(0.1)
    paces.lost([1], 1.0)
    paces.kept(1)
    assert paces.choose(BOTH, 1.0) == [0]


def test_now_and_then_all_paths_are_taken():
    paces = known(0.1, 0.3)
    times = [step * 0.5 for step in range(1, 40)]
    surveys = []
    for now in times:
        paces.sample(0, 0.1, now)
        if paces.choose(BOTH, now) == [0, 1]:
            surveys.append(now)
    assert surveys == [SURVEY_S, 2 * SURVEY_S, 3 * SURVEY_S]


def test_what_was_measured_long_ago_is_not_believed():
    paces = known(0.1, 0.3, at=0.0)
    paces.choose(BOTH, SURVEY_S)
    paces.sample(1, 0.3, SURVEY_S)
    for survey in (2 * SURVEY_S, 3 * SURVEY_S):
        assert paces.choose(BOTH, survey) == [0, 1]
    assert paces.choose(BOTH, FRESH_S) == [1]
    paces.choose(BOTH, SURVEY_S + FRESH_S)
    assert paces.choose(BOTH, SURVEY_S + FRESH_S) == [0, 1]


def test_a_part_that_is_made_anew_is_not_known_any_more():
    paces = known(0.1, 0.3)
    paces.forget(0)
    paces.forget(0)
    assert paces.choose(BOTH, 1.0) == [1]


# -- how long -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("means", "paths", "tries", "seconds"),
    [
        ((), BOTH, 1, limits.RESEND_FIRST_S),
        ((), BOTH, 2, 2 * limits.RESEND_FIRST_S),
        ((), BOTH, 3, limits.RESEND_PAUSE_MAX_S),
        ((0.1,), (0,), 1, 0.3),  # 0.1 + 4 × 0.05
        ((0.1,), (1,), 1, limits.RESEND_FIRST_S),
        ((0.1, 0.2), BOTH, 1, 0.3),
        ((0.1, 0.2), (1,), 1, 0.6),
        ((0.1,), (0,), 2, 0.6),
        ((0.1,), (0,), 4, 2.4),
        ((0.1,), (0,), 5, limits.RESEND_PAUSE_MAX_S),
        ((0.001,), (0,), 1, 0.051),
        ((60.0,), (0,), 1, limits.RESEND_PAUSE_MAX_S),
    ],
)
def test_patience_is_that_of_the_fastest_path_taken_doubled_for_each_attempt(means, paths, tries, seconds):
    assert known(*means).patience(paths, tries) == pytest.approx(seconds)


def test_each_loss_makes_the_next_messages_wait_longer_until_one_is_acknowledged_in_time():
    paces = known(0.1)
    waits = []
    for _ in range(3):
        waits.append(paces.patience((0,), 1))
        paces.lost([0], 1.0)
    assert waits == pytest.approx([0.3, 0.6, 1.2])
    paces.sample(0, 0.1, 2.0)
    assert paces.patience((0,), 1) < 0.3


def test_a_loss_and_an_attempt_do_not_count_for_twice():
    paces = known(0.1)
    paces.lost([0], 1.0)
    assert paces.patience((0,), 2) == pytest.approx(0.6)


def test_a_path_is_not_waited_for_longer_than_the_longest_pause_however_much_is_lost():
    paces = known(0.1)
    for _ in range(10_000):
        paces.lost([0], 1.0)
        assert paces.patience((0,), limits.RESEND_TRIES) == limits.RESEND_PAUSE_MAX_S


def test_after_many_losses_in_a_row_what_was_measured_is_not_believed_any_more():
    # A peer that became slow acknowledges no first attempt in time, so nothing measures it anew.
    paces = known(0.01, 0.02)
    waits = []
    while paces.patience((0,), 1) < limits.RESEND_FIRST_S:
        waits.append(paces.patience((0,), 1))
        paces.lost([0], 1.0)
        assert len(waits) < 20
    assert waits == sorted(waits)
    assert paces.choose(BOTH, 100.0) == [0, 1]
    paces.sample(0, 2.0, 101.0)
    assert paces.patience((0,), 1) == limits.RESEND_PAUSE_MAX_S


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("sample"), st.sampled_from(BOTH), TOOK),
            st.tuples(st.just("lost"), st.lists(st.sampled_from(BOTH), max_size=2, unique=True)),
            st.tuples(st.just("kept"), st.sampled_from(BOTH)),
            st.tuples(st.just("forget"), st.sampled_from(BOTH)),
            st.tuples(st.just("pass"), st.floats(0.0, 40.0)),
        ),
        max_size=40,
    ),
    st.lists(st.integers(-1, 3), unique=True, max_size=4),
)
def test_whatever_happens_one_good_path_or_all_are_taken_and_patience_is_bounded(steps, indices):
    paces, now = Paces(), 0.0
    for name, *arguments in steps:
        if name == "pass":
            now += arguments[0]
        elif name in {"sample", "lost"}:
            getattr(paces, name)(*arguments, now)
        else:
            getattr(paces, name)(*arguments)
        chosen = paces.choose(indices, now)
        assert chosen == indices or (len(chosen) == 1 and chosen[0] in indices)
        if chosen != indices:
            (index,) = chosen
            path = paces._paths[index]
            assert path.shunned_until <= now < path.measured_at + FRESH_S
        for tries in (1, limits.RESEND_TRIES):
            assert limits.RESEND_SPREAD_MIN_S <= paces.patience(indices, tries) <= limits.RESEND_PAUSE_MAX_S


# -- loss -------------------------------------------------------------------------------


def test_one_loss_is_not_a_lossy_way_and_two_soon_after_each_other_are():
    paces = known(0.1, 0.1)
    paces.lost([0], 1.0)
    assert not paces.is_lossy(1.0)
    paces.lost([0], 1.1)
    assert paces.is_lossy(1.1)


def test_several_messages_lost_at_once_count_each():
    paces = known(0.1, 0.1)
    paces.lost([0], 1.0, 2)
    assert paces.is_lossy(1.0)
    paces.lost([0], 1.0, 10**9)
    assert paces.loss == 1.0


def test_what_was_lost_is_forgotten_with_time_and_by_what_arrives():
    paces = known(0.1, 0.1)
    paces.lost([0], 1.0, 2)
    loss = paces.loss
    assert paces.is_lossy(1.0)
    paces.kept(0)
    assert paces.loss == pytest.approx(loss * (1 - limits.LOSS_WEIGHT))
    assert not paces.is_lossy(1.0 + limits.LOSS_HALF_S)
    assert paces.loss < loss / 2
    assert not paces.is_lossy(0.5)  # a clock that goes back changes nothing


def test_what_was_lost_counts_half_after_its_half_life_whenever_that_is():
    paces = known(0.1, 0.1)
    paces.lost([0], 1000.0, 2)
    loss = paces.loss
    paces.is_lossy(1000.0 + limits.LOSS_HALF_S)
    assert paces.loss == pytest.approx(loss / 2)
    paces.is_lossy(1000.0 + 2 * limits.LOSS_HALF_S)
    assert paces.loss == pytest.approx(loss / 4)


def test_what_was_measured_is_believed_up_to_the_same_number_of_losses_each_time():
    paces = Paces()
    for _ in range(2):
        paces.sample(0, 0.01, 1.0)
        paces.lost([0], 1.0)
        while paces.misses:
            assert 0 in paces._paths
            assert paces.misses < 8
            paces.lost([0], 1.0)
        assert paces._paths == {}
    paces.lost([0], 1.0)
    assert paces.misses == 1
