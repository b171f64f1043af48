"""In how many ways a text can be read by the positions of a pattern.

The runner follows all ways at once, character by character, for each token it might say. Pure; called by
`patterns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from farm import limits


def count(sets: Sequence[int], follow: Sequence[int]) -> int | None:
    """In how many ways a token can be read: what is possible at each position, multiplied.

    Args:
        sets: characters of each position.
        follow: what may come first, then what may come behind each position.

    Returns:
        None when they double with each character.
    """
    found = 1
    onward: list[int] | None = None
    for index, behind in enumerate(follow, -1):
        alike = _alike(sets, behind)
        if not alike:
            continue
        onward = onward or reach(follow[1:])
        back = sum(1 for other in alike if index >= 0 and onward[other] >> index & 1)
        if back > 1:
            return None
        found *= limits.TOKEN_CHARACTERS * (len(alike) - 1) if back else len(alike)
    return found


def _alike(sets: Sequence[int], behind: int) -> list[int]:
    """Those of some positions that share a character with another of them."""
    once = twice = 0
    for index in indices(behind):
        twice |= once & sets[index]
        once |= sets[index]
    return [index for index in indices(behind) if sets[index] & twice]


def reach(follow: Sequence[int]) -> list[int]:
    """The positions that come sooner or later behind each, itself included."""
    found = [behind | 1 << index for index, behind in enumerate(follow)]
    for middle, onward in enumerate(found):
        through = onward
        for index, behind in enumerate(found):
            if behind >> middle & 1:
                found[index] = behind | through
    return found


def indices(bits: int) -> Iterator[int]:
    """The places of the bits that are set."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
