"""The doctor's tests share a ward: a folder with programs of its own, and an environment of no others."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from farm.doctor.finding import Level
from wire.finding import Finding

STANDINS = Path(__file__).parents[1] / "standin" / "bin"


@dataclass
class Ward:
    """`bin` is the whole PATH; what its programs were asked stands in `log`, a line each."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def asked(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def program(self, name: str, script: str) -> str:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.folder}/log"\n{script}\n')
        path.chmod(0o755)
        return str(path)

    def standin(self, *names: str) -> None:
        for name in names:
            (self.bin / name).symlink_to(STANDINS / name)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PYTHONPATH", "LANG", "SYSTEMROOT") if name in os.environ}
        return kept | {
            "PATH": str(self.bin), "HOME": str(self.folder), "STANDIN_STATE": str(self.folder / "containers"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }  # fmt: skip


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ward:
    made = Ward(tmp_path)
    made.bin.mkdir()
    for name in ("env", "python3", "sh"):  # what the stand-ins themselves are run by
        (made.bin / name).symlink_to(_found(name))
    for name in list(os.environ):
        if name.startswith(("OLLAMA_", "DOCKER_", "STANDIN_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def _found(name: str) -> Path:
    folders = [Path(folder) for folder in os.defpath.split(":") if folder] + [Path("/usr/local/bin")]
    folders += [Path(folder) for folder in os.environ["PATH"].split(":")]
    return next(folder / name for folder in folders if (folder / name).exists())


@pytest.fixture
def free_port() -> Iterator[Callable[[], int]]:
    def take() -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return int(listener.getsockname()[1])

    return take


CHECKS = frozenset(
    {
        "amd",
        "backend",
        "disk",
        "docker",
        "docker-gpu",
        "engine",
        "exposed",
        "fit",
        "front",
        "gpu",
        "gpu-memory",
        "gpu-use",
        "jetson",
        "leftovers",
        "memory",
        "mode",
        "model",
        "models",
        "models-service",
        "nvidia",
        "ollama",
        "ollama-host",
        "parallel",
        "port",
        "proxies",
        "python",
        "queue",
        "service",
        "try",
    }
)
"""Every name that a finding may have; docs/farm-troubleshooting.md is written by them."""


@pytest.fixture(autouse=True)
def _findings_are_well_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test is about: each finding has a known name and words, and trouble a remedy."""
    made = Finding.__init__

    def checked(one: Finding, check: str, level: Level, text: str, remedy: str = "") -> None:
        made(one, check, level, text, remedy)
        if isinstance(level, Level):
            own = len(check) == 1 or text.startswith("not looked at")  # a test's own; what was to be seen
            assert own or check in CHECKS
            assert "None" not in f"{text}{remedy}"
            # Of backends that are down each has its own remedy.
            assert remedy or level is not Level.TROUBLE or check == "front"

    monkeypatch.setattr(Finding, "__init__", checked)
