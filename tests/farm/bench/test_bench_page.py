"""docs/farm-bench.md says what is so: no flag, default, failure or member of the file is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from farm.bench import answer, cli, limits, record, settings
from farm.bench.figures import CHUNKS, MIXED, SERVER, Figures
from farm.bench.plan import Kind
from farm.bench.record import Asked, Result, Settings
from farm.bench.spread import Spread

PAGE = (Path(__file__).parents[3] / "docs" / "farm-bench.md").read_text(encoding="utf-8")
FILE = PAGE.partition("## The result file")[2]
ACTIONS = [action for action in cli.parser()._actions if action.dest != "help"]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.dest)
def test_every_flag_stands_there(action: object) -> None:
    flag = action.option_strings[0] if action.option_strings else "URL"
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{flag}` |")]
    if action.default is not None:
        assert (
            f"{action.default:g}" in row if isinstance(action.default, float) else str(action.default) in row
        )


@pytest.mark.parametrize("kind", [Result, Asked, Settings, Figures, Spread])
def test_every_member_of_the_file_stands_there(kind: type) -> None:
    missing = [field.name for field in dataclasses.fields(kind) if f"`{field.name}`" not in FILE]
    assert missing == []


@pytest.mark.parametrize("word", [record.SCHEMA, *Kind, SERVER, CHUNKS, MIXED])
def test_every_word_of_the_file_stands_there(word: str) -> None:
    assert f"`{word}`" in FILE


KINDS = [
    answer.REFUSED, answer.BROKEN, answer.NO_END_MARK, answer.STREAM_ERROR, answer.MALFORMED, answer.TIMEOUT,
    answer.OVERFLOW, answer.status(503),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_stands_there(kind: str) -> None:
    assert PAGE.count(f"\n| `{kind}`") == 1


def test_numbers_and_names_stand_there() -> None:
    assert f"At most {limits.CONCURRENCY_MAX} requests are in flight" in PAGE
    assert f"waits {limits.PAUSE_S:g} s before its next" in PAGE
    assert f"unless they were idle for {limits.REUSE_S:g} s" in PAGE
    assert f"left more than {1000 * limits.LATE_S:g} ms after they were due" in PAGE
    assert f"above {100 * limits.BUSY:.0f} % of a core" in PAGE
    assert f"| `--concurrency` | `{limits.CONCURRENCY}` |" in PAGE
    assert f"| `--requests` | {limits.REQUESTS} |" in PAGE
    assert f"`{settings.PROMPT}`" in PAGE
    assert f"`{settings.KEY_VARIABLE}`" in PAGE
