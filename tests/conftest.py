"""Shared by all tests: hypothesis' profile, no silent skips in CI, and no secret in what programs write."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
from canaries import watching
from harness import node, relay, upstream

__all__ = ["node", "relay", "upstream"]

CI = os.environ.get("CI") == "true"
MAY_SKIP = {"nknd", "ollama", "gpu"}
"""Marks of tests that need what no CI machine has: a real nknd, a real Ollama, a GPU."""

hypothesis.settings.register_profile(
    "fast",
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=CI,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("fast")

LEAKS = pytest.StashKey[tempfile.TemporaryDirectory[str]]()
WATCH = pytest.StashKey[watching.Watch]()


def pytest_configure(config: pytest.Config) -> None:
    """Watch this program, and every Python program that a test starts."""
    if watching.folder() is not None:
        return
    config.stash[LEAKS] = tempfile.TemporaryDirectory(prefix="canaries")
    os.environ[watching.VARIABLE] = config.stash[LEAKS].name
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    os.environ |= watching.environment(*map(Path, paths))
    config.stash[WATCH] = watching.Watch(watching.folder())
    watching.install(config.stash[WATCH])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A secret that showed anywhere fails the whole run."""
    if LEAKS in session.config.stash and any(Path(session.config.stash[LEAKS].name).glob("leak-*")):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What was watched, and what was found."""
    if LEAKS not in config.stash:
        return
    config.stash[WATCH].save()
    folder = Path(config.stash[LEAKS].name)
    leaks = [line for file in folder.glob("leak-*") for line in file.read_text(encoding="utf-8").splitlines()]
    seen: Counter[str] = Counter()
    programs = list(folder.glob("seen-*"))
    for file in programs:
        seen.update(json.loads(file.read_text(encoding="utf-8")))
    terminalreporter.write_line(
        f"canaries: {seen['seeds']:,} seeds and {seen['prompts']:,} prompts in {len(programs):,} programs, "
        f"{seen['texts']:,} texts looked at, {len(leaks)} leaks"
    )
    for line in leaks:
        terminalreporter.write_line(line, red=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one, unless it is marked as needing what CI lacks."""
    report = yield
    marks = {mark.name for mark in item.iter_markers()}
    if CI and report.skipped and not hasattr(report, "wasxfail") and not marks & MAY_SKIP:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {call.excinfo.value if call.excinfo else report.longrepr}"
    return report
