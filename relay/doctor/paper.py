"""Findings as text and as JSON, and the exit code they give.

Pure. Called by `cli`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from relay.doctor.finding import Finding, Level

SCHEMA = "relay-doctor/1"


def text(findings: Sequence[Finding]) -> str:
    """A line for each finding and one for its remedy; the count at the end."""
    wide = max((len(one.check) for one in findings), default=0)
    lines = []
    for one in findings:
        lines.append(f"{one.level.value:<5} {one.check:<{wide}} {one.text}")
        if one.remedy:
            lines.append(f"{'':<5} {'':<{wide}} → {one.remedy}")
    return "\n".join([*lines, _sum(findings)]) + "\n"


def _sum(findings: Sequence[Finding]) -> str:
    counts = ((_count(findings, Level.FAIL), "failure"), (_count(findings, Level.WARN), "warning"))
    said = [f"{count} {noun}{'s' if count > 1 else ''}" for count, noun in counts if count]
    return " and ".join(said) if said else "all is well"


def as_json(findings: Sequence[Finding]) -> str:
    """The same for programs."""
    told = {
        "schema": SCHEMA,
        "failures": _count(findings, Level.FAIL),
        "warnings": _count(findings, Level.WARN),
        "findings": [
            {"check": one.check, "level": one.level.value, "text": one.text, "remedy": one.remedy}
            for one in findings
        ],
    }
    return json.dumps(told, ensure_ascii=False, indent=2) + "\n"


def exit_code(findings: Sequence[Finding]) -> int:
    """0: no failure, 1: some."""
    return int(_count(findings, Level.FAIL) > 0)


def _count(findings: Sequence[Finding], level: Level) -> int:
    return sum(one.level is level for one in findings)
