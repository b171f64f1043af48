"""Farms as processes, with the stand-in programs on PATH, and a count of what is left of them.

Everything that a stage starts, and what that starts, inherits a variable with the stage's own number, so that
no process can be lost: neither by losing its parent nor by being a container.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import httpx
import psutil
from canaries import watching

from farm import cli, ports

ROOT = Path(__file__).resolve().parents[3]
BIN = ROOT / "tests" / "farm" / "standin" / "bin"
GUARD = str(ROOT / "farm" / "guard.py")
DEADLINE_S = 30.0
"""Ends a hang, no more."""
MARK = "STANDIN_STAGE"  # what begins so goes into containers too
_LOOSE = ("OLLAMA_", "STANDIN_", "CUDA_", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(_LOOSE)}


def until(true: Callable[[], Any], within_s: float = DEADLINE_S) -> Any:
    """What `true` gives, as soon as it is true."""
    deadline = time.monotonic() + within_s
    while not (held := true()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
    return held


def free_ports(count: int = 6) -> range:
    """Neighbours, below those that the system gives to clients, which may hold one for a moment."""
    while True:
        found = range(first := random.randrange(15_000, 31_000), first + count)
        if all(map(ports.is_free, found)):
            return found


def everybody() -> Iterator[psutil.Process]:
    """All processes, each as it is now: psutil's own walk remembers those that had the same number before."""
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error):
            yield psutil.Process(pid)


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@dataclass
class Running:
    """A farm as a process; `front` is where its clients come."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    front: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def told(self) -> str:
        return self.err.read_text(encoding="utf-8")

    @property
    def said(self) -> str:
        return self.out.read_text(encoding="utf-8")

    def ready(self) -> Self:
        """Wait for its word."""
        until(lambda: self.said.endswith("\n") or self.process.poll() is not None)
        assert self.said == f"→ farm ready: {self.front}\n", (self.process.poll(), self.said, self.told)
        return self

    def code(self) -> int:
        return self.process.wait(DEADLINE_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.code()

    def health(self) -> dict[str, Any]:
        """What /_health says; {} while nobody listens there."""
        try:
            answer = httpx.get(f"{self.front}/_health", timeout=DEADLINE_S, trust_env=False)
        except httpx.HTTPError:
            return {}
        return {"code": answer.status_code, **answer.json()}

    def healthy(self) -> bool:
        return self.health().get("status") == "ready"

    def generate(self, words: str = "tokens=1", **more: Any) -> httpx.Response:
        """An answer in one piece."""
        body = {"model": "a", "prompt": words, "stream": False, **more}
        return httpx.post(f"{self.front}/api/generate", json=body, timeout=DEADLINE_S, trust_env=False)

    def below(self, word: str) -> list[psutil.Process]:
        """Its processes with that word in their command lines."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if word in process.cmdline():
                    found.append(process)
        return found

    def one(self, word: str) -> psutil.Process:
        found: psutil.Process = until(lambda: (self.below(word) or [None])[0])
        return found

    @property
    def guard(self) -> psutil.Process:
        return self.one(GUARD)

    @property
    def serve(self) -> psutil.Process:
        return self.one("serve")


