"""Writes and removes the unit file, and has systemd know of it; each command is printed before it runs.

Called by `cli`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relay.service import unit
from relay.service.choice import Choice
from wire.errors import SettingsFault

Tell = Callable[[str], None]
_SHOWN = ("ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "ExecMainStatus")

_NO_SYSTEMD = (
    "there is no systemctl here: this machine is not run by systemd. `python -m relay` runs without it"
)
_NO_BUS = ". Log in as that user (not by su or sudo), or export XDG_RUNTIME_DIR=/run/user/$(id -u)"


class FailedError(Exception):
    """A command did not do what was asked; its words."""


@dataclass(frozen=True, slots=True)
class Installer:
    """One service.

    Args:
        choice: where it belongs.
        units: folder of the unit file.
        tell: takes a line for the person.
        dry: only tell.
    """

    choice: Choice
    units: Path
    tell: Tell
    dry: bool = False

    @property
    def path(self) -> Path:
        """The unit file."""
        return self.units / unit.NAME

    def install(self, text: str) -> None:
        """Bring the service up with that unit; a second time changes nothing.

        Raises:
            SettingsFault: there is a file that is not ours.
            FailedError: systemd said no.
        """
        there = self._content()
        if self.dry:
            self.tell(f"would write {self.path}:\n\n{text}")
        elif there == text:
            self.tell(f"{self.path} is as it should be")
        else:
            self._write(text)
            self.tell(f"wrote {self.path}")
        self._run("daemon-reload")
        self._run("enable", unit.NAME)
        # A new text counts from the next start; the old one is not to go on.
        self._run("start" if there == text else "restart", unit.NAME)

    def uninstall(self) -> None:
        """Stop the service and remove its unit file; the settings stay.

        Raises: as `install`.
        """
        if self._content() is None:
            self.tell(f"{self.path} is not there: nothing to remove")
            return
        self._run("disable", "--now", unit.NAME)
        if self.dry:
            self.tell(f"would remove {self.path}")
        else:
            self._remove()
            self.tell(f"removed {self.path}")
        self._run("daemon-reload")

    def status(self) -> bool:
        """Tell how it is; whether it runs."""
        content = self._content()
        if content is None:
            self.tell(f"{self.path} is not there: python -m relay service install makes it")
            return False
        self.tell(f"unit     {self.path}")
        found = self._run("show", f"--property={','.join(_SHOWN)}", unit.NAME, quiet=True)
        state = dict(line.partition("=")[::2] for line in found.splitlines())
        for name in _SHOWN:
            if state.get(name):
                self.tell(f"{name:<14} {state[name]}")
        active = state.get("ActiveState") == "active"
        if state.get("ExecMainStatus") == "2" and not active:
            self.tell("it ended with 2: the settings cannot be used; python -m relay doctor says which")
        self.tell(f"output: {self.choice.journalctl} -n 20")
        return active

    # -- inside -------------------------------------------------------------------------------

    def _content(self) -> str | None:
        """What stands in the unit file; None without one.

        Raises:
            SettingsFault: it is not ours.
        """
        try:
            if self.path.is_symlink():
                raise SettingsFault(
                    str(self.path), "is a symbolic link and not made here; remove it yourself"
                )
            content = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise SettingsFault(str(self.path), f"cannot be read: {reason}") from error
        if not unit.is_ours(content):
            raise SettingsFault(
                str(self.path), "was not made here and is left as it is; move it away yourself"
            )
        return content

    def _remove(self) -> None:
        try:
            self.path.unlink()
        except OSError as error:
            raise SettingsFault(str(self.path), f"cannot be removed: {error.strerror}") from error

    def _write(self, text: str) -> None:
        """Whole or not at all."""
        try:
            self.units.mkdir(parents=True, exist_ok=True)
            handle, made = tempfile.mkstemp(prefix=f".{unit.NAME}.", dir=self.units)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(made).chmod(0o644)
                Path(made).replace(self.path)
            finally:
                Path(made).unlink(missing_ok=True)
        except OSError as error:
            raise SettingsFault(str(self.path), f"cannot be written: {error.strerror}") from error

    def _run(self, *words: str, quiet: bool = False) -> str:
        command = (*self.choice.systemctl, *words)
        if not quiet:
            self.tell(f"{'would run: ' if self.dry else '$ '}{shlex.join(command)}")
        if self.dry:
            return ""
        program = shutil.which(command[0])
        if program is None:
            raise FailedError(_NO_SYSTEMD)
        done = subprocess.run(  # noqa: S603 - words of our own
            [program, *command[1:]], capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            more = _NO_BUS if "bus" in said and not self.choice.system else ""
            raise FailedError(f"{shlex.join(command)} ended with {done.returncode}: {said}{more}")
        return done.stdout
