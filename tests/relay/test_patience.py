"""How long an exchange waits."""

from __future__ import annotations

import math

import pytest

from relay.patience import Patience
from wire.limits import KEEPALIVE_FIRST_S, QUEUE_WAIT_S


def test_a_worker_is_waited_for_from_the_beginning() -> None:
    patience = Patience(5.0, 30.0, 10.0)
    patience.moved(6.0)
    assert patience.deadline(queued=True) == 5.0 + QUEUE_WAIT_S


def test_the_upstream_is_waited_for_since_it_last_moved() -> None:
    patience = Patience(5.0, 30.0, 10.0)
    assert patience.deadline(queued=False) == 35.0
    patience.moved(9.0)
    assert patience.deadline(queued=False) == 39.0


def test_an_upstream_that_is_held_has_its_time_anew_afterwards() -> None:
    patience = Patience(0.0, 30.0, 10.0)
    patience.hold(20.0, held=True)
    assert patience.deadline(queued=False) == math.inf
    patience.hold(25.0, held=True)
    patience.hold(99.0, held=False)
    assert patience.deadline(queued=False) == 129.0
    patience.hold(100.0, held=False)
    assert patience.deadline(queued=False) == 129.0


@pytest.mark.parametrize(("keepalive_s", "first"), [(10.0, KEEPALIVE_FIRST_S), (0.3, 0.3)])
def test_the_first_sign_of_life_comes_soon(keepalive_s: float, first: float) -> None:
    patience = Patience(1.0, 30.0, keepalive_s)
    assert patience.beat_at() == 1.0 + first
    patience.spoke(2.0)
    assert patience.beat_at() == 2.0 + keepalive_s


@pytest.mark.parametrize(
    ("queued", "begun", "code", "words"),
    [
        (True, False, "busy", "no worker became free within 300 s"),
        (False, False, "timeout", "did not answer within 30 s"),
        (False, True, "timeout", "sent nothing for 30 s"),
    ],
)
def test_what_is_late_is_said(queued: bool, begun: bool, code: str, words: str) -> None:
    fault = Patience(0.0, 30.0, 10.0).late(queued=queued, begun=begun)
    assert fault.code == code
    assert words in fault.detail