class Stage:
    """Where farms play."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, uuid.uuid4().hex
        *_, self.front_port = ports_ = free_ports()
        self.back_port = ports_[0]
        (folder / "home").mkdir()
        self.env = CLEAN | {
            MARK: self.number,
            "PATH": f"{BIN}:{Path(sys.executable).parent}:/usr/bin:/bin",
            **watching.environment(ROOT),
            "HOME": str(folder / "home"),
            "STANDIN_LOG": str(folder / "log"),
            "STANDIN_STATE": str(folder / "state"),
            "STANDIN_GPUS": "0",
            "STANDIN_LIFE_S": "100",
        }
        self._farms = 0
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def models(self) -> Path:
        return self.folder / "kept"

    def flags(self, *more: str) -> list[str]:
        """The usual ones, and more; what is given twice counts the second time."""
        ports_ = ("--front-port", str(self.front_port), "--back-port", str(self.back_port))
        return ["--model", "a", *ports_, "--models-dir", str(self.models), *more]

    def farm(self, *more: str, **env: str) -> Running:
        """Start one; it may not be ready."""
        self._farms += 1
        out, err = (self.folder / f"{kind}{self._farms}" for kind in ("out", "err"))
        with out.open("wb") as said, err.open("wb") as told:
            process = subprocess.Popen(
                [sys.executable, "-m", "farm", *self.flags(*more)], env=self.env | env, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=said, stderr=told,
            )  # fmt: skip
        self._started.append(process)
        return Running(process, out, err, f"http://127.0.0.1:{self.front_port}")

    def fails(self, *more: str, **env: str) -> str:
        """Its only sentence, when it does not come up."""
        farm = self.farm(*more, **env)
        assert (farm.code(), farm.said) == (1, "")
        *notes, last = farm.told.splitlines()
        assert last.startswith("farm: ")
        assert not any("Traceback" in note for note in notes), farm.told
        return last.removeprefix("farm: ")

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, env=self.env | env, cwd=self.folder, text=True, capture_output=True, timeout=DEADLINE_S
        )

    def told(self, *more: str, **env: str) -> tuple[int, str, str]:
        """Exit code, output and errors of a farm that does not come up, or is not to, in this process."""
        before, handler = Path.cwd(), signal.getsignal(signal.SIGTERM)
        os.chdir(self.folder)
        try:
            with (
                patch.dict(os.environ, self.env | env, clear=True),
                contextlib.redirect_stdout(io.StringIO()) as out,
                contextlib.redirect_stderr(io.StringIO()) as err,
            ):
                code = cli.main(self.flags(*more))
        finally:
            os.chdir(before)
            signal.signal(signal.SIGTERM, handler)
        return code, out.getvalue(), err.getvalue()

    def dry(self, *more: str, **env: str) -> str:
        """What a dry run prints."""
        code, out, err = self.told(*more, "--dry-run", **env)
        assert (code, err) == (0, "")
        return out

    def start(self, *argv: str, **env: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        made = subprocess.Popen(
            argv, env=self.env | env, cwd=self.folder, stdin=quiet, stdout=quiet, stderr=quiet
        )
        self._started.append(made)
        return made

    def ollama(self, **env: str) -> subprocess.Popen[bytes]:
        """One of somebody else's on the back port."""
        host = f"127.0.0.1:{self.back_port}"
        made = self.start("ollama", "serve", OLLAMA_HOST=host, OLLAMA_MODELS=str(self.models), **env)
        until(lambda: not ports.is_free(self.back_port))
        return made

    def daemon(self) -> None:
        """A daemon for the stand-in docker, so that containers are nobody's children."""
        self.start("dockerd")
        until((Path(self.env["STANDIN_STATE"]) / "daemon").exists)

    def log(self, what: str) -> list[dict[str, Any]]:
        """How the stand-ins were called: argv and environment."""
        path = self.folder / "log"
        lines = map(json.loads, path.read_text(encoding="utf-8").splitlines() if path.exists() else [])
        return [line for line in lines if line["what"] == what]

    def containers(self) -> list[str]:
        state = Path(self.env["STANDIN_STATE"]).glob("*.json")
        return sorted(json.loads(file.read_text(encoding="utf-8"))["name"] for file in state)

    def left(self) -> list[psutil.Process]:
        """Processes of this stage that live; the daemon and this test are none."""
        found = []
        for process in everybody():
            with contextlib.suppress(psutil.Error, OSError):
                mine = process.environ().get(MARK) == self.number
                if mine and str(BIN / "dockerd") not in process.cmdline() and lives(process):
                    found.append(process)
        return found

    def clean(self) -> bool:
        """No process, no container, both ports free."""
        free = ports.is_free(self.back_port) and ports.is_free(self.front_port)
        return free and not self.left() and not self.containers()

    def close(self) -> None:
        for process in everybody():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.number:
                    process.kill()
        for started in self._started:
            started.wait()
