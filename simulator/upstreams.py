"""What stands behind the relay, and the workers that ask it: bodies cut anywhere, ends of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from relay.policy import UpstreamRequest
from simulator.clock import Clock
from simulator.rates import Rates
from wire.errors import Fault, upstream_broke, upstream_refused

NDJSON, SSE, BYTES, JSON = (
    "application/x-ndjson",
    "text/event-stream",
    "application/octet-stream",
    "application/json",
)


_WORDS = (b"\xc3\xa4", b"a", b'\\"', b"\xe2\x80\xa8", b"\r", b"\x00\x1b", b"\xf0\x9f\x98\x80", b"</s>")
"""What tests an encoder."""


class Ears(Protocol):
    """Where a worker reports."""

    def head(self, tag: int, status: int, headers: dict[str, str]) -> None:
        """Status and headers came."""

    def data(self, tag: int, data: bytes) -> None:
        """Bytes of the body came."""

    def eof(self, tag: int) -> None:
        """The body is complete."""

    def failed(self, tag: int, fault: Fault) -> None:
        """It ends here."""

    def closed(self, tag: int) -> None:
        """The worker is free; always the last."""


@dataclass(slots=True)
class Plan:
    """What one request meets.

    Attributes:
        ends: "eof", "reset", "hang", "death", or "refused" before any head.
        reads: the body as it is read, with the pause before each.
    """

    ends: str
    status: int = 200
    kind: str = NDJSON
    reads: list[tuple[float, bytes]] = field(default_factory=list)


def plan(rng: Random, rates: Rates, request: UpstreamRequest, pace_s: float) -> Plan:
    """Draw one."""
    ends = "eof"
    for other in ("hang", "reset", "death"):
        if rng.random() < getattr(rates, other):
            ends = other
    if ends == "reset" and rng.random() < 0.3:
        return Plan("refused")
    kind = _kind(rng, request)
    made = Plan(ends, rng.choice((400, 404, 500)) if rng.random() < rates.status else 200, kind)
    body = _body(rng, rates, kind)
    if rng.random() < rates.half:
        body = body[: rng.randrange(len(body) + 1)]
    made.reads = _cut(rng, rates, body, pace_s)
    return made


def _kind(rng: Random, request: UpstreamRequest) -> str:
    if request.path.startswith("/v1/"):
        return SSE
    if request.path == "/api/tags" or not request.stream.wanted:
        return rng.choice((JSON, BYTES))
    return BYTES if rng.random() < 0.1 else NDJSON


def _body(rng: Random, rates: Rates, kind: str) -> bytes:
    if kind in {JSON, BYTES}:
        return b'{"models":["' + b"m" * int(rng.expovariate(0.005)) + b'"]}'
    lines = _lines(rng, kind)
    if rng.random() < rates.wide:
        lines = [line.replace(b" ", b" " * rng.randrange(400), 1) for line in lines]
    if rng.random() < rates.garbled:
        lines[rng.randrange(len(lines))] = b"\xff\xfe not text"
    if rng.random() < rates.long:
        lines[rng.randrange(len(lines))] = b'{"response":"' + b"x" * rng.randrange(6000) + b'"}'
    if rng.random() >= rates.unmarked:
        lines += [b"data: [DONE]", b""] if kind == SSE else [b'{"done":true,"eval_count":3}']
    last = b"" if rng.random() < 0.15 else b"\n"
    return b"\n".join(lines) + last


def _lines(rng: Random, kind: str) -> list[bytes]:
    count = 1 + min(70, int(rng.expovariate(0.2 if rng.random() < 0.8 else 0.03)))
    if kind == SSE:
        return [line for index in range(count) for line in (b'data: {"t":"%d"}' % index, b"")]
    return [b'{"response":"%s %d"}' % (_WORDS[index % len(_WORDS)], index) for index in range(count)]


def _cut(rng: Random, rates: Rates, body: bytes, pace_s: float) -> list[tuple[float, bytes]]:
    """At line ends, anywhere, or not at all."""
    style = rng.random()
    if style < 0.55:
        parts = body.splitlines(keepends=True)
    elif style < 0.8:
        places = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(8)))
        parts = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    else:
        parts = [body]
    return [(_pause(rng, rates, pace_s), part) for part in parts if part]


def _pause(rng: Random, rates: Rates, pace_s: float) -> float:
    if rates.stall and rng.random() < rates.stall:
        return 30 * rng.random() ** 2
    return pace_s * rng.random()


class Worker:
    """One that runs: reads unless it is held, stops soon after it is told to."""

    def __init__(self, clock: Clock, rng: Random, rates: Rates, *, ears: Ears, tag: int, made: Plan) -> None:
        self._clock, self._rng, self._rates = clock, rng, rates
        self._ears, self._tag, self._plan = ears, tag, made
        self._next = 0
        self._held = self._waits = self._aborted = False
        clock.after(0.02 * rng.random(), self._begin)

    def abort(self) -> None:
        """Close the connection; a read that came before may still be reported."""
        if not self._aborted:
            self._aborted = True
            self._clock.after(0.03 * self._rng.random() ** 2, self._close)

    def hold(self, *, held: bool) -> None:
        """Before its next read."""
        self._held = held
        if not held and self._waits:
            self._waits = False
            self._soon()

    def _begin(self) -> None:
        made = self._plan
        if self._aborted:
            return
        if made.ends == "refused":
            self._ears.failed(self._tag, upstream_refused("nobody is there"))
            self._close()
        elif made.ends == "death" and self._rng.random() < 0.3:
            self._close()
        elif made.ends != "hang" or self._rng.random() < 0.6:
            self._ears.head(self._tag, made.status, {"content-type": made.kind})
            self._soon()

    def _soon(self) -> None:
        if self._held:
            self._waits = True
            return
        reads = self._plan.reads
        pause_s = reads[self._next][0] if self._next < len(reads) else 0.001
        self._clock.after(min(pause_s, 0.01) if self._rates.is_calm else pause_s, self._read)

    def _read(self) -> None:
        if self._aborted and (self._closed or self._rng.random() < 0.5):
            return
        if self._next < len(self._plan.reads):
            self._ears.data(self._tag, self._plan.reads[self._next][1])
            self._next += 1
            self._soon()
            return
        if self._aborted or self._plan.ends == "hang":
            return
        if self._plan.ends == "eof":
            self._ears.eof(self._tag)
        elif self._plan.ends == "reset":
            self._ears.failed(self._tag, upstream_broke("it broke off"))
        self._close()

    _closed = False

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._ears.closed(self._tag)
