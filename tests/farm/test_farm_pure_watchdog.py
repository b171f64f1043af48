"""farm.watchdog: what works, what hangs, and what is done about it from window to window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm import limits
from farm.watchdog import Remedy, Sample, Watchdog

NONE, RELOAD, KILL, RESTART = Remedy.NONE, Remedy.RELOAD, Remedy.KILL_RUNNER, Remedy.RESTART
WINDOW, LOAD, STEP = limits.WATCH_WINDOW_S, limits.WATCH_LOAD_S, limits.WATCH_EVERY_S
STILL = Sample(7, 10.0, 500, disk=False)


def after(dog: Watchdog, *looks: Sample | None, since: float = 0.0, loading: bool = False) -> list[Remedy]:
    """What it says to one look after the other, a step apart; None: no runner is there."""
    return [
        dog.look(since + at * STEP, [] if seen is None else [seen], loading=loading)
        for at, seen in enumerate(looks)
    ]


def remedies(dog: Watchdog, looks: int, *, loading: bool = False, since: float = 0.0) -> dict[float, Remedy]:
    """When it asks for something, while one runner does nothing at all."""
    said = after(dog, *[STILL] * looks, since=since, loading=loading)
    return {since + at * STEP: remedy for at, remedy in enumerate(said) if remedy is not NONE}


def test_a_runner_that_does_nothing_for_a_window_is_ended_then_its_server():
    dog = Watchdog()
    assert remedies(dog, 35) == {WINDOW: KILL, 2 * WINDOW: RESTART, 3 * WINDOW: RESTART}
    assert dog.hangs


def test_a_load_that_does_nothing_is_begun_again_first_and_sooner():
    assert remedies(Watchdog(), 13, loading=True) == {
        LOAD: RELOAD, 2 * LOAD: KILL, 3 * LOAD: RESTART, 4 * LOAD: RESTART,
    }  # fmt: skip


def test_nothing_is_done_before_a_whole_window_is_over():
    dog = Watchdog()
    assert dog.look(0.0, [STILL], loading=False) is NONE
    assert dog.look(WINDOW - 0.01, [STILL], loading=False) is NONE
    assert not dog.hangs
    assert dog.look(WINDOW, [STILL], loading=False) is KILL
    assert dog.hangs


WORK = {
    "a prompt uses the processor": [Sample(7, 10.0 + n, 500, disk=False) for n in range(30)],
    "a load reads pages": [Sample(7, 10.0, 500 + n, disk=False) for n in range(30)],
    "a load waits for the disk": [Sample(7, 10.0, 500, disk=True)] * 30,
    "runners come and go": [Sample(n, 0.0, 0, disk=False) for n in range(30)],
    "a little at every look, more than any stopped process uses": [
        Sample(7, 10.0 + 0.021 * n, 500, disk=False) for n in range(30)
    ],
    "once in a window": [Sample(7, 10.0 + at // 2, 500, disk=False) for at in range(30)],
}


@pytest.mark.parametrize("looks", WORK.values(), ids=WORK)
@pytest.mark.parametrize("loading", [False, True])
def test_work_is_not_a_hang(looks, loading):
    dog = Watchdog()
    assert set(after(dog, *looks, loading=loading)) == {NONE}
    assert not dog.hangs


def test_the_clock_of_a_stopped_process_may_be_read_a_little_apart():
    dog = Watchdog()
    jitter = [Sample(7, 10.0 + (at % 2) * limits.WATCH_CPU_S, 500, disk=False) for at in range(11)]
    assert after(dog, *jitter)[-1] is KILL


def test_work_once_in_a_window_is_enough_for_a_prompt():
    rarely = [Sample(7, 10.0 + at // 9, 500, disk=False) for at in range(30)]
    assert set(after(Watchdog(), *rarely)) == {NONE}


def test_a_window_begins_when_the_work_ends():
    dog = Watchdog()
    busy = [Sample(7, 10.0 + at, 500, disk=False) for at in range(5)]  # until 8 s
    said = after(dog, *busy, *[busy[-1]] * 12)
    assert [at * STEP for at, remedy in enumerate(said) if remedy is KILL] == [8 + WINDOW]


def test_one_of_two_runners_that_works_is_enough():
    dog = Watchdog()
    for at in range(20):
        pair = [Sample(9, 1.0 + at, 5, disk=False), STILL]
        assert dog.look(at * STEP, pair if at % 2 else pair[::-1], loading=False) is NONE


def test_a_server_whose_runner_never_comes_hangs_too():
    assert after(Watchdog(), *[None] * 4, loading=True) == [NONE, NONE, NONE, RELOAD]


def test_work_after_a_hang_takes_it_back_and_the_ladder_begins_anew():
    dog = Watchdog()
    assert remedies(dog, 11) == {WINDOW: KILL}
    new = Sample(8, 0.5, 3, disk=False)
    assert dog.look(22.0, [new], loading=False) is NONE
    assert not dog.hangs
    assert dog.look(22.0 + WINDOW, [new], loading=False) is KILL


def test_whatever_comes_from_the_backend_takes_it_back():
    dog = Watchdog()
    remedies(dog, 11)
    dog.heard()
    assert not dog.hangs
    assert remedies(dog, 11, since=1000.0) == {1000 + WINDOW: KILL}


def test_time_in_which_nobody_waited_does_not_count():
    dog = Watchdog()
    dog.look(0.0, [STILL], loading=False)
    dog.heard()
    assert dog.look(500.0, [STILL], loading=False) is NONE
    assert dog.look(500.0 + WINDOW, [STILL], loading=False) is KILL


# -- where the runner cannot be seen ---------------------------------------------------------


def test_a_runner_that_cannot_be_seen_has_much_longer():
    dog = Watchdog()
    blind = limits.WATCH_BLIND_S
    said = {at: dog.look(at, None, loading=False) for at in (0.0, 60.0, blind - 1, blind, 2 * blind)}
    assert said == {0.0: NONE, 60.0: NONE, blind - 1: NONE, blind: KILL, 2 * blind: RESTART}


def test_a_look_that_fails_now_and_then_changes_nothing():
    dog = Watchdog()
    said = [dog.look(at * STEP, None if at % 2 else [STILL], loading=False) for at in range(11)]
    assert said == [NONE] * 10 + [KILL]


def test_a_look_that_fails_ends_nobody_early():
    dog = Watchdog()
    dog.look(0.0, [STILL], loading=False)
    assert dog.look(WINDOW, None, loading=False) is NONE


def test_a_runner_that_comes_into_sight_has_a_window_of_its_own():
    dog = Watchdog()
    dog.look(0.0, None, loading=False)
    assert dog.look(WINDOW, [STILL], loading=False) is NONE
    assert dog.look(2 * WINDOW, [STILL], loading=False) is KILL


SAMPLES = st.builds(Sample, st.integers(1, 3), st.floats(0, 100), st.integers(0, 50), disk=st.booleans())


@given(
    st.lists(st.tuples(st.floats(0, 9), st.one_of(st.none(), st.lists(SAMPLES, max_size=3))), max_size=50),
    st.booleans(),
)
def test_remedies_are_a_window_apart_and_get_no_milder_while_nothing_works(looks, loading):
    dog, now, said = Watchdog(), 0.0, []
    ladder = [RELOAD, KILL, RESTART] if loading else [KILL, RESTART]
    for pause, samples in looks:
        now += pause
        remedy = dog.look(now, samples, loading=loading)
        if not dog.hangs:
            said.clear()  # it works
        if remedy is not NONE:
            assert dog.hangs
            assert not said or now - said[-1][0] >= (LOAD if loading else WINDOW)
            assert remedy is ladder[min(len(said), len(ladder) - 1)]
            said.append((now, remedy))
