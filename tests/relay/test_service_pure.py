"""The relay's unit file and who it runs as, on paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relay.service import unit
from relay.service.choice import SYSTEM_UNITS, Choice, Person, choose
from relay.service.unit import Plan
from wire.errors import SettingsFault

HOME = "/srv/anna"
ANNA = Person(root=False, home=HOME)
ROOT = Person(root=True, home="/r")
PLAN = Plan(f"{HOME}/relay/.venv/bin/python", f"{HOME}/relay", f"{HOME}/relay/.env")


def lines(plan: Plan) -> list[str]:
    return unit.text(plan).splitlines()


def test_a_unit_of_a_user() -> None:
    found = lines(PLAN)
    assert found[0] == unit.MARK
    for line in (
        "Type=exec", "Restart=always", "RestartSec=2", "RestartPreventExitStatus=2", "NoNewPrivileges=yes",
        "ProtectSystem=strict", "ProtectHome=read-only", f'ReadWritePaths="{HOME}/relay"', "PrivateTmp=yes",
        f"WorkingDirectory={HOME}/relay", "WantedBy=default.target", "UMask=0077",
        f'ExecStart="{HOME}/relay/.venv/bin/python" -m relay --env-file "{HOME}/relay/.env"',
    ):  # fmt: skip
        assert line in found
    assert not [line for line in found if line.startswith(("User=", "CapabilityBoundingSet", "After="))]
    assert unit.is_ours(unit.text(PLAN))
    assert not unit.is_ours("[Unit]\n" + unit.MARK)


def test_a_unit_of_the_machine_says_whose_it_is_and_may_nothing() -> None:
    found = lines(replace(PLAN, run_as="anna"))
    for line in ("User=anna", "WantedBy=multi-user.target", "CapabilityBoundingSet=", "ProtectClock=yes",
                 "After=network-online.target"):  # fmt: skip
        assert line in found


WHOLE = f"""{unit.MARK}
[Unit]
Description=Relay from NKN to the Ollama of this machine
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
User=anna
WorkingDirectory=/r
ExecStart="/p" -m relay --env-file "/e/.env"
Restart=always
RestartSec=2
# 2: the settings cannot be used; starting again would not mend them.
RestartPreventExitStatus=2
TimeoutStopSec=15
UMask=0077

NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths="/e"
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateTmp=yes
CapabilityBoundingSet=
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
PrivateDevices=yes

[Install]
WantedBy=multi-user.target
"""


def test_a_unit_of_the_machine_word_for_word() -> None:
    assert unit.text(Plan("/p", "/r", "/e/.env", run_as="anna")) == WHOLE


def test_without_a_sandbox_nothing_needs_a_namespace() -> None:
    found = lines(replace(PLAN, sandbox=False))
    assert not [line for line in found if line.startswith(("Protect", "Private", "ReadWritePaths"))]
    assert "NoNewPrivileges=yes" in found


@pytest.mark.parametrize("name", ["python", "folder", "env_file"])
def test_what_lies_in_tmp_is_not_hidden_from_it(name: str) -> None:
    there: Any = {name: "/tmp/x/y"}  # noqa: S108 - nothing is made there
    assert "PrivateTmp=yes" not in lines(replace(PLAN, **there))


def test_signs_that_systemd_replaces_are_doubled() -> None:
    text = unit.text(replace(PLAN, env_file="/a b/100%/$HOME/.env", folder="/a b/100%/$HOME"))
    assert '--env-file "/a b/100%%/$$HOME/.env"' in text
    assert "WorkingDirectory=/a b/100%%/$HOME\n" in text
    assert 'ReadWritePaths="/a b/100%%/$HOME"' in text


@pytest.mark.parametrize("path", ["relative", '/a"b', "/a'b", "/a\\b", "/a\nb", "/a\x1bb", "/a\udcffb"])
def test_paths_that_cannot_stand_there(path: str) -> None:
    assert unit.unusable(path)


@pytest.mark.parametrize("path", ["/a b", "/ä", "/a%b$c", "/X"])
def test_paths_that_can(path: str) -> None:
    assert unit.unusable(path) == ""


# -- who ---------------------------------------------------------------------------------------------------


def test_a_service_of_the_user() -> None:
    found = choose(ANNA, "install", system=False)
    assert found == Choice(f"{HOME}/.config/systemd/user")
    assert found.systemctl == ("systemctl", "--user")
    assert "--user" in found.journalctl
    assert choose(replace(ANNA, config="/c"), "install", system=False).units == "/c/systemd/user"
    assert choose(replace(ANNA, config="c"), "install", system=False) == found
    assert choose(ROOT, "uninstall", system=False).units == "/r/.config/systemd/user"


def test_a_service_of_the_machine() -> None:
    found = choose(ROOT, "install", system=True, run_as="anna")
    assert found == Choice(SYSTEM_UNITS, system=True, run_as="anna")
    assert found.systemctl == ("systemctl",)
    assert "--user" not in found.journalctl
    by_sudo = replace(ROOT, sudo_user="bob")
    assert choose(by_sudo, "install", system=True).run_as == "bob"
    assert choose(by_sudo, "install", system=True, run_as="root").run_as == "root", "said by name"
    assert choose(ROOT, "uninstall", system=True).system
    assert choose(ANNA, "status", system=True).system
    assert choose(ANNA, "install", system=True, run_as="anna", dry=True).run_as == "anna"


@pytest.mark.parametrize(
    ("person", "what", "asked", "said"),
    [
        (ROOT, "install", {"system": False}, "as root; ask as the user who has the settings"),
        (ROOT, "install", {"system": False, "dry": True}, "as root"),
        (ROOT, "install", {"system": True}, "--system: would run the relay as root; .*--run-as NAME"),
        (ANNA, "install", {"system": True, "run_as": "anna"}, "--system: needs root: the same with sudo"),
        (ANNA, "uninstall", {"system": True}, "needs root"),
        (ANNA, "install", {"system": True, "dry": True}, "--run-as NAME"),
        (ANNA, "install", {"system": False, "run_as": "bob"}, "--run-as: is for --system"),
    ],
)
def test_nobody_becomes_root_in_silence(person: Person, what: str, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsFault, match=said):
        choose(person, what, **asked)
