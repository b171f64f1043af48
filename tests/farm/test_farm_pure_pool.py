"""farm.pool: slots, one queue, and where a request goes; examples, and a model of it all."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from farm.pool import Full, Grant, NobodyThereError, Place, Pool


def pool(*slots: int, waiting_max: int = 9) -> Pool:
    return Pool([Place(count, up=True) for count in slots], waiting_max)


def joined(desk: Pool, *numbers: int, model: str = "m") -> list[tuple[int, int]]:
    """Who may start, and where, as they come one after the other."""
    return [(grant.number, grant.place) for number in numbers for grant in desk.join(number, model)]


# -- one place -----------------------------------------------------------------------------


def test_as_many_run_as_there_are_slots_and_the_rest_wait_in_order():
    desk = pool(2)
    assert joined(desk, 1, 2, 3, 4) == [(1, 0), (2, 0)]
    assert (desk.slots, desk.used, desk.waiting) == (2, 2, 2)
    assert [desk.position(number) for number in (1, 2, 3, 4, 99)] == [0, 0, 1, 2, 0]
    assert desk.release(0) == [Grant(3, 0)]
    assert desk.position(4) == 1
    assert desk.release(0) == [Grant(4, 0)]
    assert desk.release(0) == []
    assert (desk.used, desk.waiting) == (1, 0)


def test_one_that_gives_up_makes_room_for_those_behind_it():
    desk = pool(1)
    joined(desk, 1, 2, 3)
    desk.leave(2)
    desk.leave(2)
    assert desk.position(3) == 1
    assert desk.release(0) == [Grant(3, 0)]
    desk.leave(3)  # it runs; nothing is left to be left
    assert desk.used == 1


def test_a_full_queue_takes_nobody_and_keeps_those_it_has():
    desk = pool(1, waiting_max=2)
    joined(desk, 1, 2, 3)
    with pytest.raises(Full) as caught:
        desk.join(4, "m")
    assert caught.value.waiting == 2
    assert (desk.waiting, desk.position(4), desk.position(3)) == (2, 0, 2)


def test_a_queue_without_room_still_lets_run_what_can():
    desk = pool(1, waiting_max=0)
    assert joined(desk, 1) == [(1, 0)]
    with pytest.raises(Full):
        desk.join(2, "m")
    assert desk.release(0) == []
    assert joined(desk, 3) == [(3, 0)]


def test_one_that_lost_its_turn_is_the_next_even_in_a_full_queue():
    desk = pool(1, waiting_max=1)
    joined(desk, 1, 2)
    assert desk.join(1, "m", again=True) == []
    assert (desk.position(1), desk.position(2), desk.waiting) == (1, 2, 2)
    assert desk.release(0) == [Grant(1, 0)]


def test_who_comes_when_a_place_came_back_unseen_does_not_lose_what_it_brought_about():
    desk = pool(1, waiting_max=1)
    desk.places[0].up = False
    joined(desk, 1)
    desk.places[0].up = True  # and nobody called `advance`
    assert desk.join(2, "m") == [Grant(1, 0)]
    assert desk.position(2) == 1


# -- places that come and go -----------------------------------------------------------------


def test_nobody_starts_where_nothing_is_up_and_all_start_once_it_is():
    desk = Pool([Place(2)], 9)
    assert joined(desk, 1, 2, 3) == []
    desk.places[0].up = True
    assert desk.advance() == [Grant(1, 0), Grant(2, 0)]


@pytest.mark.parametrize(
    ("up", "coming", "reachable"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_waiting_makes_sense_while_a_place_is_up_or_coming(up, coming, reachable):
    desk = Pool([Place(1, up=False, coming=False), Place(1, up=up, coming=coming)], 9)
    assert desk.reachable is reachable
    if reachable:
        joined(desk, 1)
        assert desk.abandon() == []
    else:
        with pytest.raises(NobodyThereError):
            desk.join(1, "m")
        assert desk.waiting == 0


def test_when_the_last_place_is_gone_for_good_all_who_wait_are_named():
    desk = pool(1)
    joined(desk, 1, 2, 3)
    desk.places[0].up = desk.places[0].coming = False
    assert desk.abandon() == [2, 3]
    assert (desk.waiting, desk.abandon()) == (0, [])


def test_a_slot_that_is_given_back_by_a_place_that_is_down_is_free_when_it_is_up():
    desk = pool(1)
    joined(desk, 1, 2)
    desk.places[0].up = False
    assert desk.release(0) == []
    desk.places[0].up = True
    assert desk.advance() == [Grant(2, 0)]


# -- the choice --------------------------------------------------------------------------------

LOADED = Place(4, up=True, loaded=frozenset({"m"}))
LOADING = Place(4, up=True, loading="m")
EMPTY = Place(4, up=True)
OTHER = Place(4, up=True, loaded=frozenset({"x"}))
BUSY_LOADING_OTHER = Place(4, up=True, loading="x")


def fresh(place: Place, used: int = 0) -> Place:
    return Place(place.slots, place.up, place.coming, place.loaded, place.loading, used)


@pytest.mark.parametrize(
    ("places", "chosen"),
    [
        ([EMPTY, LOADED], 1),
        ([EMPTY, LOADING], 1),
        ([LOADING, LOADED], 1),
        ([BUSY_LOADING_OTHER, EMPTY], 1),
        ([BUSY_LOADING_OTHER, OTHER], 1),
        ([OTHER, EMPTY], 1),
        ([EMPTY, EMPTY], 0),
        ([fresh(EMPTY, 1), EMPTY], 1),
        ([fresh(LOADED, 3), EMPTY], 0),
        ([fresh(LOADED, 4), EMPTY], 1),
        ([fresh(LOADED, 4), BUSY_LOADING_OTHER], 1),
        ([fresh(LOADED, 2), fresh(LOADED, 1)], 1),
        ([Place(4, loaded=frozenset({"m"})), EMPTY], 1),
    ],
)
def test_a_request_goes_where_its_model_is_or_costs_the_least_to_bring(places, chosen):
    desk = Pool([fresh(place, place.used) for place in places], 9)
    assert joined(desk, 1) == [(1, chosen)]


def test_a_request_without_a_model_goes_where_the_least_is_done():
    desk = Pool([fresh(LOADED, 2), fresh(BUSY_LOADING_OTHER, 1)], 9)
    assert joined(desk, 1, model="") == [(1, 1)]


def test_a_place_that_failed_it_is_taken_only_when_there_is_no_other():
    desk = Pool([fresh(LOADED), fresh(BUSY_LOADING_OTHER)], 9)
    assert desk.join(1, "m", frozenset({0})) == [Grant(1, 1)]
    desk.places[1].up = False
    assert desk.join(2, "m", frozenset({0})) == [Grant(2, 0)]
    desk.places[1].up = True
    assert desk.join(3, "m", frozenset({0, 1})) == [Grant(3, 0)]


# -- a model of it --------------------------------------------------------------------------------

MODELS = ["", "a", "b", "c"]


class Desk(RuleBasedStateMachine):
    """What the pool promises, beside what it does."""

    @initialize(slots=st.lists(st.integers(1, 3), min_size=1, max_size=3), room=st.integers(0, 4))
    def begin(self, slots, room):
        self.pool = Pool([Place(count) for count in slots], room)
        self.room = room
        self.queue: list[tuple[int, str, frozenset[int]]] = []
        self.running: list[tuple[int, int]] = []
        self.count = 0

    def _granted(self, grants):
        """Each grant was the first in line, to a free place, to the best of those."""
        for grant in grants:
            number, model, avoid = self.queue.pop(0)
            assert grant.number == number
            taken = [
                sum(1 for _, at in self.running if at == index) for index in range(len(self.pool.places))
            ]
            free = [
                index
                for index, place in enumerate(self.pool.places)
                if place.up and taken[index] < place.slots
            ]
            assert grant.place in free
            liked = [index for index in free if index not in avoid] or free
            assert grant.place in liked
            self._assert_best(grant.place, liked, model, taken)
            self.running.append((number, grant.place))

    def _assert_best(self, chosen, liked, model, taken):
        places = self.pool.places
        there = [index for index in liked if not model or model in places[index].loaded]
        if there:
            assert chosen in there
            assert taken[chosen] == min(taken[index] for index in there)
        elif coming := [index for index in liked if places[index].loading == model]:
            assert chosen in coming
        elif idle := [index for index in liked if places[index].loading is None]:
            assert chosen in idle
            assert taken[chosen] == min(taken[index] for index in idle)

    @rule(model=st.sampled_from(MODELS), avoid=st.frozensets(st.integers(0, 2), max_size=2))
    def join(self, model, avoid):
        self.count += 1
        before = len(self.queue)
        if not self.pool.reachable:
            with pytest.raises(NobodyThereError):
                self.pool.join(self.count, model, avoid)
            return
        try:
            grants, refused = self.pool.join(self.count, model, avoid), None
        except Full as error:
            grants, refused = [], error
        if refused is None:
            self.queue.append((self.count, model, avoid))
        else:
            assert refused.waiting == before >= self.room
        self._granted(grants)
        assert len(self.queue) <= max(before, self.room)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data):
        number, place = data.draw(st.sampled_from(self.running))
        self.running.remove((number, place))
        self._granted(self.pool.release(place))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), model=st.sampled_from(MODELS))
    def fail_and_come_again(self, data, model):
        number, place = data.draw(st.sampled_from(self.running))
        self.running.remove((number, place))
        self._granted(self.pool.release(place))
        if not self.pool.reachable:
            return
        grants = self.pool.join(number, model, frozenset({place}), again=True)
        self.queue.insert(0, (number, model, frozenset({place})))
        self._granted(grants)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def give_up(self, data):
        wish = data.draw(st.sampled_from(self.queue))
        self.queue.remove(wish)
        self.pool.leave(wish[0])

    @rule(index=st.integers(0, 2), up=st.booleans(), coming=st.booleans())
    def place_changes(self, index, up, coming):
        place = self.pool.places[index % len(self.pool.places)]
        place.up, place.coming = up, coming
        self._granted(self.pool.advance())
        gone = self.pool.abandon()
        assert gone == ([] if self.pool.reachable else [number for number, _, _ in self.queue])
        if gone:
            self.queue.clear()

    @rule(
        index=st.integers(0, 2),
        loaded=st.frozensets(st.sampled_from(MODELS[1:])),
        loading=st.sampled_from([None, *MODELS[1:]]),
    )
    def models_change(self, index, loaded, loading):
        place = self.pool.places[index % len(self.pool.places)]
        place.loaded, place.loading = loaded, loading

    @invariant()
    def slots_are_counted(self):
        assert self.pool.used == len(self.running)
        for index, place in enumerate(self.pool.places):
            assert place.used == sum(1 for _, at in self.running if at == index) <= place.slots

    @invariant()
    def nobody_waits_beside_a_free_slot(self):
        assert not self.queue or not any(place.free for place in self.pool.places)

    @invariant()
    def positions_are_those_in_line(self):
        assert self.pool.waiting == len(self.queue)
        numbers = [number for number, _, _ in self.queue]
        assert [self.pool.position(number) for number in numbers] == list(range(1, len(numbers) + 1))
        assert self.pool.positions() == {number: self.pool.position(number) for number in numbers}
        assert all(self.pool.position(number) == 0 for number, _ in self.running)


TestDesk = Desk.TestCase
TestDesk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
