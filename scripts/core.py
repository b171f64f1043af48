"""`make core`: the tests of floors 0 to 2 alone, each module covered to the last branch.

Which modules are pure stands once, in tests/test_architecture.py; a module's test file has its name. Used
before every commit: no clock, socket or thread is in there, so it takes about a minute.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (("relay.nkn.", "nkn"), ("relay.", "relay"), ("wire.", "wire"))
SHARED = (
    *(
        f"tests/nkn/test_devnode_{name}.py"
        for name in ("control", "core", "faults", "frames", "panel", "ring", "rpc", "store", "vectors")
    ),
    "tests/relay/test_engine_*.py",
    "tests/relay/test_doctor_pure*.py",
    "tests/relay/test_service_pure*.py",
    "tests/farm/test_farm_pure_*.py",
    "tests/farm/bench/test_bench_pure_*.py",
    "tests/farm/doctor/test_doctor_pure_*.py",
    "tests/farm/test_farm_recorded.py",
)
"""Tests of rooms that have not a file for each module."""


def pure_modules() -> list[str]:
    """Names of all hand-written modules below floor 3."""
    path = ROOT / "tests" / "test_architecture.py"
    spec = importlib.util.spec_from_file_location("architecture", path)
    assert spec is not None
    assert spec.loader is not None
    architecture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(architecture)
    return [
        name
        for name, source in architecture.SOURCES.items()
        if architecture.floor_of(name) < 3 and source.name != "__init__.py" and not name.endswith("_pb2")
    ]


def test_file(module: str) -> Path | None:
    """Where a module's tests are; None for rooms whose tests are not a file a module."""
    for room, folder in ROOMS:
        if module.startswith(room):
            return ROOT / "tests" / folder / f"test_{module.removeprefix(room)}.py"
    return None


def pure_tests(modules: list[str]) -> list[str]:
    """The test files of these modules and of the rooms that share theirs."""
    tests = {path for module in modules if (path := test_file(module)) and path.exists()}
    tests |= {path for pattern in SHARED for path in ROOT.glob(pattern)}
    return [str(path) for path in sorted(tests)]


def main() -> int:
    """Run pytest; its exit code."""
    modules = pure_modules()
    with tempfile.NamedTemporaryFile("w", suffix=".coveragerc") as config:
        files = "\n    ".join(f"*/{name.replace('.', '/')}.py" for name in modules)
        config.write(f"[run]\nbranch = true\ninclude =\n    {files}\n[report]\nfail_under = 100\n")
        config.flush()
        cov = [
            "--cov",
            "--cov-branch",
            "--cov-report=term-missing:skip-covered",
            f"--cov-config={config.name}",
        ]
        return pytest.main(
            ["-q", "-m", "not engine and not ollama", *pure_tests(modules), *cov, *sys.argv[1:]]
        )


if __name__ == "__main__":
    sys.exit(main())
