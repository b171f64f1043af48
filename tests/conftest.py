"""Shared by all tests: hypothesis' profile, and no silent skips in CI."""

from __future__ import annotations

import os
from collections.abc import Generator

import hypothesis
import pytest
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
