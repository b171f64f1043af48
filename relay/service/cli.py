"""`python -m relay service install | uninstall | status`: flags in, exit code out.

0 done (or: it runs), 1 systemd said no (or: it does not run), 2 the flags or files cannot be used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import relay
from relay import keyfile
from relay.service import unit
from relay.service.choice import Choice, Person, choose
from relay.service.installing import FailedError, Installer
from wire import redact
from wire.errors import SettingsFault

_ABOUT = "Run the relay under systemd: started at login (--user) or boot (--system), again when it ends."


def parser() -> argparse.ArgumentParser:
    """The flags."""
    found = argparse.ArgumentParser(prog="python -m relay service", description=_ABOUT)
    found.add_argument("what", choices=("install", "uninstall", "status"))
    whose = found.add_mutually_exclusive_group()
    whose.add_argument("--user", action="store_true", help="a service of this user (default)")
    whose.add_argument("--system", action="store_true", help="one of the machine; needs root")
    found.add_argument("--run-as", default="", metavar="NAME", help="its user, with --system (who used sudo)")
    found.add_argument("--env-file", type=Path, default=Path(".env"), help="settings; default: %(default)s")
    found.add_argument(
        "--no-sandbox",
        action="store_true",
        help="leave the file system open, where the kernel cannot close it",
    )
    found.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    return found


def main(argv: Sequence[str], units: Path | None = None) -> int:
    """Do it.

    Args:
        argv: the flags.
        units: another folder of unit files, for tests.
    """
    flags = parser().parse_args(argv)
    choice = choose(_person(), flags.what, system=flags.system, run_as=flags.run_as, dry=flags.dry_run)
    installer = Installer(choice, units or Path(choice.units), _tell, flags.dry_run)
    try:
        if flags.what == "status":
            return 0 if installer.status() else 1
        if flags.what == "uninstall":
            installer.uninstall()
            _tell("the settings and with them the address stay where they are")
            return 0
        installer.install(unit.text(_plan(flags, choice)))
        _after(choice)
    except FailedError as error:
        print(f"relay service: {redact.printable(str(error), 600)}", file=sys.stderr)
        return 1
    return 0


def _person() -> Person:
    """Who asks."""
    if not hasattr(os, "geteuid"):
        raise SettingsFault("service", "is for systemd, which this machine has not")
    root = os.geteuid() == 0
    environ = os.environ
    sudo_user = environ.get("SUDO_USER", "") if root else ""
    return Person(
        root, str(Path.home()), environ.get("XDG_CONFIG_HOME", ""), "" if sudo_user == "root" else sudo_user
    )


def _plan(flags: argparse.Namespace, choice: Choice) -> unit.Plan:
    """What is to run.

    Raises:
        SettingsFault: it could not run so.
    """
    env_file = Path(os.path.abspath(flags.env_file))  # noqa: PTH100 - a link stays the name it is
    plan = unit.Plan(
        os.path.abspath(sys.executable),  # noqa: PTH100 - resolved, it would leave its .venv
        str(Path(relay.__file__).resolve().parent.parent),
        str(env_file),
        choice.run_as,
        sandbox=not flags.no_sandbox,
    )
    for flag, path in (("--env-file", plan.env_file), ("python", plan.python), ("folder", plan.folder)):
        if why := unit.unusable(path):
            raise SettingsFault(flag, f"{redact.printable(path)} {why}")
    try:
        _check_file(env_file, choice.run_as)
    except OSError as error:
        raise SettingsFault("--env-file", f"{env_file} cannot be looked at: {error.strerror}") from error
    if keyfile.readable_by_others(env_file):
        _tell(f"{env_file} can be read by others; `chmod 600` it: it holds your seed")
    return plan


def _check_file(env_file: Path, run_as: str) -> None:
    """Whoever it runs as must be able to read the settings, or to make them."""
    if not env_file.parent.is_dir():
        raise SettingsFault("--env-file", f"there is no folder {env_file.parent}")
    if env_file.exists() and not env_file.is_file():
        raise SettingsFault("--env-file", f"{env_file} is no file")
    if run_as:
        _check_owner(env_file, run_as)


def _check_owner(env_file: Path, run_as: str) -> None:
    import pwd

    try:
        wanted = pwd.getpwnam(run_as)
    except (KeyError, ValueError) as error:
        raise SettingsFault("--run-as", f"there is no user {redact.printable(run_as, 40)!r} here") from error
    if env_file.exists() and env_file.stat().st_uid != wanted.pw_uid:
        remedy = f"sudo chown {run_as} {env_file}"
        raise SettingsFault(
            "--env-file", f"{env_file} does not belong to {run_as}, who must read it: {remedy}"
        )


def _after(choice: Choice) -> None:
    _tell(f"its address: {choice.journalctl} | grep ready")
    if not choice.system:
        _tell("to have it run while you are logged out as well: loginctl enable-linger")


def _tell(line: str) -> None:
    print(line, flush=True)
