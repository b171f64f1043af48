"""docs/ollama-compat.md as data: what it says of each recorded exchange."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "ollama-compat.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Stated:
    """An answer that differs. `status` is None where the connection is cut; `words` stand in the body."""

    theirs: int
    status: int | None
    words: str


LISTED = re.findall(r"^\| `(\w+)` \| [A-Za-z]+ \S+ \| (same|differs) \|$", TEXT, re.MULTILINE)
"""Name and verdict, row by row."""
SAME = [name for name, verdict in LISTED if verdict == "same"]
DIFFERENT: dict[str, Stated] = {
    name: Stated(int(theirs), None if here == "cut" else int(here[:3]), here[4:].strip("`"))
    for name, theirs, here in re.findall(
        r"^\| `(\w+)` \| (\d{3})[^|]* \| (cut|\d{3}(?: `[^|]+`)?) \|$", TEXT, re.MULTILINE
    )
}
