"""Messages that must arrive, on paper: what is sent again when, and what is never."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn.flights import Flight, Flights
from wire import limits

BOTH = (0, 1)
FIRST_S, LEAST_S = limits.RESEND_FIRST_S, limits.RESEND_SPREAD_MIN_S
UNPROVEN = limits.RESEND_UNPROVEN * limits.RESEND_UNPROVEN_TRIES
"""Copies that a peer costs which acknowledges nothing, first attempts included."""


@pytest.fixture(autouse=True)
def _fast_line(monkeypatch):
    """What is under way takes no time but where a test is about that."""
    monkeypatch.setattr(limits, "RESEND_B_PER_S", math.inf)


class Trip:
    """Flights with a clock; messages are numbers.

    Attributes:
        left: (time, number) of all that was sent again.
    """

    def __init__(self):
        self.counts, self.now, self.left = Counter(), 0.0, []
        self.flights = Flights(self.counts)

    def send(self, number, paths=BOTH, dest="bob", size=10, **more):
        body = number.to_bytes(4) + bytes(size - 4)
        self.flights.sent(name(number, dest), Flight(dest, body, 0, tuple(paths), self.now, **more))

    def ack(self, number, index=0, dest="bob"):
        self.flights.acknowledged(name(number, dest), dest, index, self.now)

    def choose(self, indices=BOTH, dest="bob"):
        return self.flights.choose(dest, list(indices), self.now)

    def tick(self):
        """What is due now; the numbers of what left again."""
        again = [int.from_bytes(flight.body[:4]) for flight in self.flights.overdue(self.now)]
        self.left += [(self.now, number) for number in again]
        return again

    def wait(self, seconds):
        """Let time pass, ticking whenever something is due."""
        end = self.now + seconds
        while (due := self.flights.due_at()) is not None and due <= end:
            self.now = max(self.now, due)
            self.tick()
        self.now = end
        return self

    def prove(self, took=0.1, index=0):
        """The peer acknowledges something that took one path, and the survey of the start is over."""
        self.send(999_999, [index])
        self.wait(took)
        self.ack(999_999, index)
        self.choose()
        return self

    def next_wait(self):
        """How long an acknowledgement of the next message on path 0 would be waited for."""
        self.send(888_888, [0])
        wait = self.flights._due.at(name(888_888)) - self.now
        self.flights._forget(name(888_888), self.flights._flights[name(888_888)])
        return wait

    @property
    def known(self):
        """Path → mean time to an acknowledgement."""
        return {index: pace.mean for index, pace in self.flights._peers["bob"]._paths.items()}


def name(number, dest="bob"):
    return dest.encode(), number.to_bytes(8)


# -- one message ------------------------------------------------------------------------


def test_what_is_acknowledged_is_not_sent_again():
    trip = Trip()
    trip.send(1)
    trip.wait(0.5).ack(1)
    assert (len(trip.flights), trip.flights.due_at()) == (0, None)
    trip.wait(100)
    assert trip.left == []
    assert trip.counts == Counter()


def test_a_peer_not_known_to_acknowledge_gets_a_few_attempts_after_pauses_that_double():
    trip = Trip()
    trip.send(1)
    trip.wait(100)
    assert trip.left == [(FIRST_S, 1), (3 * FIRST_S, 1)]
    assert trip.counts == Counter(resent=2, resend_given_up=1)
    assert len(trip.flights) == 0


def test_a_peer_that_acknowledges_gets_more_of_them():
    trip = Trip().prove(took=0.1)  # 0.1 s on average, 0.2 s to spare
    trip.send(1, [0])
    trip.wait(100)
    assert [round(at - 0.1, 3) for at, _ in trip.left] == [0.3, 0.9, 2.1, 4.5, 7.5, 10.5, 13.5]
    assert len(trip.left) == limits.RESEND_TRIES - 1
    assert trip.counts == Counter(resent=7, resend_given_up=1)


@pytest.mark.parametrize("attempts", range(1, limits.RESEND_TRIES))
def test_after_its_acknowledgement_a_message_is_never_sent_again_however_often_it_was(attempts):
    trip = Trip().prove()
    trip.send(1)
    while len(trip.left) < attempts:
        trip.wait(0.05)
    trip.ack(1)
    trip.wait(100)
    assert len(trip.left) == attempts
    assert trip.counts["resend_given_up"] == 0


def test_an_acknowledgement_of_something_else_or_of_somebody_else_says_nothing():
    trip = Trip()
    trip.send(1)
    trip.ack(2)
    trip.ack(1, dest="mallory")
    assert len(trip.flights) == 1
    trip.ack(1)
    trip.ack(1)
    assert len(trip.flights) == 0


def test_asked_too_early_nothing_is_sent():
    trip = Trip()
    trip.send(1)
    trip.now = FIRST_S - 0.001
    assert trip.tick() == []
    assert trip.flights.due_at() == FIRST_S


def test_a_message_sent_again_by_its_owner_is_one_message_and_held_once():
    trip = Trip()
    trip.send(1, size=100)
    trip.send(1, size=60)
    assert trip.flights._held_b == 60
    trip.ack(1)
    assert (len(trip.flights), trip.flights._held_b) == (0, 0)


def test_what_is_large_gets_the_time_that_it_takes(monkeypatch):
    monkeypatch.setattr(limits, "RESEND_B_PER_S", 100)
    trip = Trip()
    trip.send(1, size=50)
    trip.send(2, size=50)
    assert trip.wait(FIRST_S + 1.0).left == [(FIRST_S + 0.5, 1), (FIRST_S + 1.0, 2)]


def test_what_one_peer_does_not_acknowledge_delays_nobody_else(monkeypatch):
    monkeypatch.setattr(limits, "RESEND_B_PER_S", 100)
    trip = Trip()
    trip.send(1, dest="carol", size=10_000)
    trip.send(2, size=50)
    assert trip.wait(2.0).left == [(FIRST_S + 0.5, 2)]


def test_to_a_peer_that_would_deliver_it_twice_a_message_is_not_sent_again_too_early():
    trip = Trip().prove(took=0.1)  # known to take 0.3 s at most
    trip.send(1, [0], patience_s=0.9)
    trip.wait(2.0)
    assert trip.left == [(pytest.approx(0.1 + 0.9), 1), (pytest.approx(0.1 + 0.9 + 0.9), 1)]


def test_a_message_to_one_part_of_a_peer_is_acknowledged_by_the_peer():
    trip = Trip()
    trip.send(1, dest="__1__.bob")
    # The name holds the receiver's key, whatever stands before it in the address.
    trip.flights.acknowledged(name(1, "__1__.bob"), "bob", 0, trip.now)
    assert len(trip.flights) == 0


def test_whoever_acknowledges_late_is_kept_for_again():
    trip = Trip()
    for number in range(limits.RESEND_UNPROVEN):
        trip.send(number)
    trip.wait(100)
    trip.send(1000)
    assert len(trip.flights) == 0
    assert trip.counts["resend_unproven"] == 1
    trip.ack(1000)
    trip.send(1001)
    assert len(trip.flights) == 1


# -- peers that acknowledge nothing --------------------------------------------------------


def test_of_many_messages_to_a_peer_that_acknowledges_nothing_only_the_first_few_are_kept():
    trip = Trip()
    for number in range(limits.RESEND_UNPROVEN + 6):
        trip.send(number)
    trip.wait(100)
    assert {number for _, number in trip.left} == set(range(limits.RESEND_UNPROVEN))
    assert len(trip.left) + limits.RESEND_UNPROVEN == UNPROVEN


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(1, 5)), max_size=30))
def test_a_peer_that_acknowledges_nothing_costs_a_bounded_number_of_attempts_over_any_time(steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "RESEND_UNPROVEN", 4)
        trip, fresh = Trip(), itertools.count()
        for pause, messages in steps:
            trip.wait(pause)
            for _ in range(messages):
                trip.send(next(fresh))
        trip.wait(1000)
        assert len(trip.left) <= 4 * (limits.RESEND_UNPROVEN_TRIES - 1)
        assert len(trip.flights) == 0


def test_a_peer_that_falls_silent_is_not_taken_for_one_that_acknowledges_any_more():
    trip = Trip().prove().wait(1.0)
    trip.send(1)
    trip.wait(100)
    del trip.left[:]
    for number in range(2, limits.RESEND_UNPROVEN + 6):
        trip.send(number)
    trip.wait(100)
    assert len(trip.left) == UNPROVEN - limits.RESEND_UNPROVEN
    assert trip.choose() == [0, 1]


def test_a_peer_that_acknowledged_something_later_is_not_gone_because_one_message_is():
    trip = Trip().prove()
    trip.send(1)
    while trip.counts["resend_given_up"] == 0:
        trip.send(2)
        trip.ack(2)
        trip.wait(0.5)
    del trip.left[:]
    trip.send(3)
    trip.wait(100)
    assert len(trip.left) == limits.RESEND_TRIES - 1


def test_once_it_acknowledges_more_is_kept_for_a_peer():
    trip = Trip()
    for number in range(limits.RESEND_UNPROVEN):
        trip.send(number)
    trip.ack(0)
    trip.send(1000)
    assert len(trip.flights) == limits.RESEND_UNPROVEN


def test_what_finds_no_room_costs_an_unproven_peer_nothing(monkeypatch):
    monkeypatch.setattr(limits, "RESEND_MAX_B", 10)
    trip = Trip()
    trip.send(0, dest="carol")
    for number in range(1, limits.RESEND_UNPROVEN + 1):
        trip.send(number)
    trip.ack(0, dest="carol")
    trip.send(1000)
    assert len(trip.flights) == 1


# -- what a path is worth -------------------------------------------------------------------


def test_a_peer_is_unknown_at_first_and_takes_one_path_once_it_is_known():
    trip = Trip()
    assert trip.choose() == [0, 1]
    trip.send(1)
    assert trip.choose() == [0, 1]  # it has not acknowledged yet
    trip.wait(0.1).ack(1, 1)
    assert trip.choose() == [0, 1]  # a survey
    assert trip.choose() == [1]
    assert trip.choose(dest="carol") == [0, 1]


@pytest.mark.parametrize("indices", [(), (0,), (1,)])
def test_where_there_is_no_choice_none_is_made(indices):
    trip = Trip()
    trip.send(1)
    trip.ack(1)
    assert trip.choose(indices) == list(indices)
    assert trip.choose() == [0, 1]  # a survey is not spent on that
    assert trip.choose(indices) == list(indices)


def test_what_took_one_path_counts_for_that_path_whichever_way_the_word_came():
    trip = Trip()
    trip.send(1, [0])
    trip.wait(0.1).ack(1, index=1)
    assert trip.known == {0: pytest.approx(0.1)}


@pytest.mark.parametrize(("index", "known"), [(0, {0: 0.25}), (1, {1: 0.25}), (2, {})])
def test_what_took_all_paths_counts_for_the_one_the_word_came_by(index, known):
    trip = Trip()
    trip.send(1)
    trip.wait(0.25).ack(1, index)
    assert trip.known == known


@pytest.mark.parametrize("paths", [(0,), BOTH])
def test_nobody_knows_which_attempt_was_answered_so_it_is_not_measured(paths):
    trip = Trip()
    trip.send(1, paths)
    trip.wait(FIRST_S + 0.5).ack(1)
    assert trip.known == {}
    assert trip.flights._peers["bob"].proven


def test_a_path_that_swallowed_a_message_is_not_taken_for_the_next():
    trip = Trip().prove(took=0.1, index=0)
    trip.send(1)
    trip.wait(0.2).ack(1, index=1)
    assert trip.choose() == [0]
    trip.send(2, [0])
    trip.wait(0.31)
    assert [number for _, number in trip.left] == [2]
    assert trip.choose() == [1]


def test_losses_on_all_paths_at_once_count_once():
    trip = Trip().prove()
    for number in range(8):
        trip.send(number)
    trip.wait(0.3)
    assert len(trip.left) == 8
    assert trip.next_wait() == pytest.approx(0.6)  # not 0.3 s doubled eight times


def test_a_path_that_proved_good_alone_is_not_shunned_for_its_past():
    trip = Trip().prove(took=0.1, index=0)
    trip.send(1, [0])
    trip.wait(0.31)
    assert trip.choose() == [0, 1]
    trip.ack(1)
    trip.wait(limits.PATH_SHUN_S)
    trip.send(2, trip.choose())
    trip.wait(0.05).ack(2)
    trip.send(3, [0])
    trip.wait(0.9)
    assert trip.flights._peers["bob"]._paths[0].penalty == 2 * limits.PATH_SHUN_S


def test_a_peer_that_became_slow_is_soon_waited_for_as_long_as_it_takes():
    trip = Trip().prove(took=0.02)
    resent = []
    for number in range(20):
        trip.send(number, [0])
        trip.wait(1.5).ack(number)
        resent.append(len(trip.left))
        del trip.left[:]
    assert resent[0] > 0
    assert resent[-5:] == [0] * 5


# -- when a part is made anew ---------------------------------------------------------------


def test_what_is_under_way_is_sent_again_soon_after_a_part_lost_its_socket():
    trip = Trip()
    trip.send(1)
    trip.wait(0.1)
    trip.flights.path_changed(0, trip.now)
    assert trip.flights.due_at() == pytest.approx(0.1 + LEAST_S)
    assert trip.wait(0.1).left == [(pytest.approx(0.1 + LEAST_S), 1)]


def test_a_part_that_is_made_anew_delays_nothing():
    trip = Trip()
    trip.send(1)
    trip.now = FIRST_S - 0.01
    trip.flights.path_changed(0, trip.now)
    assert trip.flights.due_at() == FIRST_S


def test_an_attempt_because_of_a_new_path_is_not_counted_against_a_message():
    trip = Trip()
    trip.send(1)
    for _ in range(5):
        trip.flights.path_changed(0, trip.now)
        trip.wait(2 * LEAST_S)
    assert len(trip.left) == 5
    trip.wait(100)
    assert len(trip.left) == 5 + limits.RESEND_UNPROVEN_TRIES - 1
    assert trip.counts["resend_given_up"] == 1


def test_not_even_against_one_whose_attempts_are_spent():
    trip = Trip()
    trip.send(1)
    trip.wait(3 * FIRST_S)
    assert len(trip.left) == limits.RESEND_UNPROVEN_TRIES - 1
    trip.flights.path_changed(0, trip.now)
    trip.wait(2 * LEAST_S)
    assert len(trip.left) == limits.RESEND_UNPROVEN_TRIES
    assert len(trip.flights) == 1


def test_what_was_sent_again_on_all_paths_is_hurried_by_each_of_them():
    trip = Trip().prove(took=0.1)
    trip.send(1, [1])
    trip.wait(FIRST_S)
    assert trip.flights.due_at() > trip.now + LEAST_S
    trip.flights.path_changed(0, trip.now)
    assert trip.flights.due_at() == pytest.approx(trip.now + LEAST_S)


def test_it_says_nothing_of_the_peer_either():
    trip = Trip().prove(took=0.1, index=0)
    trip.send(1, [1])
    trip.flights.path_changed(1, trip.now)
    trip.wait(2 * LEAST_S)
    assert [number for _, number in trip.left] == [1]
    assert trip.next_wait() == pytest.approx(0.3)
    trip.ack(1, index=1)
    assert set(trip.known) == {0}  # nobody knows which copy was answered


def test_what_was_measured_of_a_part_ends_with_its_socket():
    trip = Trip().prove(index=0)
    trip.flights.path_changed(1, trip.now)
    assert set(trip.known) == {0}
    trip.flights.path_changed(0, trip.now)
    assert trip.known == {}
    assert trip.choose() == [0, 1]


def test_a_part_that_flaps_does_not_cost_what_took_another_path():
    trip = Trip().prove(took=0.9, index=1)
    trip.send(1, [1])
    for _ in range(20):
        trip.flights.path_changed(0, trip.now)
        trip.wait(0.1)
    assert trip.left == []
    assert len(trip.flights) == 1


# -- bounds -------------------------------------------------------------------------------


def test_too_much_for_one_peer_at_once_follows_a_little_later_in_order():
    trip = Trip().prove()
    for number in range(40):
        trip.send(number, [0])
    trip.now += 0.3
    burst = limits.RESEND_BURST
    again = [trip.tick()]
    for _ in range(2):
        trip.now = trip.flights.due_at()
        again.append(trip.tick())
    assert again == [list(range(burst)), list(range(burst, 2 * burst)), list(range(2 * burst, 40))]
    assert trip.now == pytest.approx(0.4 + 2 * LEAST_S)
    assert trip.counts["resent"] == 40


def test_a_burst_to_one_peer_does_not_hold_up_another():
    trip = Trip().prove()
    for number in range(40):
        trip.send(number, [0])
    trip.send(100, dest="carol")
    trip.now += FIRST_S
    assert 100 in trip.tick()


def test_while_too_much_is_held_messages_are_sent_once_on_all_paths_and_counted(monkeypatch):
    monkeypatch.setattr(limits, "RESEND_MAX_B", 100)
    trip = Trip().prove()
    assert trip.choose() == [0]
    for number in range(5):
        trip.send(number, size=60)
    assert trip.flights._held_b == 120
    assert trip.choose() == [0, 1]
    assert trip.counts == Counter(resend_no_room=3)
    trip.ack(0)
    assert trip.choose() == [0]
    trip.send(5)
    assert trip.counts == Counter(resend_no_room=3)
    trip.wait(0.35)
    assert [number for _, number in trip.left] == [1, 5]


def test_of_too_many_peers_the_oldest_are_forgotten_and_their_messages_go_on(monkeypatch):
    monkeypatch.setattr(limits, "SHARED_KEYS_MAX", 2)
    trip = Trip()
    for dest in ("bob", "carol", "dave"):
        trip.send(1, dest=dest)
    assert len(trip.flights) == 3
    trip.wait(FIRST_S)
    assert len(trip.left) == 3
    for dest in ("bob", "carol", "dave"):
        trip.send(1, dest=dest, size=20)  # again by its owner
    assert trip.flights._held_b == 60
    for dest in ("bob", "carol", "dave"):
        trip.ack(1, dest=dest)
    assert (len(trip.flights), trip.flights._held_b) == (0, 0)
    assert {paces.held_b for paces in trip.flights._peers.values()} == {0}


NUMBERS, SIZES, PATHS = st.integers(0, 9), st.integers(4, 60), st.sampled_from([(0,), (1,), BOTH])
DESTS = st.sampled_from(["bob", "carol"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), NUMBERS, PATHS, DESTS, SIZES),
        st.tuples(st.just("ack"), NUMBERS, st.sampled_from(BOTH), DESTS),
        st.tuples(st.just("change"), st.sampled_from(BOTH)),
        st.tuples(st.just("wait"), st.floats(0.0, 4.0)),
    ),
    max_size=50,
)


@given(STEPS)
def test_whatever_happens_attempts_and_bytes_are_bounded_and_nothing_is_left_at_the_end(steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "RESEND_MAX_B", 150)
        trip = Trip()
        for step, *arguments in steps:
            if step == "change":
                trip.flights.path_changed(*arguments, trip.now)
            else:
                getattr(trip, step)(*arguments)
            held = [len(flight.body) for flight in trip.flights._flights.values()]
            assert trip.flights._held_b == sum(held) < 150 + 60
            assert sum(paces.held_b for paces in trip.flights._peers.values()) == sum(held)
            assert (trip.flights.due_at() is None) == (not held)
        trip.wait(1000)
        assert (len(trip.flights), trip.flights._held_b, trip.flights.due_at()) == (0, 0, None)
        assert trip.counts["resent"] == len(trip.left)


@given(STEPS)
def test_no_message_is_sent_more_often_than_the_limit_nor_after_its_acknowledgement(steps):
    trip, sent, acked, changes = Trip(), 0, {}, 0
    for step, *arguments in steps:
        if step == "send":  # each message is a new one
            trip.send(sent, *arguments[1:])
            sent += 1
        elif step == "ack":
            number, index, _ = arguments
            for dest in ("bob", "carol"):
                trip.ack(number, index, dest)
            if number < sent:
                acked.setdefault(number, attempts(trip)[number])
        elif step == "change":
            trip.flights.path_changed(*arguments, trip.now)
            changes += 1
        else:
            trip.wait(*arguments)
    trip.wait(1000)
    assert all(times < limits.RESEND_TRIES + changes for times in attempts(trip).values())
    assert {number: attempts(trip)[number] for number in acked} == acked


def attempts(trip):
    """Number → how often it was sent again."""
    return Counter(number for _, number in trip.left)


# -- copies over a lossy way --------------------------------------------------------------


def lossy_trip():
    """Bob's ways are known, and some messages to him were lost."""
    trip = Trip()
    for number in range(10):
        trip.send(number)
        trip.ack(number, number % 2)
    assert trip.choose() == [0, 1]  # the survey of the start
    trip.choose()
    for number in range(10, 14):
        trip.send(number, paths=[0])
    trip.wait(2.0)
    for number in range(10, 14):
        trip.ack(number)
    return trip


