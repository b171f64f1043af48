"""A real farm on free ports, once per test session: model cached, engine warm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(Path(__file__).parent))  # recorded, likeness, rawhttp and the like stand beside the tests
MODEL = "smollm2:135m"


@dataclass(frozen=True)
class RunningFarm:
    url: str
    back: str
    process: subprocess.Popen[str]
    log: Path

    def get(self, url: str) -> Any:
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)

    @property
    def engine(self) -> dict[str, Any]:
        return self.get(f"{self.back}/_engine")


def start_farm(*flags: str, log: Path | None = None) -> RunningFarm:
    argv = [
        sys.executable,
        "-m",
        "farm",
        "--mode",
        "embedded",
        "--front-port",
        "0",
        "--back-port",
        "0",
        *flags,
    ]
    with (log or Path(os.devnull)).open("w") as errors:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("→ farm ready: http://127.0.0.1:"), line or (log and log.read_text())
    url = line.split()[-1]
    with urllib.request.urlopen(f"{url}/_health") as answer:
        back = json.load(answer)["backend"]
    return RunningFarm(url, back, process, log or Path(os.devnull))


def end_farm(farm: RunningFarm) -> int:
    farm.process.terminate()
    code = farm.process.wait(10)
    assert farm.process.stdout is not None
    farm.process.stdout.close()
    return code


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFarm]:
    try:
        import xllamacpp  # noqa: F401 - only whether it is there
    except ImportError as error:
        missing = f"the embedded engine is not here ({error}); pip install 'gpu-over-nkn[embedded]'"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    running = start_farm(log=tmp_path_factory.mktemp("farm") / "log")
    yield running
    assert end_farm(running) == 0


@pytest.fixture(
    scope="session",
    params=[pytest.param("farm", marks=pytest.mark.engine), pytest.param("ollama", marks=pytest.mark.ollama)],
)
def which(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def host(which: str, request: pytest.FixtureRequest) -> str:
    """The adapter of the embedded backend, and the real Ollama that OLLAMA_TEST_HOST names."""
    if which == "farm":
        return str(request.getfixturevalue("farm").back)
    named = os.environ.get("OLLAMA_TEST_HOST")
    if not named:
        pytest.skip("set OLLAMA_TEST_HOST=http://127.0.0.1:11434 to compare with a real Ollama")
    return named
