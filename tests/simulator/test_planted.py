"""Teeth: each mistake that is planted is found, in a thousand worlds at most."""

from __future__ import annotations

import pytest

from simulator.planted import BUGS, planted
from simulator.world import run

WORLDS = 1000


@pytest.mark.parametrize("name", sorted(BUGS))
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        for seed in range(WORLDS):
            violation = run(seed).violation
            if violation is not None:
                print(f"{name}: after {seed + 1} worlds, by {violation.check}")  # noqa: T201 - told with pytest -s
                return
    pytest.fail(f"{name} was not found in {WORLDS} worlds")


def test_there_are_enough_of_them() -> None:
    assert len(BUGS) >= 12
