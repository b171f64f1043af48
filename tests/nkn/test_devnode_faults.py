import heapq
import random

import pytest

from relay.nkn.devnode import glossary, knobs
from relay.nkn.devnode import limits as own
from relay.nkn.devnode.faults import LIFELIKE, ORIGINAL, Faults, FaultsError, parse
from relay.nkn.devnode.shuffle import lateness
from relay.nkn.devnode.times import Times


class Rolls:
    """Dice that fall as they were told."""

    def __init__(self, *rolls):
        self._rolls = list(rolls)

    def random(self):
        return self._rolls.pop(0)


def test_without_faults_a_frame_arrives_once_and_at_once():
    assert Faults().calm
    assert Faults().fate(0, Rolls()) == (0.0,)


@pytest.mark.parametrize(
    "faults",
    [
        Faults(loss=0.1),
        Faults(duplicate=0.1),
        Faults(reorder=0.1),
        Faults(delay_ms=1),
        Faults(jitter_ms=1),
        Faults(path_delay_ms=((0, 1.0),)),
        Faults(black_hole=(0,)),
    ],
)
def test_what_touches_frames_is_not_calm(faults):
    assert not faults.calm


def test_loss():
    assert Faults(loss=0.5).fate(0, Rolls(0.49)) == ()
    assert Faults(loss=0.5).fate(0, Rolls(0.5)) == (0.0,)


def test_duplicates_have_delays_of_their_own():
    faults = Faults(duplicate=0.5, delay_ms=10, jitter_ms=10)
    assert faults.fate(0, Rolls(0.5, 0.2, 0.75)) == pytest.approx((0.01, 0.015))
    assert faults.fate(0, Rolls(1.0, 0.9)) == pytest.approx((0.02,))


def test_jitter_never_turns_time_back():
    assert Faults(delay_ms=1, jitter_ms=10).fate(0, Rolls(0.0)) == (0.0,)


def test_reordering_holds_some_back():
    faults = Faults(reorder=0.5, reorder_ms=100)
    assert faults.fate(0, Rolls(0.4, 0.5)) == pytest.approx((0.05,))
    assert faults.fate(0, Rolls(0.6)) == (0.0,)


def test_single_paths_are_slow_or_black():
    faults = Faults(path_delay_ms=((1, 200.0),), black_hole=(2, ORIGINAL))
    assert faults.fate(0, Rolls()) == (0.0,)
    assert faults.fate(1, Rolls()) == (0.2,)
    assert faults.fate(2, Rolls()) == ()
    assert faults.fate(ORIGINAL, Rolls()) == ()


def test_the_same_seed_gives_the_same_fates():
    faults = Faults(loss=0.3, duplicate=0.3, jitter_ms=50)
    runs = [[faults.fate(0, dice) for _ in range(100)] for dice in (random.Random(5), random.Random(5))]
    assert runs[0] == runs[1]
    assert {len(fate) for fate in runs[0]} == {0, 1, 2}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"loss": 1.5}, "loss: a probability is between 0 and 1, not 1.5"),
        ({"duplicate": float("nan")}, "duplicate: a probability is between 0 and 1, not nan"),
        ({"reorder": -0.1}, "reorder: a probability is between 0 and 1, not -0.1"),
        ({"delay_ms": -1.0}, "delay_ms: must be 0 or more, not -1.0"),
        ({"cut_every_s": float("inf")}, "cut_every_s: must be 0 or more, not inf"),
        ({"wrong_node": -1}, "wrong_node: must be 0 or more, not -1"),
        ({"path_delay_ms": ((-2, 1.0),)}, "path_delay_ms: -2=1.0 is no path and delay such as 1=200"),
        ({"path_delay_ms": ((0, -1.0),)}, "path_delay_ms: 0=-1.0 is no path and delay such as 1=200"),
        (
            {"black_hole": (-2,)},
            "black_hole: a path is the number of a sub-client, or -1 for the original one",
        ),
        (
            {"rpc_failure": "404"},
            "rpc_failure: '404' is none of refuse, 500, 429, slow, garbage, error, joining",
        ),
    ],
)
def test_values_that_cannot_be_are_named(values, sentence):
    with pytest.raises(FaultsError) as raised:
        Faults(**values)
    assert str(raised.value) == sentence


def test_text_becomes_faults():
    words = {
        "loss": "0.25",
        "path-delay-ms": "0=20, 1=200",
        "black_hole": "0,-1",
        "cut-after-frames": "3",
        "no-challenge": True,
        "frozen": "off",
        "mute": "Yes",
        "held_first": "1",
        "rpc-failure": "429",
    }
    assert parse(words) == Faults(
        loss=0.25,
        path_delay_ms=((0, 20.0), (1, 200.0)),
        black_hole=(0, -1),
        cut_after_frames=3,
        no_challenge=True,
        mute=True,
        held_first=1.0,
        rpc_failure="429",
    )
    assert parse({}) == Faults()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"loss": "often"}, "loss: 'often' is not a number"),
        ({"wrong-node": "1.5"}, "wrong_node: '1.5' is not a whole number"),
        ({"mute": "perhaps"}, "mute: 'perhaps' is not on or off"),
        ({"black-hole": "x"}, "black_hole: 'x' is not a list of paths such as 0,2"),
        ({"path-delay-ms": "1"}, "path_delay_ms: '1' is not a list of paths and delays such as 0=20,1=200"),
        ({"loss": True}, "loss: needs a value, a number"),
    ],
)
def test_text_that_cannot_be_is_named(words, sentence):
    with pytest.raises(FaultsError) as raised:
        parse(words)
    assert str(raised.value) == sentence


