"""Each change on trial: a forked child of one pytest exchanges a function's code and runs its tests.

It ends at the first test that fails; the tests are those that run a line of the changed statement.

    killed    │ a test failed
    time      │ a test took more CPU than ten of its own times and a second, or the child did not end
    survived  │ all passed
    unreached │ there is no test that runs the line after the imports
    unplaced  │ no live function to exchange the code of

All tests are collected once; a child costs its fork, one compilation and the tests up to the one that fails.
"""

from __future__ import annotations

import ast
import gc
import importlib
import mmap
import os
import resource
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest

from mutation.children import Children, Mutant
from mutation.operators import changes
from mutation.reach import Reach, measured, quiet
from mutation.swap import NotPlacedError, caches, live, place

EXAMPLES = 20
"""Hypothesis' examples of a test at most: each test is run for many a change."""
_CPU_S, _CPU_TIMES, _WALL_S = 1.0, 10.0, 20.0
_MEMORY_B = 2 << 30
_RANK_S = 0.05
"""A test that killed before in the same function goes first, unless it is slower than this."""


@dataclass
class Trial:
    """A pytest plugin that runs changes instead of tests.

    Args:
        modules: name → file of what is changed.
        chosen: which of all mutants are tried.
        jobs: children at a time.
        folder: for what has to lie somewhere meanwhile.
        told: called with each mutant, how it ended, how many are done and how many there are.
        say: called with what a person should know meanwhile.
        unchanged: run the same tests and exchange nothing: what is killed then, the tests' order kills.

    Attributes:
        reach: which tests run which line, once it was measured.
    """

    modules: Mapping[str, Path]
    chosen: Callable[[Sequence[Mutant]], Sequence[Mutant]]
    jobs: int
    folder: Path
    told: Callable[[Mutant, str, int, int], None]
    say: Callable[[str], None] = lambda _: None
    unchanged: bool = False
    reach: Reach = field(default_factory=Reach)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """The same few examples for every change, none of them made smaller."""
        hypothesis.settings.register_profile(
            "mutation",
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        hypothesis.settings.load_profile("mutation")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of running all tests."""
        mutants = self.chosen(list(_mutants(self.modules)))
        for item in session.items:
            _fewer_examples(item)
        files = {str(path) for path in self.modules.values()}
        self._functions, self._caches = live(files), caches(files)
        self._items = session.items
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        self.say(f"{len(session.items):,} tests: which lines they run")
        self.reach = measured(session.items, sorted(files), self.jobs, self.folder, self._fresh)
        for number in sorted(self.reach.failed):
            self.say(f"fails as it is, so it cannot tell anything: {session.items[number].nodeid}")
        self._killers: dict[tuple[str, str], list[int]] = {}
        self._notes = mmap.mmap(-1, 4 * self.jobs)
        gc.collect()
        gc.freeze()
        Children(self, self.jobs, self.told).run(mutants)
        return True

    def _fresh(self) -> None:
        for cache in self._caches:
            cache.cache_clear()

    def tests(self, mutant: Mutant) -> list[int]:
        """What could tell, the likeliest first."""
        found = self.reach.tests(mutant.file, mutant.change.lines)
        killers = self._killers.get((mutant.module, mutant.change.outer), [])
        first = [test for test in reversed(killers) if test in set(found)]
        return first + [test for test in found if test not in set(first)]

    def note(self, mutant: Mutant, slot: int) -> None:
        """A child in this slot found a test that kills."""
        (number,) = struct.unpack_from("i", self._notes, 4 * slot)
        if number >= 0 and self.reach.took_s[number] < _RANK_S:
            killers = self._killers.setdefault((mutant.module, mutant.change.outer), [])
            if number in killers:
                killers.remove(number)
            killers.append(number)
            del killers[:-8]

    def child(self, mutant: Mutant, tests: Sequence[int], slot: int) -> None:
        """All that a forked child does; never returns."""
        code = 1
        try:
            os.setpgid(0, 0)
            quiet()
            struct.pack_into("i", self._notes, 4 * slot, -1)
            self._fresh()
            if not self.unchanged and not self._place(mutant):
                os._exit(3)
            self._limit()
            config = self._items[0].config
            config.pluginmanager.register(_Executioner(self._notes, slot))
            mine = self.folder / f"tmp{slot}"
            shutil.rmtree(mine, ignore_errors=True)
            mine.mkdir()
            config._tmp_path_factory._basetemp = mine  # type: ignore[attr-defined]
            self._run(tests, slot)
            code = 0
        except BaseException:  # noqa: BLE001 - a forked child must not go on as its parent
            code = 1
        finally:
            os._exit(code)

    def _place(self, mutant: Mutant) -> bool:
        mutant.change.edit.swap()
        try:
            return place(mutant.tree, mutant.file, mutant.change.outer, self._functions) > 0
        except NotPlacedError:
            return False

    def _run(self, tests: Sequence[int], slot: int) -> None:
        for at, number in enumerate(tests):
            struct.pack_into("i", self._notes, 4 * slot, number)
            signal.setitimer(signal.ITIMER_PROF, _CPU_S + _CPU_TIMES * self.reach.took_s[number])
            item = self._items[number]
            following = self._items[tests[at + 1]] if at + 1 < len(tests) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)

    @staticmethod
    def _limit() -> None:
        pages = (
            int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
        )
        most = pages * resource.getpagesize() + _MEMORY_B
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def wall_s(self, tests: Sequence[int]) -> float:
        """How long a child may live."""
        return _WALL_S + _CPU_TIMES * sum(self.reach.took_s[test] for test in tests)


class _Executioner:
    """In the child: the first failure ends it, before anything is put in words."""

    def __init__(self, notes: mmap.mmap, slot: int) -> None:
        self._notes = notes
        self._slot = slot

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        if getattr(item, "_excinfo", None):
            os._exit(1)
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            os._exit(1)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(1)


def run(trial: Trial, tests: Sequence[str], root: Path) -> int:
    """Collect these tests and try the changes; pytest's exit code."""
    quietly = [
        "-qq",
        "--no-header",
        "--assert=plain",
        "-s",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:faulthandler",
    ]
    return int(
        pytest.main(
            [*quietly, f"--rootdir={root}", "-m", "not engine and not ollama", *tests],
            plugins=[trial],
        )
    )


def _mutants(modules: Mapping[str, Path]) -> Iterator[Mutant]:
    for name, path in modules.items():
        importlib.import_module(name)
        file = sys.modules[name].__file__
        if file != str(path):
            raise RuntimeError(f"{name} is {file}, not {path}")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for change in changes(tree):
            yield Mutant(name, file, tree, change)


def _fewer_examples(item: pytest.Item) -> None:
    held = getattr(item, "obj", None)
    for thing, name in (
        (getattr(held, "__func__", held), "_hypothesis_internal_use_settings"),
        (getattr(item, "cls", None), "settings"),
    ):
        given = getattr(thing, name, None)
        if isinstance(given, hypothesis.settings) and given.max_examples > EXAMPLES:
            setattr(thing, name, hypothesis.settings(given, max_examples=EXAMPLES))
