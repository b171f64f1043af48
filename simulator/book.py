"""Double entry: all that goes into an engine and comes out of it, held against what the relay promises.

Told by `shell` before each event and of each command; knows the engine's tables only to compare sums.
"""

from __future__ import annotations

import json
from typing import Any

from relay import events
from relay.admission import Shares
from relay.commands import Abort, Command, Effort, Hold, Note, Send, Start
from relay.engine import Engine
from relay.manner import Manner
from simulator import judging
from simulator.case import Case, Name, Wish
from simulator.clock import Clock
from simulator.judging import check
from simulator.ledger import Ledger
from simulator.memory import Memory
from simulator.trace import Trace
from simulator.verdicts import Verdicts


class Book:
    """One relay's.

    Args:
        late_s: how late the relay's timers may be.

    Attributes:
        cases: every request that was admitted, by tag.
        live: those that run or wait, by name.
        latest: the last of each name.
    """

    def __init__(
        self, engine: Engine, shares: Shares, manner: Manner, trace: Trace, *, clock: Clock, late_s: float
    ) -> None:
        self.cases: dict[int, Case] = {}
        self.live: dict[Name, Case] = {}
        self.latest: dict[Name, Case] = {}
        self.trace = trace
        self.uploads: dict[Name, Wish] = {}
        self._engine, self._manner = engine, manner
        self._clock = clock
        self._slack_s = late_s + 1e-6
        self._ledger = Ledger(engine, shares)
        self._memory = Memory(engine)
        self._listeners: set[str] = set()
        self._told = Verdicts()
        self._touched: Case | None = None
        self._event: dict[str, Any] = {}
        self._src, self._key = "", b""
        self._verdicts = self._repeated = 0
        self._stopped = False

    # -- what the engine is told --------------------------------------------------------

    def says(self, what: str, more: object, now: float) -> None:
        """Anything else."""
        self._touched, self._event = None, {}
        self.trace.add(now, what, more)

    def hears(self, src: str, key: bytes, text: str, now: float) -> None:
        """A peer's message."""
        self.says("hears", f"{src[:6]} {text}", now)
        self._src, self._key = src, key
        self._event = json.loads(text) if text.startswith("{") else {}
        self._verdicts, self._repeated = 0, self._engine.counts["repeated"]
        if self._event.get("event") == "http.upload.begin":
            self._told.begins(self._name)
        case = self.live.get(self._name)
        if case is not None:
            self._touched = case
            self._touch(case, src, now)
        elif self._kind == "cancel" and self._name not in self.latest:
            self._told.cancelled(self._name, now)

    def acknowledged(self, tag: int, number: int, now: float) -> None:
        """A frame arrived."""
        self.says("acked", (tag, number), now)
        case = self._touched = self.cases[tag]
        if case.known:
            self._listeners.add(case.dest)
        if case.live:
            case.acknowledged(number, now)

    def head(self, tag: int, status: int, headers: dict[str, str], now: float) -> None:
        """The upstream answers."""
        self.says("head", (tag, status, headers), now)
        case = self._touched = self.cases[tag]
        if case.live:
            case.status = status
            kind = headers.get("content-type", "")
            of_lines = kind in {"application/x-ndjson", "text/event-stream"}
            case.chunked = not of_lines and case.wish.stream not in events.LINE_WORDS
            if case.wish.stream:
                case.moved_at = now

    def data(self, tag: int, data: bytes, at: float) -> None:
        """Bytes of its body."""
        self.says("data", (tag, data), at)
        case = self._touched = self.cases[tag]
        if case.live:
            case.feed(data, at)

    def eof(self, tag: int, now: float) -> None:
        """The end of its body."""
        self.says("eof", tag, now)
        case = self._touched = self.cases[tag]
        case.finished = case.live

    def closed(self, tag: int, now: float) -> None:
        """Its worker is free."""
        self.says("closed", tag, now)
        self.cases[tag].closed = True
        self._ledger.closed(self.cases[tag])

    def stops(self, now: float) -> None:
        """The relay is to end."""
        self.says("stops", len(self.live), now)
        self._stopped = True

    def ticks(self, now: float, due: float | None) -> None:
        """It is woken up."""
        self.says("ticks", due, now)

    # -- what the engine wants ----------------------------------------------------------

    def command(self, command: Command, frame: dict[str, Any] | None, at: float) -> None:
        """One of its commands, in order."""
        match command:
            case Send():
                self.trace.add(at, "sends", command.text)
                self._sent(command, frame or {}, at)
            case Start(tag, request):
                self.trace.add(at, "starts", tag)
                one = self.cases[tag]
                self._ledger.started(one, at)
                one.started_at = one.moved_at = at
                right = request.body == one.wish.body
                check(
                    right,
                    "upload-body",
                    f"{(request.body or b'')[:40]!r}, not {(one.wish.body or b'')[:40]!r}",
                )
            case Abort(tag):
                self.trace.add(at, "aborts", tag)
            case Hold(tag, held):
                self.trace.add(at, "holds", (tag, held))
                one = self.cases[tag]
                one.moved_at = at if one.held and not held else one.moved_at
                one.held = held
            case Note():
                self._noted(command, at)

    def settled(self, at: float) -> None:
        """Its commands were carried out."""
        case = self._touched
        if case is not None and case.live:
            check(not (case.clear and case.ready), "clocked", f"lines of {case.tag} wait behind nothing")
            judging.hold(case)
        if self._event:
            self._check_verdict()
        check(not (self._stopped and self.live), "stop", f"{len(self.live)} go on")
        self._ledger.check()
        self._memory.check()
        if self.trace.last and self.trace.last[-1][1] == "ticks":
            due = self._engine.due_at()
            check(
                due is None or due > at - 1e-9 or due != self.trace.last[-1][2], "restless", f"due at {due}"
            )

    def over(self) -> None:
        """The world is at rest."""
        self._ledger.over(self.cases.values())
        self._memory.check(deep=True)
        self._memory.rest()

    # -- inside -------------------------------------------------------------------------

    @property
    def _name(self) -> Name:
        identifier = self._event.get("id", self._event.get("upload_id"))
        return self._key, identifier

    @property
    def _kind(self) -> str:
        return events.ALIASES.get(str(self._event.get("event", "")), "")

    def _touch(self, case: Case, src: str, now: float) -> None:
        """What a peer's message does to its request."""
        kind = self._kind
        if kind == "resume" or (kind == "http" and self._wish().same(case.wish)):
            case.move(src, now)
        elif kind == "missing":
            case.heard(now)
        elif kind == "ack":
            self._listeners.add(src)
            case.reached(self._event["seq"], now)

    def _wish(self) -> Wish:
        return self.uploads[self._name] if self._kind == "upload" else Wish.of(self._event.get("req", {}))

    def _noted(self, note: Note, at: float) -> None:
        self.trace.add(at, "notes", (note.event, sorted(note.fields.items(), key=str)))
        self._ledger.notes[note.event] += 1
        self._verdicts += note.event in {"request", "refused", "dropped"}
        if note.event == "request":
            self._admit(note.fields["tag"], at)

    def _admit(self, tag: int, at: float) -> None:
        name = self._name
        known = self.latest.get(name)
        old = known is None or (
            not known.live and (known.code == "busy" or at - (known.ended_at or 0) >= 299)
        )
        check(old, "executed-twice", f"{name[1]} as {tag}")
        self._told.admitted(name, at)
        answers = self._src in self._listeners
        manner = self._manner
        one = Case(tag, name, self._wish(), self._src, at, answers, manner.gone_s, manner.keepalive_s)
        self.cases[tag] = self.live[name] = self.latest[name] = one
        self._memory.begins(name)
        self._ledger.admitted(one, at)

    def _sent(self, command: Send, frame: dict[str, Any], at: float) -> None:
        judging.size(frame, command.text)
        if command.tag is not None:
            self._original(self.cases[command.tag], command, frame, at)
            return
        event, name = frame["event"], (_key_of(command.dest), frame.get("id"))
        if self._memory.holds(name, command.text):
            self._again(command, name, event)
        elif event == "relay.response.gone":
            self._memory.gone(self.latest.get(name), name in self.live, frame["missing"], at)
        elif event == "relay.response.keepalive":
            check(name in self.live, "after-end", "a keepalive of what does not run")
            judging.keepalive(self.live[name], frame, at, self._slack_s)
            self._ledger.check_place(self.live[name], frame)
        elif event in judging.TERMINAL:
            self._refused(name, frame, at)
        else:
            right = event in {"relay.pong", "relay.info"} or (event == "http.upload.missing" and name[1])
            check(right, "unknown-frame", command.text[:80])

    def _refused(self, name: Name, frame: dict[str, Any], at: float) -> None:
        """An end without a beginning is the answer to a request, or to pieces that never became one."""
        check(name not in self.live, "second-end", f"of {name[1]}, which runs")
        check(frame["ok"] is False, "second-end", f"{name[1]} is refused and ok")
        self._told.refused(name, self._kind if name == self._name else "", at)
        if self._kind == "upload" and name == self._name:
            judging.form(frame, self.uploads.get(name))

    def _original(self, case: Case, command: Send, frame: dict[str, Any], at: float) -> None:
        event = frame["event"]
        ends = event in judging.TERMINAL
        check(case.live, "second-end" if ends else "after-end", f"{event} of {case.tag}")
        check(command.dest == case.dest, "dest", f"{command.dest[:6]}, not {case.dest[:6]}")
        check(command.number == case.number + 1, "frame-number", f"{command.number} of {case.tag}")
        judging.times(case, str(frame.get("code", "ok")) if ends else "", at, self._slack_s)
        # What waited in the shell for its loop leaves now, whatever time it was told.
        first, last = judging.KINDS[event](case, frame, self._clock.now, self._slack_s)
        case.spoke(at, len(command.text), last)
        if event == "relay.response.keepalive":
            self._ledger.check_place(case, frame)
            return
        self._memory.keep(case.name, command.text, first, last)
        if ends:
            case.ended_at = at
            del self.live[case.name]
            self._told.ended(case.name, at)
            self._ledger.ended(case)

    def _again(self, command: Send, name: Name, event: str) -> None:
        check(command.effort is Effort.SPARE, "again-effort", event)
        check(command.dest == self._src, "again-dest", f"{command.dest[:6]}, not {self._src[:6]}")
        if self._kind == "missing":
            wanted = self._event["missing"]
            first, last = self._memory.span(name, command.text)
            check(
                any(first <= seq <= last for seq in wanted), "again-wrong", f"{first} to {last} for {wanted}"
            )

    def _check_verdict(self) -> None:
        kind, repeated = self._kind, self._engine.counts["repeated"] - self._repeated
        verdicts = self._verdicts + repeated
        if kind == "http":
            check(verdicts == 1, "ledger", f"{verdicts} verdicts on {self._event}")
        elif kind == "cancel":
            check(self._name not in self.live, "cancel", f"{self._name[1]} runs on")
        self._event = {}


def _key_of(dest: str) -> bytes:
    return bytes.fromhex(dest.rpartition(".")[2])
