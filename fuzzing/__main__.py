"""`python -m fuzzing [--inputs 1000000] [--only request,lines] [--seed 1]`: feed every target.

Exit code 1 with the input, its seed and number; the same seed and number give the same input.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence

from fuzzing.mutator import mutated
from fuzzing.targets import TARGETS, Target

SLOW_S = 0.5
"""An input that takes so long is a find as well; a collector's pause is not."""
_TELL_EVERY = 50_000


class FoundError(Exception):
    """An input that should not do what it did."""


def fuzz(target: Target, inputs: int, seed: int, tell: bool = False) -> float:  # noqa: FBT001, FBT002
    """Feed so many inputs; seconds it took.

    Raises:
        FoundError: the first find.
    """
    began = time.monotonic()
    for number in range(inputs):
        dice = random.Random((seed << 40) + number)
        data = mutated(dice, target.examples)
        at = time.monotonic()
        try:
            target.feed(data, dice)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise FoundError(f"{target.name}, seed {seed}, input {number}: {what}\n{data!r}") from error
        if time.monotonic() - at > SLOW_S:
            raise FoundError(f"{target.name}, seed {seed}, input {number}: slow\n{data[:500]!r}")
        if tell and number % _TELL_EVERY == _TELL_EVERY - 1:
            sys.stderr.write(f"{target.name}: {number + 1}\r")
    return time.monotonic() - began


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 0 nothing was found, 1 something, 2 wrong arguments."""
    parser = argparse.ArgumentParser(description="Inputs nobody would think of.")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for each target")
    parser.add_argument("--only", help=f"CSV of {', '.join(target.name for target in TARGETS)}")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    names = given.only.split(",") if given.only else [target.name for target in TARGETS]
    unknown = sorted({*names} - {target.name for target in TARGETS})
    if unknown:
        sys.stderr.write(f"there is no target {unknown[0]}\n")
        return 2
    for target in TARGETS:
        if target.name not in names:
            continue
        try:
            took = fuzz(target, given.inputs, given.seed, tell=True)
        except FoundError as found:
            sys.stderr.write(f"{found}\n")
            return 1
        print(f"{target.name:10} {given.inputs:>9,} inputs, {given.inputs / took:>8,.0f} a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
