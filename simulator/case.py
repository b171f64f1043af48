"""One admitted request as its promises have it: kept beside the engine, by other means than its own."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

from relay import events
from simulator.trace import Violation
from wire import jsontext, limits

Name = tuple[bytes, object]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a peer asked for."""

    path: str
    stream: str | None
    body: bytes | None
    batch_ms: int
    timeout_s: float

    @classmethod
    def of(cls, req: dict[str, Any]) -> Wish:
        """Of a request that comes whole."""
        word = str(req.get("stream", "")).lower()
        return cls(
            path=req.get("path", "/"),
            stream=word if word in events.STREAM_WORDS else None,
            body=None if req.get("json") is None else jsontext.body(req["json"]),
            batch_ms=req.get("batch_ms", limits.BATCH_MS),
            timeout_s=req.get("timeout_ms", limits.TIMEOUT_MS) / 1000,
        )

    def same(self, other: Wish) -> bool:
        """Whether it is the same request; how long its peer waits does not matter."""
        return (self.path, self.stream, self.body) == (other.path, other.stream, other.body)


@dataclass(slots=True)
class Case:
    """What was said to and by the engine about one request.

    Attributes:
        dest: where its frames are to go.
        answers: whether its peer acknowledged anything yet.
        under_way: frame number → (when, bytes, highest seq); what was not acknowledged.
        finished: its body came to its end.
        clear: the last frame of the body arrived, or there is none.
        ready: (offset behind a line, when it came) of lines that were not sent.
    """

    tag: int
    name: Name
    wish: Wish
    dest: str
    admitted_at: float
    answers: bool
    gone_s: float
    keepalive_s: float
    started_at: float | None = None
    closed: bool = False
    ended_at: float | None = None
    code: str = ""
    status: int = 0
    chunked: bool = False
    finished: bool = False
    seq: int = 0
    lines: int = 0
    number: int = 0
    fed: bytearray = field(default_factory=bytearray)
    sent: bytearray = field(default_factory=bytearray)
    ready: deque[tuple[int, float]] = field(default_factory=deque)
    under_way: OrderedDict[int, tuple[float, int, int]] = field(default_factory=OrderedDict)
    under_way_b: int = 0
    held: bool = False
    clear: bool = True
    heard_at: float = 0.0
    moved_at: float = 0.0
    spoke_at: float = 0.0
    silence_s: float = 0.0

    def __post_init__(self) -> None:
        self.heard_at = self.moved_at = self.spoke_at = self.admitted_at
        self.silence_s = min(limits.KEEPALIVE_FIRST_S, self.keepalive_s)

    @property
    def live(self) -> bool:
        """Whether its terminal frame was not sent yet."""
        return self.ended_at is None

    @property
    def known(self) -> bool:
        """Whether the relay still has to do with it: it runs, or its worker does."""
        return self.live or (self.started_at is not None and not self.closed)

    @property
    def state(self) -> str:
        """As a keepalive says it."""
        if self.started_at is None:
            return "queued"
        return "generating" if self.status else "loading"

    def spoke(self, at: float, size: int, last: int) -> None:
        """A frame left."""
        self.spoke_at, self.silence_s = at, self.keepalive_s
        self.number += 1
        self.under_way[self.number] = at, size, last
        self.under_way_b += size

    def acknowledged(self, number: int, at: float) -> None:
        """Its peer's client has a frame."""
        self._drop(number)
        self.clear |= number >= self.number
        self.heard(at)

    def reached(self, seq: int, at: float) -> None:
        """Its peer has everything up to `seq`."""
        for number in [number for number, (_, _, last) in self.under_way.items() if 0 <= last <= seq]:
            self._drop(number)
        self.clear |= seq >= self.seq
        self.heard(at)

    def heard(self, at: float) -> None:
        """Its peer lives; what is under way for too long is lost."""
        self.answers, self.heard_at = True, at
        for number, (when, _, _) in list(self.under_way.items()):
            if at - when < self.gone_s:
                break
            self._drop(number)

    def move(self, dest: str, at: float) -> None:
        """Its peer said where it is."""
        if dest != self.dest:
            self.under_way.clear()
            self.under_way_b = 0
        self.dest = dest
        self.heard(at)

    def gone_at(self) -> float:
        """When its peer counts as gone."""
        if not self.answers or not self.under_way:
            return float("inf")
        oldest = next(iter(self.under_way.values()))[0]
        return max(self.heard_at + self.gone_s, oldest + self.gone_s / 2)

    def late_at(self) -> float:
        """When its upstream has been silent for too long."""
        if self.started_at is None:
            return self.admitted_at + limits.QUEUE_WAIT_S
        return float("inf") if self.held else self.moved_at + self.wish.timeout_s

    def feed(self, data: bytes, at: float) -> None:
        """Bytes of the body reach the engine."""
        start = len(self.fed)
        self.fed += data
        if not self.wish.stream:
            return
        self.moved_at = at
        if self.chunked:
            self.ready.append((len(self.fed), at))
            return
        place = data.find(b"\n")
        while place >= 0:
            self.ready.append((start + place + 1, at))
            place = data.find(b"\n", place + 1)

    def deliver(self, data: bytes, now: float, slack_s: float) -> None:
        """Content left: it is the upstream's, and none of it waited too long."""
        start, end = len(self.sent), len(self.sent) + len(data)
        self.sent += data
        unended = self.finished and self.fed[start:] + b"\n" == data
        if self.fed[start:end] != data and not unended:
            raise Violation(
                "content", f"at byte {start}: {data[:60]!r}, not {bytes(self.fed[start:end])[:60]!r}"
            )
        while self.ready and self.ready[0][0] <= end:
            came_at = self.ready.popleft()[1]
            if now - came_at > self.wish.batch_ms / 1000 + slack_s:
                raise Violation("batch-wait", f"a line of {self.tag} waited {now - came_at:.3f} s")

    def _drop(self, number: int) -> None:
        sent = self.under_way.pop(number, None)
        if sent is not None:
            self.under_way_b -= sent[1]
