"""Files written whole or not at all, and the progress of a run on a terminal and in a log."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from farm.bench import files, limits
from farm.bench.progress import Progress


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    files.write(str(tmp_path / "new"), b"data")
    assert (tmp_path / "new").read_bytes() == b"data"
    assert mode(tmp_path / "new") == mode(tmp_path / "other")


def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    files.claim("--json", str(link))
    files.write(str(link), b"new")
    assert link.is_symlink()
    assert (path.read_bytes(), mode(path)) == (b"new", 0o640)
    assert sorted(tmp_path.iterdir()) == [path, link]


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_is_written_into_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.claim("--json", str(pipe))
        files.write(str(pipe), b"data")
        assert os.read(reader, 100) == b"data"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_claim_leaves_nothing(tmp_path: Path) -> None:
    files.claim("--json", str(tmp_path / "new"))
    assert list(tmp_path.iterdir()) == []


def test_a_log_gets_a_line_now_and_then() -> None:
    out = io.StringIO()
    progress = Progress(out, bar=False)
    for step in ("1 client", "2 clients"):
        for percent in range(0, 101, 5):
            progress.show(step, percent / 100, f"{percent} answered", percent / 1000)
        progress.say(f"{step}: done")
    lines = out.getvalue().splitlines()
    shown = [f"{percent} %, {percent} answered" for percent in (20, 40, 60, 80, 100)]
    # The first step also tells that it has begun.
    assert lines == [
        *("1 client: 0 %, 0 answered", *(f"1 client: {text}" for text in shown), "1 client: done"),
        *(*(f"2 clients: {text}" for text in shown), "2 clients: done"),
    ]


def test_a_terminal_gets_a_bar_drawn_over_itself() -> None:
    out = io.StringIO()
    progress = Progress(out, bar=True)
    progress.say("warming up")
    for tick, done in enumerate((0.0, 0.5, 1.0)):
        for _ in range(3):  # between two ticks nothing is drawn
            progress.show("1 client", done, "x", tick * limits.TICK_S)
    progress.say("1 client: done")
    text = out.getvalue()
    assert text.startswith("warming up\n\r1 client [........................] x\x1b[K")
    assert text.endswith("\r1 client [########################] x\x1b[K\r\x1b[K1 client: done\n")
    assert text.count("\r1 client [") == 3
    assert text.count("\n") == 2
