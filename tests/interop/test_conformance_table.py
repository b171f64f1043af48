"""The conformance table of docs/protocol.md and the tests that hold its rows are the same list."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TABLE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8").partition("## Conformance")[2]
ROWS = re.findall(r"^\| ([A-Z][0-9]+) \| (.+) \| `(\w+)` \|$", TABLE, re.MULTILINE)


def rows_tested() -> dict[str, str]:
    """Row → part of the suite that tests it; a row that two functions claim is a mistake."""
    found: dict[str, str] = {}
    for path in sorted(HERE.glob("test_conformance_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.AsyncFunctionDef) and re.match(r"test_([a-z][0-9]+)_", node.name)
            if named:
                assert named[1].upper() not in found, f"two tests claim row {named[1]}"
                found[named[1].upper()] = path.stem.removeprefix("test_conformance_")
    return found


def test_every_row_has_its_test_and_every_test_its_row() -> None:
    assert {row: part for row, _, part in ROWS} == rows_tested()


def test_every_line_of_the_table_is_read_here() -> None:
    lines = [line for line in TABLE.splitlines() if line.startswith("|")]
    assert lines[0] == "| row | rule | in |"
    assert len(lines) - 2 == len(ROWS) == len({row for row, _, _ in ROWS}) > 60


def test_rows_are_numbered_without_a_gap() -> None:
    for letter in {row[0] for row, _, _ in ROWS}:
        numbers = [int(row[1:]) for row, _, _ in ROWS if row[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1)), letter


def test_the_other_tests_that_the_table_names_are_there() -> None:
    for name in re.findall(r"`(tests/[\w/.]+)`", TABLE):
        assert (ROOT / name).is_file(), name
