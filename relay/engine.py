"""All exchanges of one relay: events in, commands out.

The one place that knows peers, admission and exchanges together. Pure: no clock, thread, socket or
logger, so that the whole relay can be run on paper. Owned by `pump`, which alone calls it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay import frames
from relay.admission import Admission, Shares
from relay.answered import Answered
from relay.commands import Abort, Command, Effort, Gather, Note, Probe, Send, Start
from relay.exchange import Exchange, Manner, Out
from relay.policy import Policy
from relay.station import Station
from wire import redact
from wire.deadlines import Deadlines
from wire.errors import Fault, bad_request, cancelled, internal, replayed, shutdown


@dataclass(slots=True)
class _Running:
    exchange: Exchange
    dest: str
    key: bytes
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
        self._shares = shares
        self._manner = manner
        self._station = station
        self._admission = Admission(shares)
        self._exchanges: dict[int, _Running] = {}
        self._due: Deadlines[int] = Deadlines()
        self._by_id: dict[tuple[bytes, frames.RequestId], int] = {}
        self._answered = Answered()
        self._asking_health: list[tuple[str, frames.RequestId]] = []
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
        return _HANDLERS[event.kind](self, src, key, event, now)

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
        waiting, self._asking_health = self._asking_health, []
        ts, addr = self._ts(now), self._station.addr
        return [Send(dest, frames.health(identifier, ts, addr, services)) for dest, identifier in waiting]

    def advance(self, now: float) -> list[Command]:
        """Whatever the time that passed asks for."""
        commands: list[Command] = []
        for tag in list(self._due.take(now)):
            running = self._exchanges[tag]
            position = self._admission.position(tag)
            commands += self._outs(tag, running, running.exchange.advance(now, position), now)
        return commands

    def due_at(self) -> float | None:
        """When `advance` has something to do."""
        return self._due.earliest()

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
        }

    # -- what peers ask -----------------------------------------------------------------

    def _ping(self, src: str, _key: bytes, event: frames.Event, now: float) -> list[Command]:
        answer = Send(src, frames.pong(event, self._ts(now), self._station.addr))
        return [answer, Note("ping", {"peer": redact.key(src)})]

    def _info(self, src: str, _key: bytes, event: frames.Event, now: float) -> list[Command]:
        facts = self._station.facts(self.policy, self._shares, self._manner)
        answer = Send(src, frames.info(event.id, self._ts(now), self._station.addr, facts))
        return [answer, Note("info", {"peer": redact.key(src)})]

    def _health(self, src: str, _key: bytes, event: frames.Event, _now: float) -> list[Command]:
        if len(self._asking_health) >= self._shares.queue:
            return self._drop("health_queue_full", src)
        self._asking_health.append((src, event.id))
        if len(self._asking_health) > 1:
            return []
        return [Probe({name: str(origin) for name, origin in self.policy.targets.items()})]

    def _cancel(self, src: str, key: bytes, event: frames.Event, now: float) -> list[Command]:
        tag = self._by_id.get((key, event.id))
        if tag is None:
            return self._drop("cancel_of_unknown_id", src)
        return self._on(tag, lambda exchange: exchange.fail(cancelled(), now), now)

    def _http(self, src: str, key: bytes, event: frames.Event, now: float) -> list[Command]:
        if (key, event.id) in self._by_id:
            return self._drop("repeated_while_running", src)
        stream = frames.stream_mode(event.req)
        tag = self._tags = self._tags + 1
        try:
            exchange = self._admit(tag, key, event, stream, now)
        except Fault as fault:
            return self._refuse(src, event, stream, fault)
        running = self._exchanges[tag] = _Running(exchange, src, key)
        self._settle(tag, running)
        self._by_id[key, event.id] = tag
        request = exchange.request
        note = Note("request", {"tag": tag, "peer": redact.key(src), "method": request.method,
                                "path": redact.path(request.path), "service": request.service})  # fmt: skip
        return [note, *self._start(tag, now)] if self._admission.position(tag) is None else [note]

    def _admit(
        self, tag: int, key: bytes, event: frames.Event, stream: frames.StreamMode, now: float
    ) -> Exchange:
        if event.fault is not None:
            raise event.fault
        if event.id is None:
            raise bad_request("id is missing; every request needs one of its own")
        if self._stopping:
            raise shutdown()
        if self._answered.knows((key, event.id), now):
            raise replayed("a request of this id was answered already; a new one needs a new id")
        request = self.policy.judge(event.req, stream)
        self._admission.admit(tag, key)
        return Exchange(event.id, request, self._manner, now)

    # -- inside -------------------------------------------------------------------------

    def _on(self, tag: int, event: Callable[[Exchange], list[Out]], now: float) -> list[Command]:
        running = self._exchanges.get(tag)
        if running is None or running.exchange.ended:
            return []
        return self._outs(tag, running, event(running.exchange), now)

    def _outs(self, tag: int, running: _Running, outs: Sequence[Out], now: float) -> list[Command]:
        self._settle(tag, running)
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
        name = (running.key, running.exchange.identifier)
        self._by_id.pop(name, None)
        self._answered.remember(name, now)
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

    def _ts(self, now: float) -> int:
        return round((now + self._manner.epoch_s) * 1000)


_Handler = Callable[[Engine, str, bytes, frames.Event, float], list[Command]]
_HANDLERS: dict[str, _Handler] = {
    "ping": Engine._ping,  # noqa: SLF001 - the table is part of the class
    "info": Engine._info,  # noqa: SLF001
    "health": Engine._health,  # noqa: SLF001
    "cancel": Engine._cancel,  # noqa: SLF001
    "http": Engine._http,  # noqa: SLF001
}
