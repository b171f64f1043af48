"""The text of the relay's unit file.

Pure: paths and names in, text out. Called by `installing`.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

NAME = "nkn-relay.service"
MARK = "# Made by `python -m relay service install`, which replaces it; `service uninstall` removes it."
"""First line of a unit file that is ours; no other one is ever touched."""
_TEMPORARY = ("/tmp/", "/var/tmp/")  # noqa: S108 - what PrivateTmp hides


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run.

    Attributes:
        python: the interpreter, with its environment.
        folder: where the program lies.
        env_file: the settings.
        run_as: a user's name for a service of the machine; "" for one of a user.
        sandbox: whether the file system is closed around it.
    """

    python: str
    folder: str
    env_file: str
    run_as: str = ""
    sandbox: bool = True


def unusable(path: str) -> str:
    """Why a path cannot stand in a unit file, or ""."""
    if not path.startswith("/"):
        return "is no absolute path"
    if not path.isprintable() or any(char in path for char in "\"'\\"):
        return "holds quotes, backslashes or control characters, which systemd would read in its own way"
    return ""


def text(plan: Plan) -> str:
    """The whole file."""
    lines = [
        MARK,
        "[Unit]",
        "Description=Relay from NKN to the Ollama of this machine",
        *(["Wants=network-online.target", "After=network-online.target"] if plan.run_as else []),
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        *([f"User={_plain(plan.run_as)}"] if plan.run_as else []),
        f"WorkingDirectory={_plain(plan.folder)}",
        f"ExecStart={_command(plan.python)} -m relay --env-file {_command(plan.env_file)}",
        "Restart=always",
        "RestartSec=2",
        "# 2: the settings cannot be used; starting again would not mend them.",
        "RestartPreventExitStatus=2",
        "TimeoutStopSec=15",
        "UMask=0077",
        "",
        *_hardening(plan),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if plan.run_as else 'default'}.target",
    ]
    return "\n".join(lines) + "\n"


def _hardening(plan: Plan) -> list[str]:
    lines = [
        "NoNewPrivileges=yes",
        "LockPersonality=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "RestrictNamespaces=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "SystemCallArchitectures=native",
    ]
    if plan.sandbox:
        lines += [
            "ProtectSystem=strict",
            "ProtectHome=read-only",
            f'ReadWritePaths="{_plain(posixpath.dirname(plan.env_file))}"',
            "ProtectKernelTunables=yes",
            "ProtectControlGroups=yes",
        ]
        if not any(path.startswith(_TEMPORARY) for path in (plan.python, plan.folder, plan.env_file)):
            lines.append("PrivateTmp=yes")
    if plan.run_as:  # a user's own manager may not do these
        lines += ["CapabilityBoundingSet=", "ProtectKernelModules=yes", "ProtectKernelLogs=yes",
                  "ProtectClock=yes", "ProtectHostname=yes", "PrivateDevices=yes"]  # fmt: skip
    return lines


def _plain(value: str) -> str:
    """A value in which systemd finds nothing to replace."""
    return value.replace("%", "%%")


def _command(word: str) -> str:
    """One word of a command line."""
    return f'"{_plain(word).replace("$", "$$")}"'


def is_ours(content: str) -> bool:
    """Whether a unit file was made here."""
    return content.partition("\n")[0] == MARK
