"""The exchanges that run or wait: events of workers, acknowledgements and time in, commands out.

Knows who runs under which name and where its frames go; nothing of what peers say. Pure; owned by `engine`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.admission import Admission
from relay.answered import Answered, fingerprint
from relay.commands import Abort, Command, Gather, Hold, Note, Send, Start
from relay.exchange import Exchange
from relay.nkn.multi import Recent
from relay.outflow import Out
from relay.retained import Name
from wire import redact
from wire.deadlines import Deadlines
from wire.errors import Fault, internal, shutdown


@dataclass(slots=True)
class Run:
    """One exchange.

    Attributes:
        dest: where its frames go.
        since: when it came.
        busy: whether it holds a worker.
        lazy, held: what its upstream was told last.
    """

    exchange: Exchange
    dest: str
    name: Name
    fingerprint: bytes
    since: float
    busy: bool = False
    lazy: bool = False
    held: bool = False


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What a person may see of an exchange.

    Attributes:
        peer: the beginning of its key.
        state: see `exchange.Phase`.
        lines: and chunks of the answer so far.
        since: when it came.
    """

    tag: int
    peer: str
    path: str
    state: str
    lines: int
    since: float


class Runs:
    """All of them, by tag and by name.

    Args:
        admission: who may run.
        answered: gets their frames and ends.
        counts: gets "ended_…" and "held".
        used: told the key and the tokens of each exchange that ended.
    """

    def __init__(
        self,
        admission: Admission,
        answered: Answered,
        counts: Counter[str],
        used: Callable[[bytes, int], None],
    ) -> None:
        self._admission = admission
        self._answered = answered
        self._counts = counts
        self._used = used
        self._runs: dict[int, Run] = {}
        self._due: Deadlines[int] = Deadlines()
        self._tags: dict[Name, int] = {}
        self._listeners: Recent[str, None] = Recent()

    def tag(self, name: Name) -> int | None:
        """The tag of the exchange with that name."""
        return self._tags.get(name)

    def named(self, name: Name) -> Run | None:
        """The exchange with that name."""
        return self._runs.get(self._tags.get(name, 0))

    def glimpses(self) -> list[Glimpse]:
        """All of them, for people; asked a few times a second at most."""
        return [
            Glimpse(
                tag,
                redact.key(run.dest).rpartition(".")[2],
                redact.path(run.exchange.request.path),
                run.exchange.phase.value,
                run.exchange.lines,
                run.since,
            )
            for tag, run in self._runs.items()
        ]

    def position(self, tag: int) -> int | None:
        """Its place in the queue from 1, or None if it does not wait."""
        return self._admission.position(tag)

    def listens(self, dest: str) -> None:
        """Whoever has this address acknowledges: should he vanish, it will be noticed from the start."""
        self._listeners.remember(dest, None)

    def is_listener(self, dest: str) -> bool:
        """Whether this address acknowledged something lately."""
        return dest in self._listeners

    def open(self, tag: int, src: str, name: Name, exchange: Exchange, now: float) -> list[Command]:
        """An exchange that was admitted; it starts if a worker is free."""
        run = self._runs[tag] = Run(exchange, src, name, fingerprint(exchange.request), now)
        self._settle(tag, run)
        self._tags[name] = tag
        self._answered.retained.forget(name)
        return self._start(tag, now) if self.position(tag) is None else []

    def on(self, tag: int, event: Callable[[Exchange], Sequence[Out]], now: float) -> list[Command]:
        """Something happened to an exchange; an ended one hears nothing."""
        run = self._runs.get(tag)
        if run is None or run.exchange.ended:
            return []
        return self._outs(tag, run, event(run.exchange), now)

    def acknowledged(self, tag: int, number: int, now: float) -> list[Command]:
        """A peer has a frame."""
        if (run := self._runs.get(tag)) is not None:
            self.listens(run.dest)
        return self.on(tag, lambda exchange: exchange.acknowledged(number, now), now)

    def heard(self, name: Name, now: float) -> list[Command]:
        """The peer of that exchange said something; its upstream may be held, or read on, from now on."""
        run = self.named(name)
        if run is None:
            return []
        run.exchange.heard(now)
        return self._outs(self._tags[name], run, (), now)

    def closed(self, tag: int, now: float) -> list[Command]:
        """The worker of this exchange is free again."""
        self._admission.release(tag)
        commands: list[Command] = []
        run = self._runs.get(tag)
        if run is not None:
            run.busy = False
            if not run.exchange.ended:
                fault = internal("the worker ended without a result")
                commands += self.on(tag, lambda exchange: exchange.fail(fault, now), now)
            self._runs.pop(tag, None)
        return [*commands, *self._start_next(now)]

    def moved(self, tag: int, src: str, now: float) -> list[Command]:
        """Its peer is there now, and hears from it what it lacks."""
        run = self._runs[tag]
        run.exchange.heard(now, moved=run.dest != src)
        run.dest = src
        commands: list[Command] = []
        if run.exchange.request.stream.wanted:
            commands.append(Send(src, run.exchange.alive(now, self.position(tag))))
        return [*commands, *self._outs(tag, run, (), now)]

    def advance(self, now: float) -> list[Command]:
        """Whatever the time that passed asks for."""
        commands: list[Command] = []
        for tag in list(self._due.take(now)):
            run = self._runs[tag]
            commands += self._outs(tag, run, run.exchange.advance(now, self.position(tag)), now)
        return commands

    def due_at(self) -> float | None:
        """When `advance` has something to do."""
        return self._due.earliest()

    def stop(self, now: float) -> list[Command]:
        """End them all."""
        commands: list[Command] = []
        for tag in list(self._runs):
            commands += self.on(tag, lambda exchange: exchange.fail(shutdown(), now), now)
        return commands

    # -- inside -------------------------------------------------------------------------

    def _outs(self, tag: int, run: Run, outs: Sequence[Out], now: float) -> list[Command]:
        self._settle(tag, run)
        self._answered.keep(run.name, outs)
        commands: list[Command] = [Send(run.dest, out.text, tag, out.number, out.effort) for out in outs]
        if run.lazy is not run.exchange.gathering and not run.exchange.ended:
            run.lazy = not run.lazy
            commands.append(Gather(tag, run.lazy))
        if run.held is not run.exchange.holding:
            run.held = not run.held
            self._counts["held"] += run.held
            commands.append(Hold(tag, run.held))
        if run.exchange.ended:
            commands += self._ended(tag, run, run.exchange.fault, now)
        return commands

    def _settle(self, tag: int, run: Run) -> None:
        """Note when it is due, after whatever happened to it."""
        due = run.exchange.due_at()
        if due is None:
            self._due.drop(tag)
        else:
            self._due.set(tag, due)

    def _ended(self, tag: int, run: Run, fault: Fault | None, now: float) -> list[Command]:
        self._tags.pop(run.name, None)
        self._used(run.name[0], run.exchange.tokens)
        self._answered.ended(run.name, run.fingerprint, fault, now)
        self._counts["ended_ok" if fault is None else f"ended_{fault.code}"] += 1
        note = Note("end", {"tag": tag, "code": fault.code if fault else "ok"})
        if run.busy:
            # Its worker reports when it is free; only then is the slot.
            return [note, Abort(tag)]
        del self._runs[tag]
        self._admission.withdraw(tag)
        return [note]

    def _start(self, tag: int, now: float) -> list[Command]:
        run = self._runs[tag]
        run.busy = True
        run.exchange.start(now)
        self._settle(tag, run)
        return [Start(tag, run.exchange.request)]

    def _start_next(self, now: float) -> list[Command]:
        commands: list[Command] = []
        while (tag := self._admission.next()) is not None:
            commands += self._start(tag, now)
        return commands
