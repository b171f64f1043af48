"""The programs of a run as child processes, and what they cost: CPU seconds, threads, memory.

Linux alone: the figures come from the kernel's clocks and /proc. Knows nothing of what is measured;
used by `relay_vs_sdk` and `profile_relay`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
SDK = ROOT / "tests" / "interop" / "node_modules" / "nkn-sdk"
_START_S = 30.0
"""A child that has not said that it is ready by then is killed."""
_STOP_S = 10.0
"""A child that has not ended by then is killed."""
_CPUCLOCK_SCHED = 2
"""The kernel's name for the clock of a process's user and system time."""


class MissingPartError(Exception):
    """Something the bench needs is not installed; the message says what to do."""


class Child:
    """A program that prints a ready line; ended when left.

    Args:
        words: its command line.
        mark: how its ready line begins.
        env: settings beside the environment; the caller's own RELAY_ and NKN_ ones are kept out.

    Attributes:
        told: what stands behind `mark`.
    """

    def __init__(self, words: list[str], mark: str, env: dict[str, str] | None = None) -> None:
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("RELAY_", "NKN_"))
        }
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the child
        self._process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=inherited | {"PYTHONPATH": paths} | (env or {}),
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.pid = self._process.pid
        self.told = self._wait_for(mark, words)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        end(self._process)
        for pipe in (self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def ask(self) -> str:
        """The line it prints on SIGUSR1, if it is a program that does."""
        os.kill(self.pid, signal.SIGUSR1)
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _wait_for(self, mark: str, words: list[str]) -> str:
        assert self._process.stdout is not None
        late = threading.Timer(_START_S, self._process.kill)
        late.start()
        try:
            for line in self._process.stdout:
                if line.startswith(mark):
                    return line.removeprefix(mark).strip()
        finally:
            late.cancel()
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        last = (self._errors.read().splitlines() or ["it said nothing"])[-1]
        name = " ".join(Path(word).name for word in words[:3])
        raise MissingPartError(f"`{name}` did not start within {_START_S:.0f} s: {last}")


def paced() -> Child:
    """The upstream; `told` is its port."""
    return Child([sys.executable, "-m", "bench.paced"], "ready")


def dev_node(*faults: str) -> Child:
    """A dev node that checks no signatures, as real nodes do not; `told` is its RPC URL."""
    words = ["-m", "relay", "devnode", "--rpc-port", "0", "--ws-port", "0", "--lenient"]
    return Child([sys.executable, *words, *faults], "→ NKN dev node ready:")


OURS = ("-m", "relay")
TIMED = ("-m", "bench.timed_relay")
"""How our relay is started: as it is, and with clocks in it."""


def our_relay(folder: Path, rpc: str, target: str, streams: int, program: tuple[str, ...] = OURS) -> Child:
    """Our relay with room for so many streams; `told` is its address."""
    env = _settings(rpc, target) | {"RELAY_WORKERS": str(streams + 1), "RELAY_PEER_STREAMS": str(streams)}
    return Child([sys.executable, *program, "--env-file", str(folder / ".env")], "→ NKN ready:", env)


def sdk_relay(rpc: str, target: str) -> Child:
    """The plain relay on the official SDK; `told` is its address."""
    node = shutil.which("node")
    if node is None:
        raise MissingPartError("node is missing: install Node.js 20 or newer")
    if not (SDK / "package.json").is_file():
        raise MissingPartError("the npm packages are missing: run `make node_modules`")
    return Child([node, "bench/sdk_relay.mjs"], "→ NKN ready:", _settings(rpc, target))


def _settings(rpc: str, target: str) -> dict[str, str]:
    return {"NKN_RPC_ADDR": rpc, "RELAY_TARGETS": json.dumps({"ollama": target})}


def end(process: subprocess.Popen[Any]) -> None:
    """End a program, by force if it does not listen."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of loopback that nobody holds now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def cpu_s(pid: int) -> float:
    """User and system seconds of a process, all its threads that ever lived."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


@dataclass(frozen=True, slots=True)
class Threads:
    """CPU seconds of a process by thread: the first one, which runs the loop, and all others."""

    loop_s: float
    others_s: float

    def since(self, earlier: Threads) -> Threads:
        """What was used between two looks."""
        return Threads(self.loop_s - earlier.loop_s, self.others_s - earlier.others_s)


def threads_s(pid: int) -> Threads:
    """CPU seconds by thread, of those that live."""
    spent = {
        int(task.name): int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    }
    return Threads(spent[pid], sum(spent.values()) - spent[pid])


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def machine(*, sdk: bool) -> dict[str, str]:
    """What a reader must know of the machine, neither its name nor its folders; `sdk`: of node too."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), "")
    facts = {
        "CPU": f"{os.cpu_count()} × {model or platform.machine()}",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "libraries": ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES),
    }
    if sdk:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)  # noqa: S607
        facts["node"] = node.stdout.strip().removeprefix("v")
        facts["nkn-sdk"] = json.loads((SDK / "package.json").read_text())["version"]
    return facts


_LIBRARIES = ("websockets", "PyNaCl", "protobuf")