def test_over_a_lossy_way_a_message_takes_all_paths_at_once():
    trip = lossy_trip()
    assert [trip.choose() for _ in range(3)] == [[0, 1]] * 3
    assert trip.counts["copied"] == 3


def test_extra_copies_have_a_bound_for_all_peers_together():
    trip = lossy_trip()
    for _ in range(limits.EXTRA_COPIES + 5):
        trip.choose()
    assert trip.counts["copied"] == limits.EXTRA_COPIES
    trip.wait(1.0)
    trip.choose()
    assert trip.counts["copied"] == limits.EXTRA_COPIES + 1


def test_each_peer_that_is_given_no_more_room_counts_and_so_does_each_that_is_given_up():
    trip = Trip()
    for number in range(limits.RESEND_UNPROVEN + 2):
        trip.send(number)
    assert trip.counts["resend_unproven"] == 2
    trip.wait(100)
    assert trip.counts["resend_given_up"] == limits.RESEND_UNPROVEN


def test_first_attempts_that_are_missed_make_a_way_lossy_and_later_ones_do_not():
    trip = Trip().prove(took=0.1)
    for number in (1, 2):
        trip.send(number, [0])
    while not trip.left:
        trip.wait(0.05)
    paces = trip.flights._peers["bob"]
    first = paces.loss
    assert first > limits.LOSS_WEIGHT  # both of them
    while len(trip.left) < 4:
        trip.wait(0.05)
    assert paces.loss < first
