"""`python -m relay service` in a home of its own, with a systemctl that only notes what it is told."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import ROOT

from relay import cli as relay_cli
from relay.service import cli, unit

Run = Callable[..., int]
PAGE = (ROOT / "docs" / "relay-operator.md").read_text(encoding="utf-8")
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "{log}"
for word in "$@"; do
  if [ -e "{fails}" ] && [ "$word" = "$(cat "{fails}")" ]; then
    echo "Failed to connect to bus: No medium found" >&2
    exit 1
  fi
  if [ "$word" = show ]; then cat "{state}"; fi
done
exit 0
"""


class Home:
    """A user's home with settings, and a systemctl before all others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = folder / "my relay" / ".env"
        self.env.parent.mkdir()
        self.env.write_text("NKN_SEED_HEX=5eed\n")
        self.env.chmod(0o600)
        self.unit = folder / ".config/systemd/user" / unit.NAME
        self.log, self.fails, self.state = folder / "log", folder / "fails", folder / "state"
        self.state.write_text("ActiveState=active\nSubState=running\nMainPID=7\nExecMainStatus=0\n")
        self.bin = folder / "bin"
        self.bin.mkdir()
        program = self.bin / "systemctl"
        program.write_text(SYSTEMCTL.format(log=self.log, fails=self.fails, state=self.state))
        program.chmod(0o755)

    @property
    def told(self) -> list[str]:
        """What systemctl was told since the last look."""
        told = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return told


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    one = Home(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{one.bin}:{os.environ['PATH']}")
    for name in ("XDG_CONFIG_HOME", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return one


@pytest.fixture
def run(home: Home) -> Run:
    return lambda what, *flags: relay_cli.main(["service", what, "--env-file", str(home.env), *flags])


INSTALLED = ["--user daemon-reload", f"--user enable {unit.NAME}", f"--user restart {unit.NAME}"]


def test_install_again_and_uninstall(home: Home, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("install") == 0
    assert home.told == INSTALLED
    out = capsys.readouterr().out
    for command in INSTALLED:
        assert f"$ systemctl {command}\n" in out
    assert f"wrote {home.unit}" in out
    assert "loginctl enable-linger" in out
    text = home.unit.read_text()
    assert unit.is_ours(text)
    assert f'--env-file "{home.env}"' in text
    assert f'ReadWritePaths="{home.env.parent}"' in text
    assert f"WorkingDirectory={ROOT}\n" in text
    assert stat.S_IMODE(home.unit.stat().st_mode) == 0o644
    assert [one.name for one in home.unit.parent.iterdir()] == [unit.NAME]

    assert run("install") == 0
    assert "is as it should be" in capsys.readouterr().out
    assert home.told == [*INSTALLED[:2], f"--user start {unit.NAME}"], "what runs goes on"
    assert home.unit.read_text() == text

    assert run("install", "--no-sandbox") == 0
    assert home.told == INSTALLED
    assert "ProtectSystem" not in home.unit.read_text()

    assert run("uninstall") == 0
    assert home.told == [f"--user disable --now {unit.NAME}", "--user daemon-reload"]
    assert not home.unit.exists()
    assert home.env.exists()
    assert run("uninstall") == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert home.told == []


def test_a_dry_run_prints_all_and_does_nothing(
    home: Home, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("install", "--dry-run") == 0
    out = capsys.readouterr().out
    assert unit.MARK in out
    assert f"would run: systemctl --user enable {unit.NAME}" in out
    assert (home.unit.exists(), home.told) == (False, [])
    run("install")
    assert home.told == INSTALLED
    assert run("uninstall", "--dry-run") == 0
    assert f"would remove {home.unit}" in capsys.readouterr().out
    assert (home.unit.exists(), home.told) == (True, [])


@pytest.mark.parametrize("what", ["install", "uninstall", "status"])
@pytest.mark.parametrize("kind", ["text", "link", "bytes", "folder"])
def test_what_is_not_ours_is_left_alone(
    home: Home, run: Run, capsys: pytest.CaptureFixture[str], what: str, kind: str
) -> None:
    home.unit.parent.mkdir(parents=True)
    other = home.folder / "other"
    other.write_text(f"{unit.MARK}\n")
    if kind == "link":
        home.unit.symlink_to(other)
    elif kind == "folder":
        home.unit.mkdir()
    else:
        home.unit.write_bytes(b"[Unit]\n" if kind == "text" else b"\xff\xfe")
    assert run(what) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"{home.unit}: ")
    assert len(err.splitlines()) == 1
    assert home.told == []
    assert (home.unit.is_symlink(), home.unit.is_dir()) == (kind == "link", kind == "folder")


def test_status(home: Home, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 1
    assert "service install makes it" in capsys.readouterr().out
    run("install")
    capsys.readouterr()
    assert run("status") == 0
    out = capsys.readouterr().out
    assert "ActiveState    active" in out
    assert "journalctl --user -u nkn-relay -n 20" in out
    home.state.write_text("ActiveState=failed\nExecMainStatus=2\n")
    assert run("status") == 1
    assert "python -m relay doctor says which" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["daemon-reload", "enable", "restart"])
def test_when_systemd_says_no_its_words_are_shown(
    home: Home, run: Run, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    home.fails.write_text(word)
    assert run("install") == 1
    err = capsys.readouterr().err
    assert "No medium found" in err
    assert "XDG_RUNTIME_DIR" in err
    home.fails.unlink()
    assert run("install") == 0


def test_without_systemd_there_is_a_sentence(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(home.folder / "nothing"))
    assert run("install") == 1
    assert "this machine is not run by systemd" in capsys.readouterr().err


def test_root_is_never_taken_in_silence(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "root")
    for flags in ((), ("--user",), ("--system",)):
        assert run("install", *flags) == 2
        assert "--run-as NAME" in capsys.readouterr().err
    assert run("install", "--system", "--run-as", "nobody-of-that-name") == 2
    assert "there is no user" in capsys.readouterr().err
    assert (home.told, home.unit.exists()) == ([], False)


def test_a_service_of_the_machine(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    units = home.folder / "etc"
    flags = ["install", "--system", "--run-as", me, "--env-file", str(home.env)]
    assert cli.main(flags, units) == 0
    assert home.told == [command.removeprefix("--user ") for command in INSTALLED]
    text = (units / unit.NAME).read_text()
    assert f"\nUser={me}\n" in text
    assert "enable-linger" not in capsys.readouterr().out
    other = next(one.pw_name for one in pwd.getpwall() if one.pw_uid != os.getuid())
    flags[3] = other
    with pytest.raises(relay_cli.SettingsFault, match=f"does not belong to {other}"):
        cli.main(flags, units)
    assert home.told == []


def test_settings_that_cannot_be_named(home: Home, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for name, said in (("no/where/.env", "there is no folder"), ('a"b', "holds quotes")):
        flags = ["service", "install", "--env-file", str(home.folder / name)]
        assert relay_cli.main(flags) == 2
        assert said in capsys.readouterr().err
    flags = ["service", "install", "--env-file", str(home.bin)]
    assert relay_cli.main(flags) == 2
    assert "is no file" in capsys.readouterr().err
    home.env.chmod(0o644)
    assert run("install") == 0
    assert "chmod 600" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["install", "uninstall", "status"])
def test_what_may_not_be_looked_at_is_a_sentence(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    def refused(_path: Path, *_given: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied")

    if what == "uninstall":
        run("install")
        monkeypatch.setattr(Path, "unlink", refused)
    else:
        monkeypatch.setattr(Path, "is_dir" if what == "install" else "is_symlink", refused)
    assert run(what) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(home: Home, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (home.folder / ".config").write_text("a file")
    assert run("install") == 2
    assert "cannot be" in capsys.readouterr().err
    assert home.told == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("run_as", ["", "root"])
@pytest.mark.parametrize("sandbox", [True, False])
def test_systemd_understands_every_line(tmp_path: Path, run_as: str, sandbox: bool) -> None:
    folder = tmp_path / "a b%"
    folder.mkdir()
    text = unit.text(unit.Plan(sys.executable, str(ROOT), str(folder / ".env"), run_as, sandbox=sandbox))
    path = tmp_path / unit.NAME
    path.write_text(text)
    command = ["systemd-analyze", *(["--user"] if not run_as else []), "--man=no", "verify", str(path)]
    env = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    said = [line for line in done.stderr.splitlines() if unit.NAME in line]
    assert said == [], done.stderr
    assert "Unknown" not in done.stderr


def test_the_command_as_a_program(home: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "relay", "service", "install", "--dry-run", "--env-file", str(home.env)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if os.getuid() == 0:  # as in a container
        assert (done.returncode, done.stdout) == (2, "")
        assert "as root" in done.stderr
    else:
        assert done.returncode == 0
        assert unit.MARK in done.stdout
    assert home.told == []


def test_the_page_has_every_flag() -> None:
    for action in cli.parser()._actions:
        if action.option_strings and action.dest != "help":
            assert action.option_strings[0] in PAGE
