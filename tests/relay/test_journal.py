"""What an operator reads."""

from __future__ import annotations

import re

import pytest

from relay.commands import Note
from relay.journal import Journal

LINE = re.compile(r"\d\d:\d\d:\d\d .*")


def written(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines on standard error without their time; nothing may go to standard output."""
    out, errors = capsys.readouterr()
    assert out == ""
    assert all(LINE.fullmatch(line) for line in errors.splitlines())
    return [line[9:] for line in errors.splitlines()]


def test_notes_are_written_with_debug_only(capsys):
    note = Note("request", {"tag": 1, "path": "/api/chat"})
    Journal(debug=False).note(note)
    assert written(capsys) == []
    Journal(debug=True).note(note)
    assert written(capsys) == ["request  tag=1 path=/api/chat"]


def test_a_peers_text_cannot_draw_on_the_terminal(capsys):
    Journal(debug=True).note(Note("x", {"a": "\x1b[2J\nfake line", "b": "y" * 500}))
    [line] = written(capsys)
    assert "\x1b" not in line
    assert len(line) < 200


def test_links_are_always_written(capsys):
    journal = Journal(debug=False)
    journal.link("connected", "ws://node\n")
    assert written(capsys) == ["nkn      connected ws://node\ufffd"]


@pytest.mark.parametrize(("debug", "lines"), [(False, 3), (True, 5)])
def test_the_same_failure_again_and_again_is_written_once(capsys, debug, lines):
    journal = Journal(debug=debug)
    for text in ("a", "a", "a", "b", "a"):
        journal.link("failed", text)
    assert len(written(capsys)) == lines


def test_a_success_between_makes_the_failure_news_again(capsys):
    journal = Journal(debug=False)
    for event, text in [("failed", "a"), ("connected", "a"), ("connected", "a"), ("failed", "a")]:
        journal.link(event, text)
    retry = "; trying again"
    assert written(capsys) == [
        f"nkn      failed a{retry}",
        "nkn      connected a",
        "nkn      connected a",
        f"nkn      failed a{retry}",
    ]