def test_an_unknown_knob_is_named_with_those_there_are():
    with pytest.raises(
        FaultsError, match=r"^rain: there is no such knob; there are black_hole, .*wrong_node_push_s$"
    ):
        parse({"rain": "1"})


def test_words_of_json_are_those_of_the_command_line():
    body = {"loss": 0.5, "mute": True, "only": "bob", "black_hole": [0, -1], "path_delay_ms": {"0": 20}}
    assert parse(knobs.words(body)) == Faults(
        loss=0.5, mute=True, only="bob", black_hole=(0, -1), path_delay_ms=((0, 20.0),)
    )


def test_what_is_told_can_be_set_again():
    faults = Faults(path_delay_ms=((0, 20.0), (-1, 5.0)), black_hole=(1,), rpc_failure="429", frozen=True)
    assert parse(knobs.words(knobs.described(faults))) == faults


def test_faults_of_single_clients():
    assert Faults().concern("alice.k")
    assert Faults(only="alice").concern("__1__.alice.k")
    assert not Faults(only="alice").concern("bob.k")


def test_every_knob_and_every_clock_has_its_words():
    assert list(glossary.FAULTS) == list(Faults.__dataclass_fields__)
    assert list(glossary.TIMES) == list(Times.__dataclass_fields__)


# -- the order of messages -----------------------------------------------------------------------


def late_percent(rate, factor=1.0, messages=20_000):
    """How many of so many paced messages come after a higher-numbered one, and the greatest lag."""
    dice, under_way, arrivals = random.Random(1), [], []
    for number in range(messages):
        now = number / rate
        while under_way and under_way[0] <= now:
            heapq.heappop(under_way)
        at = now + lateness(factor, len(under_way), dice)
        heapq.heappush(under_way, at)
        arrivals.append((at, number))
    highest, late, lag = -1, 0, 0
    for _, number in sorted(arrivals):
        late += number < highest
        lag = max(lag, highest - number)
        highest = max(highest, number)
    return 100 * late / messages, lag


@pytest.mark.parametrize(
    ("rate", "recorded", "least", "most"),
    [
        (100, 0.03, 0.005, 0.1),
        (500, 0.37, 0.15, 0.8),
        (1000, 0.75, 0.4, 1.5),
        (2000, 3.6, 2.5, 5.5),
        (4000, 18, 12, 22),
        (40_000, 90, 75, 97),
    ],
)
def test_messages_overtake_each_other_as_often_as_recorded(rate, recorded, least, most):
    assert least < recorded < most
    assert least < late_percent(rate)[0] < most


def test_a_greater_factor_is_wilder_and_none_keeps_the_order():
    assert late_percent(1000, factor=0.0) == (0.0, 0)
    assert late_percent(1000, factor=3.0)[0] > 2 * late_percent(1000)[0]
    assert LIFELIKE.shuffle == 1.0


def test_a_crowd_slows_itself_up_to_a_bound():
    alone, crowded, more = (
        lateness(1.0, pending, Rolls(0.5, 0.5))
        for pending in (0, own.SHUFFLE_CROWD, own.SHUFFLE_CROWD_MAX * 9)
    )
    assert crowded == pytest.approx(2 * alone)
    assert more == pytest.approx(alone * (1 + own.SHUFFLE_CROWD_MAX / own.SHUFFLE_CROWD))
    assert lateness(1.0, 0, Rolls(0.0, 0.5)) > 10 * alone


# -- clocks ----------------------------------------------------------------------------------


def test_clocks_are_a_real_nodes_unless_told_otherwise():
    assert (Times().ping_s, Times().pong_timeout_s, Times().write_stall_s) == (8.0, 10.0, 10.0)
    assert (Times().block_s, Times().idle_block_s) == (21.0, 60.1)
    assert Times.parse({"ping-s": "0.5"}) == Times(ping_s=0.5)
    assert Times.parse({}) == Times()


def test_one_word_sets_the_pace_of_blocks():
    assert Times.parse({"block_s": "2"}) == Times(first_block_s=2.0, block_s=2.0, idle_block_s=2.0)
    assert Times.parse({"block_s": "2", "idle_block_s": "9"}).idle_block_s == 9.0
    assert Times.parse({"idle_block_s": "9"}) == Times(idle_block_s=9.0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"ping_s": "0"}, "ping_s: must be more than 0, not 0.0"),
        ({"block_s": "-1"}, "block_s: must be 0 or more, not -1.0"),
        ({"rehome_s": "nan"}, "rehome_s: must be 0 or more, not nan"),
        ({"rehome_s": "soon"}, "rehome_s: 'soon' is not a number"),
    ],
)
def test_clocks_that_cannot_be(words, sentence):
    with pytest.raises(FaultsError) as raised:
        Times.parse(words)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("word", ["1", "true", "ON", "yes", "0", "False", "off", "no"])
def test_a_switch_is_spelled_in_any_of_these_ways(word):
    assert parse({"usurp": word}).usurp is (word.lower() in {"1", "true", "on", "yes"})
