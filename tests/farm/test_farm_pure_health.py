"""farm.health: a run of answers, and pauses that grow while a backend keeps dying."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm import limits
from farm.health import Health, Pause

GOOD, BAD = limits.HEALTH_GOOD, limits.HEALTH_BAD


def told(health: Health, answers: str) -> str:
    """The answers (+ and −) with a ! behind each that changed something."""
    return "".join(sign + "!" * health.answered(well=sign == "+") for sign in answers)


@pytest.mark.parametrize(
    ("answers", "changes", "up"),
    [
        ("", "", False),
        ("+", "+", False),
        ("++", "++!", True),
        ("+-+", "+-+", False),
        ("+-++", "+-++!", True),
        ("---", "---", False),
        ("++--", "++!--", True),
        ("++---", "++!---!", False),
        ("++--+---", "++!--+---!", False),
        ("++--+--", "++!--+--", True),
        ("++---++", "++!---!++!", True),
        ("++---+-++", "++!---!+-++!", True),
    ],
)
def test_one_answer_is_not_enough(answers, changes, up):
    assert (GOOD, BAD) == (2, 3)
    health = Health()
    assert told(health, answers) == changes
    assert health.up is up


def test_a_process_that_ended_is_down_at_once():
    health = Health()
    assert not health.gone()
    told(health, "++")
    assert health.gone()
    assert not health.up
    assert not health.gone()
    assert told(health, "++") == "++!"


def test_what_was_counted_before_it_went_is_not_counted_after():
    health = Health()
    told(health, "+")
    health.gone()
    assert told(health, "++") == "++!"
    told(health, "--")
    health.gone()
    assert told(health, "++---") == "++!---!"


@given(st.text("+-g", max_size=60))
def test_it_is_up_after_good_answers_until_bad_ones(events):
    health, run, up = Health(), "", False
    for event in events:
        run = "" if event == "g" else run + event
        changed = health.gone() if event == "g" else health.answered(well=event == "+")
        before = up
        if event == "g" or run.endswith("-" * BAD):
            up = False
        elif run.endswith("+" * GOOD):
            up = True
        assert (health.up, changed) == (up, up is not before)


# -- restarts ------------------------------------------------------------------------------


def pauses(*lives_s: float) -> list[float]:
    """The pauses after lives of such lengths, one after the other."""
    pause, now, found = Pause(), 100.0, []
    for life_s in lives_s:
        pause.started(now)
        now += life_s
        found.append(pause.ended(now))
        now += found[-1]
    return found


def test_pauses_double_up_to_the_longest():
    assert pauses(*[0.1] * 10) == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_life_that_held_begins_the_row_anew():
    long = limits.RESTART_STEADY_S
    assert pauses(1, 1, 1, long, 1, 1) == [0, 0.5, 1, 0, 0.5, 1]
    assert pauses(1, 1, long - 1, 1) == [0, 0.5, 1, 2]
    assert pauses(long, long, long) == [0, 0, 0]


def test_a_start_that_never_was_counts_as_a_first_one():
    pause = Pause()
    assert (pause.ended(5.0), pause.ended(6.0)) == (0.0, 0.0)


def test_a_backend_that_dies_for_days_is_still_started():
    assert set(pauses(*[0.1] * 3000)[8:]) == {limits.RESTART_MAX_S}


@given(st.lists(st.floats(0, 200), max_size=40))
def test_a_pause_is_never_longer_than_the_longest_and_grows_unless_it_held(lives):
    found = pauses(*lives)
    assert all(0 <= pause <= limits.RESTART_MAX_S for pause in found)
    for life, before, after in zip(lives[1:], found, found[1:], strict=False):
        assert after == 0 if life >= limits.RESTART_STEADY_S else after > 0
        assert after in {0, limits.RESTART_FIRST_S, limits.RESTART_MAX_S} or after == 2 * before
