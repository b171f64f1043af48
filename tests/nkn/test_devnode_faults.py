import random

import pytest

from relay.nkn.devnode.faults import ORIGINAL, Faults, FaultsError, parse


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
            "rpc_failure: '404' is none of refuse, 500, 429, slow, garbage, error",
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
        "held_first": "Yes",
        "rpc-failure": "429",
    }
    assert parse(words) == Faults(
        loss=0.25,
        path_delay_ms=((0, 20.0), (1, 200.0)),
        black_hole=(0, -1),
        cut_after_frames=3,
        no_challenge=True,
        held_first=True,
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
