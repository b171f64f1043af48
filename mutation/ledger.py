"""How it went: a table a room, and the survivors beside those that are known, each with its reason."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mutation.children import KILLED, SURVIVED, TIME, UNPLACED, UNREACHED, Mutant

KNOWN = Path(__file__).with_name("survivors.toml")
"""[[survivors]] with a `why` and `changes`: a list of [module, function, before, after]."""
SCORE = 0.9
"""The promise: at least so many are killed."""
_ALIVE = (SURVIVED, UNREACHED, UNPLACED)
Key = tuple[str, str, str, str]


@dataclass(slots=True)
class Ledger:
    """All that was tried.

    Args:
        known: survivors with the reason why each may live.
    """

    known: dict[Key, str]
    rooms: dict[str, Counter[str]] = field(default_factory=dict)
    alive: list[tuple[Mutant, str]] = field(default_factory=list)
    killed: set[Key] = field(default_factory=set)

    def add(self, mutant: Mutant, end: str) -> None:
        """One more was tried."""
        self.rooms.setdefault(room(mutant.module), Counter())[end] += 1
        if end in _ALIVE:
            self.alive.append((mutant, end))
        else:
            self.killed.add(key(mutant))

    @property
    def total(self) -> Counter[str]:
        """Of all rooms."""
        return sum(self.rooms.values(), Counter())

    @property
    def score(self) -> float:
        """How many of all are killed, from 0 to 1."""
        return _score(self.total)

    def unknown(self) -> list[tuple[Mutant, str]]:
        """Survivors that no reason is given for."""
        return [(mutant, end) for mutant, end in self.alive if key(mutant) not in self.known]

    def stale(self) -> list[Key]:
        """Listed, and killed now; one that stands twice in its function has to be killed in both places."""
        return sorted((self.killed - {key(mutant) for mutant, _ in self.alive}) & self.known.keys())

    def table(self) -> str:
        """A line for each room."""
        lines = [f"{'':20}{'changes':>9}{'killed':>9}{'by time':>9}{'survived':>10}{'score':>8}"]
        for name, counts in (*sorted(self.rooms.items()), ("all", self.total)):
            alive = sum(counts[end] for end in _ALIVE)
            lines.append(
                f"{name:20}{counts.total():>9,}{counts[KILLED]:>9,}{counts[TIME]:>9,}{alive:>10,}"
                f"{_score(counts):>8.1%}"
            )
        return "\n".join(lines)

    def survivors(self) -> str:
        """Every one of them: a line that says where and how, and one as it would stand in survivors.toml."""
        return "".join(
            f"# {mutant.module} {mutant.change.function}, line {mutant.change.line}: {end}; "
            f"{self.known.get(key(mutant), 'not listed')}\n  {json.dumps(key(mutant), ensure_ascii=False)},\n"
            for mutant, end in self.alive
        )


def key(mutant: Mutant) -> Key:
    """What a survivor is listed by: it outlives other changes to the file."""
    return mutant.module, mutant.change.function, mutant.change.before, mutant.change.after


def room(module: str) -> str:
    """The package a module lies in."""
    return module.rpartition(".")[0]


def listed(path: Path = KNOWN) -> dict[Key, str]:
    """Survivors that are known, with the reason of each.

    Raises:
        ValueError: one is listed twice, or has no reason.
    """
    found: dict[Key, str] = {}
    for group in tomllib.loads(path.read_text(encoding="utf-8")).get("survivors", []):
        for module, function, before, after in group["changes"]:
            one = module, function, before, after
            if one in found or not group["why"].strip():
                raise ValueError(f"listed twice, or without a reason: {one}")
            found[one] = group["why"]
    return found


def survived(path: Path) -> set[Key]:
    """Those that `survivors` wrote to a file."""
    rows = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return {tuple(json.loads(row.rstrip(","))) for row in rows if row.startswith("[")}


def _score(counts: Counter[str]) -> float:
    return (counts[KILLED] + counts[TIME]) / (counts.total() or 1)
