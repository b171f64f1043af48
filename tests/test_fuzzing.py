"""Twenty thousand strange inputs for each reader; `make fuzz` feeds a million."""

from __future__ import annotations

import random

import pytest

from fuzzing.__main__ import FoundError, fuzz, main
from fuzzing.mutator import mutated
from fuzzing.targets import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_is_found(target: Target) -> None:
    fuzz(target, 20_000, seed=1)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_examples_are_right(target: Target) -> None:
    for example in target.examples:
        target.feed(example, random.Random(1))


def test_a_reader_that_stumbles_is_found_and_the_input_is_told() -> None:
    def feed(data: bytes, _dice: random.Random) -> None:
        assert data.count(b"{") != 3, "three of them"

    with pytest.raises(FoundError, match=r"weak, seed 7, input [0-9]+: AssertionError: three") as found:
        fuzz(Target("weak", feed, (b'{"a":{}}',)), 10_000, seed=7)
    again = str(found.value).partition("\n")[0]
    with pytest.raises(FoundError) as found:
        fuzz(Target("weak", feed, (b'{"a":{}}',)), 10_000, seed=7)
    assert str(found.value).startswith(again)


def test_inputs_are_many() -> None:
    found = {mutated(random.Random(number), [b"hello, world"]) for number in range(1000)}
    assert len(found) > 600


def test_the_command_tells_what_it_fed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--inputs", "50", "--only", "lines,places"]) == 0
    out = capsys.readouterr().out.split()
    assert (out[0], out[1], out[2]) == ("lines", "50", "inputs,")
    assert main(["--only", "nothing"]) == 2
