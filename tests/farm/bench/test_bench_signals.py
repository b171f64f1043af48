"""Ctrl-C and SIGTERM: what was measured is told and written; nothing hangs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from talker import Talker, talking

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def bench(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own; not there any more behind the block."""
    argv = [sys.executable, "-m", "farm", "bench", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=ROOT, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def _read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    log = ""
    while words not in log:
        line = process.stderr.readline()
        assert line, log
        log += line
    return log


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("load", [("--concurrency", "1"), ("--rate", "100")])
def test_a_signal_tells_what_there_is(
    talker: Talker, tmp_path: Path, number: signal.Signals, code: int, load: tuple[str, str]
) -> None:
    texts, out, drawn = tmp_path / "prompts", tmp_path / "out.json", tmp_path / "out.png"
    texts.write_text("ok\nok\nok\nsilent\n")
    files = ("--prompts", str(texts), "--json", str(out), "--plot", str(drawn))
    with bench(talker.url, *load, "--requests", "4", "--warmup", "0", *files) as process:
        talker.until_asked(4)
        log = _read_until(process, "3 answered")
        process.send_signal(number)
        told, rest = process.communicate(timeout=20)
    log += rest
    assert process.returncode == code, log
    assert "Traceback" not in log
    assert log.splitlines()[-1].endswith("; interrupted")
    level = "1 client" if load[0] == "--concurrency" else "100/s"
    assert f"{level} was interrupted: what was in flight is not counted" in told
    found = json.loads(out.read_text(encoding="utf-8"))
    (step,) = found["steps"]
    assert (found["interrupted"], step["complete"], step["requests"], step["ok"]) == (True, False, 3, 3)
    assert step["latency_s"]["n"] == 3
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_a_signal_before_the_first_step() -> None:
    with talking(version="never") as talker, bench(talker.url) as process:
        talker.until_seen(1)
        process.send_signal(signal.SIGINT)
        told, log = process.communicate(timeout=20)
    assert (process.returncode, told) == (130, "")
    assert log == "farm bench: interrupted before the first step\n"


def test_a_reader_that_has_seen_enough(talker: Talker, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = (talker.url, "--prompt", "ok", "--requests", "1", "--concurrency", "1", "--json", str(out))
    with bench(*words) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert json.loads(out.read_text(encoding="utf-8"))["interrupted"] is False
