"""Looks at commands, devices and containers of this machine. Changes nothing, needs no root.

Every command has a time limit; `probing` has one for everything else. Called by `cli`.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sys
import urllib.parse
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from farm import choice, fetch, machine
from farm.doctor import limits
from farm.doctor.containers import Container, Docker, is_open, read
from farm.doctor.graphics import Card, Graphics, read_cards, read_users
from farm.doctor.ollamas import Binary, version_said
from farm.doctor.servers import Unit, read_unit
from farm.doctor.software import Choice, Engine, Packages
from farm.machine import Machine
from farm.model import SMOLLM2
from farm.plan import FarmPlan
from wire.errors import OurFault

PACKAGES = {
    "aiohttp": "aiohttp", "fastapi": "fastapi", "httptools": "httptools", "httpx": "httpx",
    "prometheus_client": "prometheus-client", "psutil": "psutil", "requests": "requests",
    "uvicorn": "uvicorn",
}  # fmt: skip
"""Import name → the name it is installed by."""
_VENDORS = {"0x10de": "nvidia", "0x1002": "amd"}
_DISPLAY = "0x03"
"""How the PCI class of a display adapter begins."""
_KFD = Path("/dev/kfd")
_BUS = Path("/sys/bus/pci/devices")


def ask(*argv: str) -> tuple[int, str, str]:
    """A command's exit code, output and errors, within the doctor's time."""
    return machine.ask(*argv, within_s=limits.COMMAND_S)


def packages() -> Packages:
    """This Python."""
    missing = tuple(shown for name, shown in PACKAGES.items() if find_spec(name) is None)
    return Packages(platform.python_version(), missing)


def engine() -> Engine:
    """The embedded engine, loaded in a process of its own: one for another processor ends that process."""
    here = (fetch.cache_folder() / SMOLLM2.name).exists()
    if find_spec("xllamacpp") is None:
        return Engine(there=False, model_here=here)
    code, _, errors = ask(sys.executable, "-c", "import xllamacpp")
    if code == 0:
        return Engine(there=True, model_here=here)
    said = next((line for line in reversed(errors.splitlines()) if line.strip()), f"exit code {code}")
    if code < 0:
        said = f"signal {-code} ended it; is it made for this processor?"
    return Engine(there=True, trouble=said, model_here=here)


def seen() -> Machine:
    """What the farm itself looks at."""
    return machine.look(limits.COMMAND_S)


def chosen_way(plan: FarmPlan, there: Machine) -> Choice:
    """What a farm of that plan would do with it."""
    try:
        return Choice(choice.decide(plan, there).value)
    except OurFault:
        return Choice("", blind=bool(choice.blind(plan, there)))


def docker(there: Machine) -> Docker:
    """Docker, beyond what the farm itself looks at."""
    command = shutil.which("docker")
    if command is None:
        return Docker(there=False)
    told = ""
    if not there.docker_trouble:
        _, told, _ = ask(command, "info", "--format", "{{.ServerVersion}} {{.DefaultRuntime}}")
    version, _, runtime = told.strip().partition(" ")
    return Docker(
        there=True,
        trouble=there.docker_trouble,
        version=version,
        default_runtime=runtime,
        nvidia=there.nvidia_runtime,
        snap=command.startswith("/snap/"),
        elsewhere=_elsewhere(),
        member=_is_member("docker"),
    )


def _elsewhere() -> str:
    """How DOCKER_HOST leads to another machine: its scheme, or ""."""
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(os.environ.get("DOCKER_HOST", ""))
        return parts.scheme if parts.hostname and is_open(parts.hostname) else ""
    return ""


def _is_member(group: str) -> bool:
    """Whether the user database has this user in a group, be it that this session does not know yet."""
    try:
        import grp
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name in grp.getgrnam(group).gr_mem
    except (ImportError, KeyError):
        return False


def containers() -> tuple[Container, ...]:
    """All containers of this machine, where docker can be asked."""
    command = None if _elsewhere() else shutil.which("docker")
    code, names, _ = ask(command, "ps", "--all", "--quiet", "--no-trunc") if command else (1, "", "")
    if command is None or code or not names.split():
        return ()
    _, told, _ = ask(command, "inspect", *names.split())  # one that is gone meanwhile is only left out
    try:
        return read(json.loads(told))
    except ValueError:
        return ()


def cards() -> tuple[tuple[Card, ...], str]:
    """NVIDIA's GPUs with their memory and who has it, and their driver's version."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return (), ""
    form = "--format=csv,noheader,nounits"
    wanted = "index,uuid,name,memory.total,memory.free,driver_version"
    code, table, _ = ask(command, f"--query-gpu={wanted}", form)
    if code:
        return (), ""
    _, users, _ = ask(command, "--query-compute-apps=gpu_uuid,pid,used_memory,process_name", form)
    who = read_users(users)
    found = read_cards(table)
    own = tuple(
        replace(card, users=tuple(user[1:] for user in who if user[0] == uuid)) for card, uuid, _ in found
    )
    return own, found[0][2] if found else ""


def graphics(there: Machine, own: tuple[Card, ...], driver: str) -> Graphics:
    """GPUs, out of what the farm looks at and what nvidia-smi told."""
    return Graphics(
        cards=own or tuple(Card(card.index, card.name) for card in there.cards),
        driver=driver,
        smi=shutil.which("nvidia-smi") is not None,
        smi_trouble=there.nvidia_trouble,
        vendors=frozenset(adapters(_BUS)),
        kfd=there.amd,
        kfd_open=os.access(_KFD, os.R_OK | os.W_OK),
        jetson=there.jetson,
    )


def adapters(bus: Path) -> set[str]:
    """Whose display adapters are plugged in, where the system tells it as files."""
    found = set()
    for device in bus.glob("*"):
        try:
            kind, vendor = (device / "class").read_text(), (device / "vendor").read_text()
        except OSError:
            continue
        if kind.startswith(_DISPLAY) and vendor.strip() in _VENDORS:
            found.add(_VENDORS[vendor.strip()])
    return found


def binary() -> Binary | None:
    """The ollama command."""
    command = os.environ.get("OLLAMA_BINARY") or shutil.which("ollama")
    if command is None:
        return None
    _, told, _ = ask(command, "--version")
    return Binary(command, version_said(told))


def unit() -> Unit | None:
    """The system service `ollama`."""
    command = shutil.which("systemctl")
    if command is None:
        return None
    code, told, _ = ask(command, "show", "ollama.service", f"--property={_PROPERTIES}", "--no-pager")
    return None if code else read_unit(told)


_PROPERTIES = "LoadState,ActiveState,MainPID,Environment"
