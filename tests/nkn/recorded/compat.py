"""The table of `docs/nknd-compat.md`, read, and cells of it as the replay would write them.

A cell is right only if it is what the replay says, word for word, so the page cannot tell what is not so.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from nkn.recorded import recording

PAGE = Path(__file__).resolve().parents[3] / "docs" / "nknd-compat.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded case.

    Attributes:
        node, client: what the replay said.
        why: the reason for every difference.
    """

    node: str
    client: str
    why: str


def rows():
    """The page's rows by case."""
    found = re.findall(
        r"^\| `(\w+)` \| (.*?) \| (.*?) \|(?: (.*?))? \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    table = {name: Row(*cells) for name, *cells in found}
    assert len(found) == len(table), "a case stands twice"
    return table


def verdict(differences, more=""):
    """A cell: same or not, what else there is to say, and the differences."""
    told = [f"`{line}`" for line in differences]
    first = "differs" if told else "same"
    return f"{first}: {'; '.join([*([more] if more else []), *told])}" if told or more else first


def copes(more):
    """A cell of a role in which the recorded client did what ours never does."""
    return f"copes: {more}"


def parts(told):
    """A cell of several roles: (name, cell) pairs."""
    return told[0][1] if len(told) == 1 else " · ".join(f"{name} {cell}" for name, cell in told)


CASES = [*recording.RPC, *recording.CASES]
