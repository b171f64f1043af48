"""What a doctor says of one point, and how it is written down: as text, as JSON, as an exit code.

The levels and their words are each doctor's own. Pure; used by `farm/doctor` and `relay/doctor`.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wire import limits, redact


@dataclass(frozen=True, slots=True)
class Finding:
    """One line, and one for the remedy.

    Attributes:
        check: stable name of the point that was looked at.
        level: how bad it is; its value is the word for it.
        text: what was found.
        remedy: what to do; may be empty.
    """

    check: str
    level: enum.Enum
    text: str
    remedy: str = ""


def foreign(text: object) -> str:
    """Words that come from elsewhere, safe to show: one line, bounded, nothing that moves a cursor."""
    return redact.printable(str(text).strip(), limits.WORDS_MAX)


def listed(names: Iterable[str]) -> str:
    """Names in a row, not too many."""
    every = [foreign(name) for name in names]
    more = len(every) - limits.LISTED_MAX
    return ", ".join(every[: limits.LISTED_MAX]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Paper:
    """How one doctor writes.

    Attributes:
        schema: names the JSON.
        grave, mild: the levels that are counted, each with its noun; one of the first makes the exit code 1.
        wide: columns of the level's word.
    """

    schema: str
    grave: tuple[enum.Enum, str]
    mild: tuple[enum.Enum, str]
    wide: int

    def text(self, findings: Sequence[Finding]) -> str:
        """A line for each finding and one for its remedy; the count at the end."""
        wide = max((len(one.check) for one in findings), default=0)
        lines = []
        for one in findings:
            lines.append(f"{one.level.value:<{self.wide}} {one.check:<{wide}} {one.text}")
            if one.remedy:
                lines.append(f"{'':<{self.wide}} {'':<{wide}} → {one.remedy}")
        return "\n".join([*lines, self._sum(findings)]) + "\n"

    def as_json(self, findings: Sequence[Finding]) -> str:
        """The same for programs."""
        told = {
            "schema": self.schema,
            **{f"{noun}s": _count(findings, level) for level, noun in (self.grave, self.mild)},
            "findings": [
                {"check": one.check, "level": one.level.value, "text": one.text, "remedy": one.remedy}
                for one in findings
            ],
        }
        return json.dumps(told, ensure_ascii=False, indent=2) + "\n"

    def exit_code(self, findings: Sequence[Finding]) -> int:
        """0: nothing grave, 1: something."""
        return int(_count(findings, self.grave[0]) > 0)

    def _sum(self, findings: Sequence[Finding]) -> str:
        counts = ((_count(findings, level), noun) for level, noun in (self.grave, self.mild))
        said = [f"{count} {noun}{'s' if count > 1 else ''}" for count, noun in counts if count]
        return " and ".join(said) if said else "all is well"


def _count(findings: Sequence[Finding], level: enum.Enum) -> int:
    return sum(one.level is level for one in findings)
