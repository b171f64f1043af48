"""The doctor's own mishaps: flags that cannot be used, packages that are missing, readers that leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm.doctor import cli, survey

if TYPE_CHECKING:
    from conftest import Ward

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 60


def test_without_any_package_it_still_says_so(ward: Ward) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from farm.doctor.cli import main; sys.exit(main([]))"
    )
    argv = [sys.executable, "-S", "-c", script]
    environment = {name: value for name, value in ward.environment.items() if name != "PYTHONPATH"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (1, "")
    assert "lacks aiohttp, fastapi, httptools, httpx, prometheus-client, psutil and 2 more" in done.stdout
    assert "not looked at: the Python package psutil is missing" in done.stdout


@pytest.mark.usefixtures("ward")
def test_a_machine_that_cannot_be_looked_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(5, "Input/output error")

    for name in ("seen", "cards"):
        monkeypatch.setattr(survey.machinery, name, refuse)
    cli.main([])
    out = " ".join(capsys.readouterr().out.split())
    assert "note machine not looked at: OSError: [Errno 5] Input/output error" in out
    assert "note gpu-memory not looked at: OSError" in out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--front-port", "0"], "--front-port: must be 1 to 65535"),
        (["--back-port", "65536"], "--back-port: must be 1 to 65535"),
        (["--back-port", "8080"], "--back-port: must differ from --front-port"),
        (["--at-once", "0"], "--at-once: must be 1 to 64"),
        (["--at-once", "65"], "--at-once: must be 1 to 64"),
        (["--model", " "], "--model: must be a model's name"),
        (["--try", "a\x1b"], "--try: must be a model's name"),
        (["--try", "gpt-oss:120b-cloud"], "--try: a cloud model runs elsewhere and costs your account"),
        (["--front", "ftp://x"], "--front: 'ftp://x' must begin with http:// or https://"),
        (["--front", "http://me:s3cret@x"], "--front: must not hold a user name or password"),
    ],
)
def test_flags_that_cannot_be_used(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(flags) == 2
    assert capsys.readouterr() == ("", f"farm doctor: {words}\n")


@pytest.mark.parametrize("flags", [["--odd"], ["--front-port", "x"], ["word"]])
def test_flags_that_are_none(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(flags)
    assert ended.value.code == 2
    assert "usage: python -m farm doctor" in capsys.readouterr().err


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(survey, "look", interrupted)
    assert cli.main([]) == 130


def test_a_reader_that_has_seen_enough(ward: Ward) -> None:
    read, write = os.pipe()
    os.close(read)
    environment = ward.environment | {"PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "farm", "doctor"]
    done = subprocess.run(argv, env=environment, stdout=write, stderr=subprocess.PIPE, timeout=DEADLINE_S)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_terminal_without_arrows(ward: Ward) -> None:
    environment = ward.environment | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    argv = [sys.executable, "-m", "farm", "doctor"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert "\\u2192 https://" in done.stdout
