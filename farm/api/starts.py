"""In how many ways the text of a rule may start, when rules mention each other.

The runner follows every way a text may go on, each by itself: rules that mention each other first of all
multiply, and one that comes back to itself with nothing said never ends. Pure; called by `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farm.api import ways


@dataclass(frozen=True, slots=True)
class Start:
    """How a text may start.

    Attributes:
        known: ways that are known.
        at_once: references that stand at the start, once for each time.
        listed: references that stand at the start of a list's first item, which costs one character.
    """

    known: int = 1
    at_once: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All references."""
        return self.at_once + self.listed


def either(starts: Sequence[Start]) -> Start:
    """Of a text that is one of several."""
    return Start(
        sum(start.known for start in starts),
        tuple(ref for start in starts for ref in start.at_once),
        tuple(ref for start in starts for ref in start.listed),
    )


def in_list(start: Start) -> Start:
    """Of a list whose first item starts so."""
    return Start(start.known if start.all else max(1, start.known), listed=start.all)


def returning(starts: Mapping[str, Start]) -> str | None:
    """A reference that comes back to itself with nothing said; None when there is none."""
    names = list(starts)
    reach = ways.reach([_bits(names, start.at_once) for start in starts.values()])
    for index, start in enumerate(starts.values()):
        if any(reach[other] >> index & 1 for other in ways.indices(_bits(names, start.at_once))):
            return names[index]
    return None


def rounds(starts: Mapping[str, Start]) -> int:
    """How many more ways there are than one to come back to where lists of lists began."""
    names = list(starts)
    reach = ways.reach([_bits(names, start.all) for start in starts.values()])
    found = 0
    for index, start in enumerate(starts.values()):
        back = sum(1 for ref in start.all if ref in starts and reach[names.index(ref)] >> index & 1)
        found += max(0, back - 1)
    return found


def widest(starts: Mapping[str, Start], others: Sequence[Start]) -> int:
    """The most ways in which a text may start.

    Args:
        starts: of what is referred to, each behind those that it refers to.
        others: of the rest.
    """
    counted: dict[str, int] = {}
    for ref, start in starts.items():
        counted[ref] = _count(start, counted)
    return max([1, *(_count(start, counted) for start in others)])


def _count(start: Start, counted: Mapping[str, int]) -> int:
    # What is not counted yet comes back to where it began; `rounds` keeps that small.
    return start.known + sum(counted.get(ref, 1) for ref in start.all)


def _bits(names: Sequence[str], refs: Sequence[str]) -> int:
    found = 0
    for ref in refs:
        if ref in names:
            found |= 1 << names.index(ref)
    return found
