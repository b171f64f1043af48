"""`make test`: both halves run, nothing is in both or in none, and one that fails is the whole that fails."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SAYS = "import sys; print('ran', *sys.argv[1:]); sys.exit({code} if {word!r} in sys.argv else 0)"


def run(monkeypatch: pytest.MonkeyPatch, code: int, word: str, words: list[str]) -> int:
    script = runpy.run_path(str(ROOT / "scripts/tests.py"))
    stand_in = (sys.executable, "-c", SAYS.format(code=code, word=word))
    monkeypatch.setitem(script["main"].__globals__, "PYTEST", stand_in)
    status: int = script["main"](words)
    return status


@pytest.mark.parametrize(("word", "code"), [("nothing", 0), ("tests", 1), ("tests/farm", 2)])
def test_one_half_that_fails_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], word: str, code: int
) -> None:
    assert run(monkeypatch, code, word, []) == code
    said = capfd.readouterr().out
    assert "ran tests/farm tests/scripts\n" in said
    assert "ran tests --ignore=tests/farm --ignore=tests/scripts\n" in said


def test_with_words_there_is_one(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, 3, "-x", ["tests/wire", "-x"]) == 3
    assert capfd.readouterr().out == "ran tests/wire -x\n"
