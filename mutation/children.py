"""Forked children, so many at a time: each tries one change and ends in a word."""

from __future__ import annotations

import ast
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mutation.change import Change

KILLED, TIME, SURVIVED, UNREACHED, UNPLACED = "killed", "time", "survived", "unreached", "unplaced"
_ENDS = {0: SURVIVED, 1: KILLED, 3: UNPLACED}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change and its module."""

    module: str
    file: str
    tree: ast.Module
    change: Change


class Work(Protocol):
    """What the children do."""

    def tests(self, mutant: Mutant) -> list[int]:
        """Numbers of the tests that could tell."""

    def wall_s(self, tests: Sequence[int]) -> float:
        """How long a child may live."""

    def child(self, mutant: Mutant, tests: Sequence[int], slot: int) -> None:
        """All that a forked child does; never returns."""

    def note(self, mutant: Mutant, slot: int) -> None:
        """A child in this slot found a test that kills."""


@dataclass(slots=True)
class _Child:
    mutant: Mutant
    slot: int
    until: float


class Children:
    """Those that run now.

    Args:
        work: what each of them does.
        jobs: how many at a time.
        told: called with each mutant, how it ended, how many are done and how many there are.
    """

    def __init__(self, work: Work, jobs: int, told: Callable[[Mutant, str, int, int], None]) -> None:
        self._work = work
        self._told = told
        self._running: dict[int, _Child] = {}
        self._free = list(range(jobs))
        self._done = 0
        self._all = 0

    def run(self, mutants: Sequence[Mutant]) -> None:
        """Try them all."""
        self._all = len(mutants)
        try:
            for mutant in mutants:
                tests = self._work.tests(mutant)
                if not tests:
                    self._tell(mutant, UNREACHED)
                    continue
                while not self._free:
                    self._wait()
                self._start(mutant, tests)
            while self._running:
                self._wait()
        finally:
            for pid in self._running:
                os.killpg(pid, signal.SIGKILL)

    def _start(self, mutant: Mutant, tests: Sequence[int]) -> None:
        slot = self._free.pop()
        pid = os.fork()
        if pid == 0:
            self._work.child(mutant, tests, slot)
        self._running[pid] = _Child(mutant, slot, time.monotonic() + self._work.wall_s(tests))

    def _wait(self) -> None:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            self._ended(pid, status)
            return
        for running, child in self._running.items():
            if time.monotonic() > child.until:
                os.killpg(running, signal.SIGKILL)
        time.sleep(0.002)

    def _ended(self, pid: int, status: int) -> None:
        child = self._running.pop(pid)
        self._free.append(child.slot)
        if os.WIFSIGNALED(status):
            overdue = os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGKILL)
            end = TIME if overdue else KILLED
        else:
            end = _ENDS.get(os.WEXITSTATUS(status), KILLED)
        if end == KILLED:
            self._work.note(child.mutant, child.slot)
        self._tell(child.mutant, end)

    def _tell(self, mutant: Mutant, end: str) -> None:
        self._done += 1
        self._told(mutant, end, self._done, self._all)
