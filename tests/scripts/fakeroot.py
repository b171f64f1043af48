"""A made-up Ubuntu machine: a folder of its files, stand_in.sh under each command's name, what was called."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts" / "docker_ensure.sh"
STAND_IN = Path(__file__).with_name("stand_in.sh")
COMMANDS = (
    "apt-get", "curl", "docker", "dpkg-query", "gpg", "id", "ln", "mktemp", "mv", "nvidia-smi", "sync",
    "systemctl",
)  # fmt: skip
HARMLESS = (
    "awk", "bash", "cat", "chmod", "chown", "cp", "cut", "dirname", "env", "grep", "head", "mkdir", "od",
    "paste", "printf", "readlink", "realpath", "rm", "sed", "sort", "tail", "timeout", "touch", "wc",
)  # fmt: skip
"""All else that script and stand-ins may find: never this machine's own apt-get, docker or systemctl."""

KEY = "usr/share/keyrings/libnvidia-container.gpg"
LIST = "etc/apt/sources.list.d/libnvidia-container.list"
CONFIG = "etc/docker/daemon.json"
FINGERPRINT = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
ENTRY = f"deb [signed-by=/{KEY}] https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH) /\n"
MERGED = """{
    "default-runtime": "nvidia",
    "runtimes": {
        "nvidia": {
            "path": "nvidia-container-runtime",
            "runtimeArgs": []
        }
    }
}
"""
PLAN = """Inst libnvidia-container1 (1.17.8-1 NVIDIA:stable [amd64])
Inst nvidia-container-toolkit-base (1.17.8-1 NVIDIA:stable [amd64])
Inst nvidia-container-toolkit (1.17.8-1 NVIDIA:stable [amd64])
"""
CHANGING = ("curl", "apt-get -o", "systemctl restart", "docker run", "mv")
"""How calls begin that fetch, install, restart, run a container or move a file."""

DONE_S = 60
"""A run takes half a second; this only ends one that hangs."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`has` and `lacks` set what stand_in.sh is told; `run` runs the script with stand-ins and this root."""

    root: Path
    state: Path
    bin: Path

    @classmethod
    def new(cls, folder: Path) -> Machine:
        machine = cls(folder / "root", folder / "state", folder / "bin")
        for each in (machine.root, machine.state, machine.bin):
            each.mkdir()
        for command in COMMANDS:
            machine.install(command)
        for command in HARMLESS:
            (machine.bin / command).symlink_to(shutil.which(command) or f"/nowhere/{command}")
        (machine.bin / "python3").symlink_to(sys.executable)
        machine.write("etc/os-release", 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nID=ubuntu\nVERSION_ID="24.04"\n')
        machine.has("uid", "0").has("default-runtime", "runc").has("plan", PLAN).serves(FINGERPRINT)
        return machine

    def install(self, command: str) -> None:
        shutil.copy(STAND_IN, self.bin / command)
        (self.bin / command).chmod(0o755)

    def remove(self, command: str) -> None:
        (self.bin / command).unlink()

    def has(self, name: str, text: str = "") -> Machine:
        (self.state / name).write_text(text)
        return self

    def lacks(self, name: str) -> Machine:
        (self.state / name).unlink()
        return self

    def serves(self, *fingerprints: str) -> Machine:
        lines = "".join(f"fpr:::::::::{each}:\n" for each in fingerprints)
        return self.has("served-key", f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n{lines}")

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def run(
        self, *words: str, script: Path = SCRIPT, cwd: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """The script with `words`, as leader of a process group, so that a stand-in can kill all of it."""
        env |= {
            "PATH": str(self.bin),
            "DOCKER_ENSURE_ROOT": str(self.root),
            "STAND_IN": str(self.state),
            "TMPDIR": str(self.temp),
        }
        argv = [str(self.bin / "bash"), str(script), *words]
        return subprocess.run(
            argv, env=env, cwd=cwd or self.root, start_new_session=True, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", timeout=DONE_S, check=False,
        )  # fmt: skip

    @property
    def temp(self) -> Path:
        folder = self.state.parent / "temp"
        folder.mkdir(exist_ok=True)
        return folder

    def calls(self) -> list[str]:
        """What was called since the last time this was asked."""
        file = self.state / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.write_text("")
        return lines

    def changing(self) -> list[str]:
        return [call for call in self.calls() if call.startswith(CHANGING)]

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Mode and bytes of every file; for a link, where it leads."""
        return {
            str(path.relative_to(self.root)): (
                (0, bytes(path.readlink()))
                if path.is_symlink()
                else (path.stat().st_mode & 0o7777, path.read_bytes())
            )
            for path in sorted(self.root.rglob("*"))
            if path.is_symlink() or path.is_file()
        }

    def text(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")
