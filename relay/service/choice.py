"""Who runs the relay, and where its unit file lies: a service of the user or of the machine.

Pure: never root without being told so by name. Called by `cli`.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from wire.errors import SettingsFault

SYSTEM_UNITS = "/etc/systemd/system"


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks.

    Attributes:
        root: whether he is root.
        home: his home.
        config: XDG_CONFIG_HOME, or "".
        sudo_user: who became root by sudo, or "".
    """

    root: bool
    home: str
    config: str = ""
    sudo_user: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        units: folder of the unit file.
        system: a service of the machine, not of the user.
        run_as: whose rights a service of the machine has.
    """

    units: str
    system: bool = False
    run_as: str = ""

    @property
    def systemctl(self) -> tuple[str, ...]:
        """The command that speaks to the right manager."""
        return ("systemctl",) if self.system else ("systemctl", "--user")

    @property
    def journalctl(self) -> str:
        """What shows its output."""
        return "journalctl -u nkn-relay" if self.system else "journalctl --user -u nkn-relay"


def choose(person: Person, what: str, *, system: bool, run_as: str = "", dry: bool = False) -> Choice:
    """Where the service belongs.

    Args:
        person: who asks.
        what: "install", "uninstall" or "status".
        system: a service of the machine is wanted, not one of the user.
        run_as: a user's name, or "".
        dry: nothing is to be done, only said.

    Raises:
        SettingsFault: that cannot be; says what can.
    """
    return _of_machine(person, what, run_as, dry=dry) if system else _of_user(person, what, run_as)


def _of_user(person: Person, what: str, run_as: str) -> Choice:
    if run_as:
        raise SettingsFault("--run-as", "is for --system; a service of the user runs as that user")
    if person.root and what == "install":
        remedy = "ask as the user who has the settings, or --system --run-as NAME"
        raise SettingsFault("service install", f"this would run the relay as root; {remedy}")
    own = posixpath.join(person.home, ".config")
    config = person.config if person.config.startswith("/") else own
    return Choice(posixpath.join(config, "systemd", "user"))


def _of_machine(person: Person, what: str, run_as: str, *, dry: bool) -> Choice:
    if what != "status" and not dry and not person.root:
        raise SettingsFault("--system", "needs root: the same with sudo before it")
    name = run_as or person.sudo_user
    if what == "install" and not name:
        raise SettingsFault("--system", "would run the relay as root; say who it is to be: --run-as NAME")
    return Choice(SYSTEM_UNITS, system=True, run_as=name)
