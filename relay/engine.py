"""The whole relay on paper: what peers say and what happens in, commands out.

The one place that knows peers, admission and exchanges together. Pure: no clock, thread, socket or
logger, so that the whole relay can be run on paper. Owned by `pump`, which alone calls it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from relay import events, frames
from relay.admission import Admission, Shares
from relay.answered import Answered, fingerprint
from relay.commands import Command, Effort, Note, Send
from relay.events import RequestId
from relay.exchange import Exchange
from relay.inquiry import Inquiry
from relay.manner import Manner
from relay.policy import Policy, UpstreamRequest
from relay.quotas import Quotas
from relay.retained import Name
from relay.rights import Rights
from relay.runs import Glimpse, Runs
from relay.station import Station
from relay.uploads import Lost, Uploads
from wire import limits, redact
from wire.errors import Fault, bad_request, cancelled, replayed, shutdown
from wire.window import Window


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
        self._answered = Answered(self.counts)
        self._runs = Runs(self._admission, self._answered, self.counts, self._used)
        self._uploads = Uploads()
        self._quotas = Quotas()
        self._cancelled: Window[bytes, RequestId, bool] = Window(limits.CANCELS_MAX, limits.CANCELS_TTL_S)
        self._tags = 0
        self._stopping = False

    # -- events -------------------------------------------------------------------------

    def message(self, src: str, key: bytes, data: str | bytes, now: float) -> list[Command]:
        """A sealed direct message of the owner of `key`, for the first time."""
        if not self.policy.knows(key):
            return self._drop("stranger", src)
        try:
            event = events.read(data)
        except events.NotAnEvent as reason:
            return self._drop(str(reason), src)
        self.counts[f"event_{event.kind}"] += 1
        return _HANDLERS[event.kind](self, src, (key, event.id), event, now)

    def head(self, tag: int, status: int, headers: Mapping[str, str], now: float) -> list[Command]:
        """The upstream answered."""
        note = Note("head", {"tag": tag, "status": status})
        return [note, *self._runs.on(tag, lambda exchange: exchange.head(status, dict(headers), now), now)]

    def data(self, tag: int, data: bytes, now: float) -> list[Command]:
        """Bytes of the upstream's body."""
        return self._runs.on(tag, lambda exchange: exchange.data(data, now), now)

    def eof(self, tag: int, now: float) -> list[Command]:
        """The upstream's body is complete."""
        return self._runs.on(tag, lambda exchange: exchange.eof(now), now)

    def failed(self, tag: int, fault: Fault, now: float) -> list[Command]:
        """The upstream refused or broke off."""
        return self._runs.on(tag, lambda exchange: exchange.fail(fault, now), now)

    def closed(self, tag: int, now: float) -> list[Command]:
        """The worker of this request is free again."""
        return self._runs.closed(tag, now)

    def acknowledged(self, tag: int, number: int, now: float) -> list[Command]:
        """A peer has a frame."""
        return self._runs.acknowledged(tag, number, now)

    def probed(self, services: Sequence[dict[str, Any]], now: float) -> list[Command]:
        """Every target was asked; each service is {name, ok, detail}."""
        return self._inquiry.probed(services, now)

    def advance(self, now: float) -> list[Command]:
        """Whatever the time that passed asks for."""
        self._answered.retained.advance(now)
        commands = self._runs.advance(now)
        for news in self._uploads.advance(now):
            if isinstance(news, Lost):
                commands += self._refuse(news.src, news.name, events.stream_mode(news.req), news.fault)
            else:
                text = frames.upload_missing(news.name[1], news.upload, news.missing)
                commands.append(Send(news.src, text))
        return commands

    def due_at(self) -> float | None:
        """When `advance` has something to do."""
        wanted = (self._runs.due_at(), self._answered.retained.due_at(), self._uploads.due_at())
        return min((at for at in wanted if at is not None), default=None)

    def tidy(self, now: float) -> None:
        """Forget ids that are too old; wanted now and then, also while nothing happens."""
        self._answered.tidy(now)
        self._uploads.tidy(now)
        self._cancelled.forget(now)

    def stop(self, now: float) -> list[Command]:
        """Refuse what comes and end what runs."""
        self._stopping = True
        return self._runs.stop(now)

    def statistics(self) -> dict[str, Any]:
        """A snapshot for people and metrics."""
        return {
            **self.counts,
            "running": self._admission.running,
            "waiting": self._admission.waiting,
            "peak_waiting": self._admission.peak_waiting,
            "uploads": len(self._uploads),
            "uploads_b": self._uploads.size,
            "ids": len(self._answered) + len(self._cancelled) + self._uploads.over,
            **self._answered.retained.statistics(),
        }

    def running(self) -> list[Glimpse]:
        """Requests that run or wait, for people."""
        return self._runs.glimpses()

    # -- what peers ask -----------------------------------------------------------------

    def _inquire(self, src: str, _name: Name, event: events.Event, now: float) -> list[Command]:
        answers = self._inquiry.answer(src, event, now)
        return self._drop("health_queue_full", src) if answers is None else answers

    def _cancel(self, src: str, name: Name, _event: events.Event, now: float) -> list[Command]:
        """End it, wherever it is: running, on its way in pieces, or not here yet."""
        if (tag := self._runs.tag(name)) is not None:
            return self._runs.on(tag, lambda exchange: exchange.fail(cancelled(), now), now)
        req = self._uploads.asked(name)
        self._uploads.forget(name, now)
        if name[1] is not None and self._answered.which(name, now) is None:
            self._cancelled.put(*name, True, now)
        if req:
            return self._refuse(src, name, events.stream_mode(req), cancelled())
        return self._drop("cancel_of_unknown_id", src)

    def _ack(self, src: str, name: Name, event: events.Event, now: float) -> list[Command]:
        tag = self._runs.tag(name)
        if tag is None:
            return []  # it ended meanwhile
        self._runs.listens(src)
        return self._runs.on(tag, lambda exchange: exchange.reached(event.seq, now), now)

    def _missing(self, src: str, name: Name, event: events.Event, now: float) -> list[Command]:
        run = self._runs.named(name)
        sent = [seq for seq in event.missing if run is None or run.exchange.has_sent(seq)]
        return [*self._runs.heard(name, now), *self._answered.missing(src, name, sent, now)]

    def _resume(self, src: str, name: Name, event: events.Event, now: float) -> list[Command]:
        """The peer was away: it gets what it lacks, and what comes from now on goes to where it is."""
        tag = self._runs.tag(name)
        commands = self._answered.after(src, name, event.have, now, running=tag is not None)
        return commands if tag is None else [*commands, *self._runs.moved(tag, src, now)]

    def _upload(self, src: str, name: Name, event: events.Event, now: float) -> list[Command]:
        """A request in pieces; the last of them makes it a request as any other."""
        if self._first(name, now) is not None:
            return self._drop("upload_repeated", src)
        if event.part.req is None and self._cancelled.get(*name, now):
            return self._drop("upload_cancelled", src)
        req = event.part.req or self._uploads.asked(name)
        try:
            self._check_id(name, event, now)
            whole = self._uploads.take(src, name, event.part, now)
        except Fault as fault:
            return self._refuse(src, name, events.stream_mode(req), fault)
        if whole is None:
            return []
        return self._ask(src, name, replace(event, req=whole.req, body=whole.body), now)

    def _ask(self, src: str, name: Name, event: events.Event, now: float) -> list[Command]:
        stream = events.stream_mode(event.req)
        self._uploads.forget(name, now)  # it came whole; what comes of its pieces is passed over
        try:
            if (first := self._first(name, now)) is not None:
                return self._repeated(src, name, event, first, now)
            tag = self._tags = self._tags + 1
            exchange = self._admit(tag, src, name, event, now)
        except Fault as fault:
            return self._refuse(src, name, stream, fault)
        request = exchange.request
        note = Note("request", {"tag": tag, "peer": redact.key(src), "method": request.method,
                                "path": redact.path(request.path), "service": request.service})  # fmt: skip
        return [note, *self._runs.open(tag, src, name, exchange, now)]

    def _repeated(self, src: str, name: Name, event: events.Event, first: bytes, now: float) -> list[Command]:
        """A known id is never executed again; the same request is answered with what was sent already."""
        running = self._runs.tag(name) is not None
        if self._is_same(name, event, first) and (running or self._answered.retained.knows(name)):
            self.counts["repeated"] += 1
            return self._resume(src, name, replace(event, have=0), now)
        if running:  # a refusal would look like its end
            return self._drop("id_of_another_request", src)
        raise replayed("a request of this id was answered already; a new one needs a new id")

    def _admit(self, tag: int, src: str, name: Name, event: events.Event, now: float) -> Exchange:
        self._check_id(name, event, now)
        if self._stopping:
            raise shutdown()
        rights = self.policy.rights(name[0]) or Rights()
        request = self._judge(name, event)
        self._quotas.check(name[0], rights, now)
        self._admission.admit(tag, name[0], rights)
        self._quotas.begun(name[0], rights)
        return Exchange(event.id, request, self._manner, now, answers=self._runs.is_listener(src))

    # -- inside -------------------------------------------------------------------------

    def _check_id(self, name: Name, event: events.Event, now: float) -> None:
        """A request has an id, and was not cancelled before it came: messages overtake each other."""
        if event.fault is not None:
            raise event.fault
        if event.id is None:
            raise bad_request("id is missing; every request needs one of its own")
        if self._cancelled.get(*name, now):
            raise cancelled()

    def _judge(self, name: Name, event: events.Event) -> UpstreamRequest:
        rights = self.policy.rights(name[0]) or Rights()
        return self.policy.judge(event.req, events.stream_mode(event.req), event.body, rights)

    def _used(self, key: bytes, tokens: int) -> None:
        self._quotas.used(key, self.policy.rights(key) or Rights(), tokens)

    def _first(self, name: Name, now: float) -> bytes | None:
        """The fingerprint of the request that has this name already."""
        run = self._runs.named(name)
        return run.fingerprint if run else self._answered.which(name, now)

    def _is_same(self, name: Name, event: events.Event, first: bytes) -> bool:
        try:
            return fingerprint(self._judge(name, event)) == first
        except Fault:
            return False

    def _refuse(self, src: str, name: Name, stream: events.StreamMode, fault: Fault) -> list[Command]:
        self.counts[f"refused_{fault.code}"] += 1
        text = frames.refusal(name[1], fault, stream)
        note = Note(
            "refused", {"peer": redact.key(src), "code": fault.code, "why": redact.printable(fault.detail)}
        )
        return [Send(src, text, effort=Effort.SURE), note]

    def _drop(self, reason: str, src: str) -> list[Command]:
        self.counts[f"dropped_{reason}"] += 1
        return [Note("dropped", {"peer": redact.key(src), "reason": reason})]


_Handler = Callable[[Engine, str, Name, events.Event, float], list[Command]]
_HANDLERS: dict[str, _Handler] = {
    **dict.fromkeys(("ping", "info", "health"), Engine._inquire),  # noqa: SLF001 - the table is part of it
    "ack": Engine._ack,  # noqa: SLF001
    "cancel": Engine._cancel,  # noqa: SLF001
    "http": Engine._ask,  # noqa: SLF001
    "missing": Engine._missing,  # noqa: SLF001
    "resume": Engine._resume,  # noqa: SLF001
    "upload": Engine._upload,  # noqa: SLF001
}
