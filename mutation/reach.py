"""Which tests run which line, and how long each takes: measured once, in forked children, with coverage."""

from __future__ import annotations

import os
import pickle
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import coverage
import pytest


@dataclass(slots=True)
class Reach:
    """What was measured.

    Attributes:
        lines: file → line → numbers of the tests that run it.
        took_s: seconds of CPU of each test, by its number.
        failed: tests that do not pass as they are.
    """

    lines: dict[str, dict[int, set[int]]] = field(default_factory=dict)
    took_s: dict[int, float] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)

    def tests(self, file: str, lines: tuple[int, int]) -> list[int]:
        """Those that run one of the lines from the first to the last, quickest first."""
        by_line = self.lines.get(file, {})
        found = {test for line in range(lines[0], lines[1] + 1) for test in by_line.get(line, ())}
        return sorted(found - self.failed, key=lambda test: (self.took_s[test], test))

    def add(self, other: Reach) -> None:
        """What another part of the tests reached."""
        for file, by_line in other.lines.items():
            mine = self.lines.setdefault(file, {})
            for line, tests in by_line.items():
                mine.setdefault(line, set()).update(tests)
        self.took_s |= other.took_s
        self.failed |= other.failed


class Verdict:
    """A plugin that notes whether the test that runs now failed, without a word about why."""

    def __init__(self) -> None:
        self.failed = False

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Each of its three phases counts."""
        self.failed = self.failed or report.failed


def measured(
    items: Sequence[pytest.Item], files: Sequence[str], jobs: int, folder: Path, fresh: Callable[[], None]
) -> Reach:
    """Run all tests, in so many processes.

    Args:
        items: the tests; their numbers are their places in here.
        files: whose lines count.
        jobs: processes.
        folder: where they leave what they found.
        fresh: called before each test: empties what is remembered from test to test.
    """
    size = -(-len(items) // jobs)
    children = []
    for first in range(0, len(items), size):
        kept = folder / f"reach{first}"
        pid = os.fork()
        if pid == 0:
            _child(items, range(first, min(first + size, len(items))), files, kept, fresh)
        children.append((pid, kept))
    whole = Reach()
    for pid, kept in children:
        if os.waitpid(pid, 0)[1] != 0:
            raise RuntimeError(
                f"the tests could not be run with coverage: {kept.read_text(encoding='utf-8')}"
            )
        whole.add(pickle.loads(kept.read_bytes()))  # noqa: S301 - our own child wrote it
    return whole


def _child(
    items: Sequence[pytest.Item],
    numbers: range,
    files: Sequence[str],
    kept: Path,
    fresh: Callable[[], None],
) -> None:
    code = 1
    try:
        quiet()
        kept.write_bytes(pickle.dumps(_measure(items, numbers, files, fresh)))
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child must not go on as its parent
        kept.write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(code)


def _measure(
    items: Sequence[pytest.Item], numbers: range, files: Sequence[str], fresh: Callable[[], None]
) -> Reach:
    reach, verdict = Reach(), Verdict()
    items[0].config.pluginmanager.register(verdict)
    watch = coverage.Coverage(data_file=None, config_file=False, include=list(files), branch=False)
    watch.start()
    for number in numbers:
        fresh()
        verdict.failed = False
        watch.switch_context(str(number))
        began = time.process_time()
        item, following = items[number], items[number + 1] if number + 1 in numbers else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        reach.took_s[number] = time.process_time() - began
        if verdict.failed:
            reach.failed.add(number)
    watch.stop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", coverage.exceptions.CoverageWarning)  # nothing was reached: no matter
        data = watch.get_data()
    for file in data.measured_files():
        by_line = data.contexts_by_lineno(file)
        reach.lines[file] = {line: {int(name) for name in names if name} for line, names in by_line.items()}
    return reach


def quiet() -> None:
    """Nothing a forked child says is heard."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
