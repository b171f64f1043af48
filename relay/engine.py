"""All exchanges of one relay: events in, commands out.

The one place that knows peers, admission and exchanges together. Pure: no clock, thread, socket or
logger, so that the whole relay can be run on paper. Owned by `pump`, which alone calls it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relay import frames
from relay.admission import Admission, Shares
from relay.answered import Answered, fingerprint
from relay.commands import Abort, Command, Effort, Gather, Note, Send, Start
from relay.exchange import Exchange, Manner, Out
from relay.inquiry import Inquiry
from relay.policy import Policy
from relay.retained import Name
from relay.station import Station
from wire import redact
from wire.deadlines import Deadlines
from wire.errors import Fault, bad_request, cancelled, internal, replayed, shutdown


@dataclass(slots=True)
class _Running:
    exchange: Exchange
    dest: str
    name: Name
    fingerprint: bytes
    busy: bool = False
    lazy: bool = False


class Engine:
    """The relay on paper.

    Attributes:
        counts: everything received, refused, dropped and answered, by reason.
        policy: the owner's rules.
    """

    def __init__(self, policy: Policy, shares: Shares, manner: Manner, station: Station) -> None:
        self.counts: Counter[str] = Counter()
        self.policy = policy
        self._manner = manner
        self._inquiry = Inquiry(policy, shares, manner, station)
        self._admission = Admission(shares)
        self._exchanges: dict[int, _Running] = {}
        self._due: Deadlines[int] = Deadlines()
        self._by_id: dict[Name, int] = {}
        self._answered = Answered(self.counts)
        self._tags = 0
        self._stopping = False

    # -- events -------------------------------------------------------------------------

    def message(self, src: str, key: bytes, data: str | bytes, now: float) -> list[Command]:
        """A sealed direct message of the owner of `key`, for the first time."""
        if not self.policy.knows(key):
            return self._drop("stranger", src)
        try:
            event = frames.read(data)
        except frames.NotAnEvent as reason:
            return self._drop(str(reason), src)
        self.counts[f"event_{event.kind}"] += 1
        return _HANDLERS[event.kind](self, src, (key, event.id), event, now)

    def head(self, tag: int, status: int, headers: Mapping[str, str], now: float) -> list[Command]:
        """The upstream answered."""
        note = Note("head", {"tag": tag, "status": status})
        return [note, *self._on(tag, lambda exchange: exchange.head(status, dict(headers), now), now)]

    def data(self, tag: int, data: bytes, now: float) -> list[Command]:
        """Bytes of the upstream's body."""
        return self._on(tag, lambda exchange: exchange.data(data, now), now)

    def eof(self, tag: int, now: float) -> list[Command]:
        """The upstream's body is complete."""
        return self._on(tag, lambda exchange: exchange.eof(now), now)

    def failed(self, tag: int, fault: Fault, now: float) -> list[Command]:
        """The upstream refused or broke off."""
        return self._on(tag, lambda exchange: exchange.fail(fault, now), now)

    def closed(self, tag: int, now: float) -> list[Command]:
        """The worker of this request is free again."""
        self._admission.release(tag)
        commands: list[Command] = []
        running = self._exchanges.get(tag)
        if running is not None:
            running.busy = False
            if not running.exchange.ended:
                commands += self.failed(tag, internal("the worker ended without a result"), now)
            self._exchanges.pop(tag, None)
        return [*commands, *self._start_next(now)]

    def acknowledged(self, tag: int, number: int, now: float) -> list[Command]:
        """A peer has a frame."""
        return self._on(tag, lambda exchange: exchange.acknowledged(number, now), now)

    def probed(self, services: Sequence[dict[str, Any]], now: float) -> list[Command]:
        """Every target was asked; each service is {name, ok, detail}."""
        return self._inquiry.probed(services, now)

    def advance(self, now: float) -> list[Command]:
        """Whatever the time that passed asks for."""
        commands: list[Command] = []
        self._answered.retained.advance(now)
        for tag in list(self._due.take(now)):
            running = self._exchanges[tag]
            position = self._admission.position(tag)
            commands += self._outs(tag, running, running.exchange.advance(now, position), now)
        return commands

    def due_at(self) -> float | None:
        """When `advance` has something to do."""
        times = [at for at in (self._due.earliest(), self._answered.retained.due_at()) if at is not None]
        return min(times, default=None)

    def stop(self, now: float) -> list[Command]:
        """Refuse what comes and end what runs."""
        self._stopping = True
        commands: list[Command] = []
        for tag in list(self._exchanges):
            commands += self._on(tag, lambda exchange: exchange.fail(shutdown(), now), now)
        return commands

    def statistics(self) -> dict[str, Any]:
        """A snapshot for people and metrics."""
        return {
            **self.counts,
            "running": self._admission.running,
            "waiting": self._admission.waiting,
            "peak_waiting": self._admission.peak_waiting,
            **self._answered.retained.statistics(),
        }

    # -- what peers ask -----------------------------------------------------------------

    def _inquire(self, src: str, _name: Name, event: frames.Event, now: float) -> list[Command]:
        answers = self._inquiry.answer(src, event, now)
        return self._drop("health_queue_full", src) if answers is None else answers

    def _cancel(self, src: str, name: Name, _event: frames.Event, now: float) -> list[Command]:
        tag = self._by_id.get(name)
        if tag is None:
            return self._drop("cancel_of_unknown_id", src)
        return self._on(tag, lambda exchange: exchange.fail(cancelled(), now), now)

    def _missing(self, src: str, name: Name, event: frames.Event, now: float) -> list[Command]:
        running = self._live(name)
        sent = [seq for seq in event.missing if running is None or running.exchange.has_sent(seq)]
        return self._answered.missing(src, name, sent, now)

    def _resume(self, src: str, name: Name, event: frames.Event, now: float) -> list[Command]:
        """The peer was away: it gets what it lacks, and what comes from now on goes to where it is."""
        running = self._live(name)
        commands = self._answered.after(src, name, event.have, now, running=running is not None)
        if running is not None:
            running.dest = src
            if running.exchange.request.stream.wanted:
                alive = running.exchange.alive(now, self._admission.position(self._by_id[name]))
                commands.append(Send(src, alive.text))
        return commands

    def _http(self, src: str, name: Name, event: frames.Event, now: float) -> list[Command]:
        stream = frames.stream_mode(event.req)
        try:
            if (first := self._first(name, now)) is not None:
                return self._repeated(src, name, event, first, now)
            tag = self._tags = self._tags + 1
            exchange = self._admit(tag, name, event, stream, now)
        except Fault as fault:
            return self._refuse(src, event, stream, fault)
        running = self._exchanges[tag] = _Running(exchange, src, name, fingerprint(exchange.request))
        self._settle(tag, running)
        self._by_id[name] = tag
        self._answered.retained.forget(name)
        request = exchange.request
        note = Note("request", {"tag": tag, "peer": redact.key(src), "method": request.method,
                                "path": redact.path(request.path), "service": request.service})  # fmt: skip
        return [note, *self._start(tag, now)] if self._admission.position(tag) is None else [note]

    def _repeated(self, src: str, name: Name, event: frames.Event, first: bytes, now: float) -> list[Command]:
        """A known id is never executed again; the same request is answered with what was sent already."""
        running = name in self._by_id
        if self._is_same(event, first) and (running or self._answered.retained.knows(name)):
            self.counts["repeated"] += 1
            return self._resume(src, name, replace(event, have=0), now)
        if running:  # a refusal would look like its end
            return self._drop("id_of_another_request", src)
        raise replayed("a request of this id was answered already; a new one needs a new id")

    def _admit(
        self, tag: int, name: Name, event: frames.Event, stream: frames.StreamMode, now: float
    ) -> Exchange:
        if event.fault is not None:
            raise event.fault
        if event.id is None:
            raise bad_request("id is missing; every request needs one of its own")
        if self._stopping:
            raise shutdown()
        request = self.policy.judge(event.req, stream)
        self._admission.admit(tag, name[0])
        return Exchange(event.id, request, self._manner, now)

    # -- inside -------------------------------------------------------------------------

    def _live(self, name: Name) -> _Running | None:
        return self._exchanges.get(self._by_id.get(name, 0))

    def _first(self, name: Name, now: float) -> bytes | None:
        """The fingerprint of the request that has this name already."""
        running = self._live(name)
        return running.fingerprint if running else self._answered.which(name, now)

    def _is_same(self, event: frames.Event, first: bytes) -> bool:
        try:
            return fingerprint(self.policy.judge(event.req, frames.stream_mode(event.req))) == first
        except Fault:
            return False

    def _on(self, tag: int, event: Callable[[Exchange], list[Out]], now: float) -> list[Command]:
        running = self._exchanges.get(tag)
        if running is None or running.exchange.ended:
            return []
        return self._outs(tag, running, event(running.exchange), now)

    def _outs(self, tag: int, running: _Running, outs: Sequence[Out], now: float) -> list[Command]:
        self._settle(tag, running)
        self._answered.keep(running.name, outs)
        commands: list[Command] = [Send(running.dest, out.text, tag, out.number, out.effort) for out in outs]
        if running.lazy is not running.exchange.gathering:
            running.lazy = not running.lazy
            commands.append(Gather(tag, running.lazy))
        if running.exchange.ended:
            commands += self._ended(tag, running, now)
        return commands

    def _settle(self, tag: int, running: _Running) -> None:
        """Note when it is due, after whatever happened to it."""
        due = running.exchange.due_at()
        if due is None:
            self._due.drop(tag)
        else:
            self._due.set(tag, due)

    def _ended(self, tag: int, running: _Running, now: float) -> list[Command]:
        fault = running.exchange.fault
        self._by_id.pop(running.name, None)
        self._answered.ended(running.name, running.fingerprint, fault, now)
        self.counts["ended_ok" if fault is None else f"ended_{fault.code}"] += 1
        note = Note("end", {"tag": tag, "code": fault.code if fault else "ok"})
        if running.busy:
            # Its worker reports when it is free; only then is the slot.
            return [note, Abort(tag)]
        del self._exchanges[tag]
        self._admission.withdraw(tag)
        return [note]

    def _start(self, tag: int, now: float) -> list[Command]:
        running = self._exchanges[tag]
        running.busy = True
        running.exchange.start(now)
        self._settle(tag, running)
        return [Start(tag, running.exchange.request)]

    def _start_next(self, now: float) -> list[Command]:
        commands: list[Command] = []
        while (tag := self._admission.next()) is not None:
            commands += self._start(tag, now)
        return commands

    def _refuse(
        self, src: str, event: frames.Event, stream: frames.StreamMode, fault: Fault
    ) -> list[Command]:
        self.counts[f"refused_{fault.code}"] += 1
        text = frames.refusal(event.id, fault, stream)
        note = Note(
            "refused", {"peer": redact.key(src), "code": fault.code, "why": redact.printable(fault.detail)}
        )
        return [Send(src, text, effort=Effort.SURE), note]

    def _drop(self, reason: str, src: str) -> list[Command]:
        self.counts[f"dropped_{reason}"] += 1
        return [Note("dropped", {"peer": redact.key(src), "reason": reason})]


_Handler = Callable[[Engine, str, Name, frames.Event, float], list[Command]]
_HANDLERS: dict[str, _Handler] = {
    **dict.fromkeys(("ping", "info", "health"), Engine._inquire),  # noqa: SLF001 - the table is part of it
    "cancel": Engine._cancel,  # noqa: SLF001
    "http": Engine._http,  # noqa: SLF001
    "missing": Engine._missing,  # noqa: SLF001
    "resume": Engine._resume,  # noqa: SLF001
}
