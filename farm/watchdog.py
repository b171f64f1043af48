"""Whether a silent backend works or hangs: a load and a long prompt are silent too, but they use the machine.

A backend is looked at while somebody waits for it. It hangs when for a whole window nothing came from it and
none of its runner processes used the processor, read a page from disk or waited for one. What is
done about it gets harsher from window to window. Pure; fed by a backend's shell.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from farm import limits


@dataclass(frozen=True, slots=True)
class Sample:
    """One runner process at one moment.

    Attributes:
        pid: its number.
        cpu_s: processor time it has used, in seconds.
        faults: pages it has read from disk.
        disk: whether it waits for the disk now.
    """

    pid: int
    cpu_s: float
    faults: int
    disk: bool


class Remedy(enum.Enum):
    """What to do."""

    NONE = "it works, or nobody waits"
    RELOAD = "give the load up and begin it again"
    KILL_RUNNER = "end the runner; the backend starts another"
    RESTART = "end the backend and start it again"


class Watchdog:
    """Watches one backend.

    Attributes:
        hangs: whether it was found hanging, until it works again.
    """

    def __init__(self) -> None:
        self.hangs = False
        self._since: float | None = None
        self._seen: tuple[Sample, ...] = ()
        self._done: Remedy = Remedy.NONE

    def heard(self) -> None:
        """The backend sent something, or nobody waits for it any more."""
        self.hangs, self._since, self._seen, self._done = False, None, (), Remedy.NONE

    def look(self, now: float, samples: Sequence[Sample] | None, *, loading: bool) -> Remedy:
        """Somebody waits for it, and nothing has come since the last look.

        Args:
            now: seconds, any zero.
            samples: its runner processes; None when they cannot be seen from here.
            loading: whether the farm waits for a load.
        """
        found = tuple(sorted(samples or (), key=lambda sample: sample.pid))
        if samples is None:
            patience = limits.WATCH_BLIND_S
        else:
            patience = limits.WATCH_LOAD_S if loading else limits.WATCH_WINDOW_S
            if self._since is not None and _works(self._seen, found):
                self._since = None
                self.hangs, self._done = False, Remedy.NONE
        if self._since is None:
            self._since, self._seen = now, found
        if now - self._since < patience:
            return Remedy.NONE
        self._since, self._seen, self.hangs = now, found, True
        self._done = self._next(loading=loading)
        return self._done

    def _next(self, *, loading: bool) -> Remedy:
        """A step up from what was done last; a load that is not there cannot be given up."""
        if self._done is Remedy.NONE:
            return Remedy.RELOAD if loading else Remedy.KILL_RUNNER
        return Remedy.KILL_RUNNER if self._done is Remedy.RELOAD else Remedy.RESTART


def _works(before: tuple[Sample, ...], now: tuple[Sample, ...]) -> bool:
    """Whether anything moved between two looks."""
    if [sample.pid for sample in before] != [sample.pid for sample in now]:
        return True
    return any(
        new.disk or new.faults > old.faults or new.cpu_s - old.cpu_s > limits.WATCH_CPU_S
        for old, new in zip(before, now, strict=True)
    )
