"""One world: everything in it drawn from one seed, run with faults, then without, and judged.

safety   │ up to a minute and a half in which everything may go wrong
liveness │ the faults stop: every stream ends within its time-out or the peer's, and 30 s; whoever asks for
         │ what it lacks has all of it
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from random import Random
from typing import Any

from relay.admission import Shares
from relay.engine import Engine
from relay.manner import Manner
from relay.parcel import Parcel
from relay.policy import Policy
from relay.rights import EVERYBODY, Quota, Register, Rights
from relay.station import Station
from simulator import knobs
from simulator.asking import Asking, Manners
from simulator.book import Book
from simulator.case import Case, Wish
from simulator.clock import Clock
from simulator.judging import check
from simulator.mishaps import Mishaps
from simulator.network import Network, Place
from simulator.peer import Habits, Peer
from simulator.rates import Rates
from simulator.shell import Shell
from simulator.trace import Trace, Violation
from wire import jsontext
from wire.origin import Origin

GRACE_S = 30.0
_REST_S = 400.0
_CROWDS = ((0.35, 1, 1), (0.4, 2, 4), (0.2, 5, 12), (0.05, 13, 64))
"""(in how many worlds, streams from, to)."""
_REFUSALS = {"shutdown", "replayed", "busy", "upload_incomplete", "bad_request", "denied"}
_PATHS = ("/api/generate", "/api/generate", "/api/chat", "/v1/chat/completions", "/api/tags")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a world went.

    Attributes:
        digest: of all its events.
        violation: the promise that was broken, or None.
        last: its last events in words.
    """

    seed: int
    digest: str
    violation: Violation | None
    last: list[str]
    streams: int
    virtual_s: float


class World:
    """Made by a seed."""

    def __init__(self, seed: int, *, whole: bool = False) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)
        self.clock, self.trace, self.rates = Clock(), Trace(whole=whole), Rates.draw(rng)
        self.limits, rooms = knobs.draw(rng)
        self.limits["UPLOAD_CHUNK_B"] = rng.choice((40, 150, 600))
        late_s = rng.choice((0.0, 0.0, 0.001, 0.02, 0.3))
        workers = rng.choice((1, 2, 2, 4, 8))
        shares = Shares(workers, rng.randint(1, workers), rng.choice((2, 8, 64)))
        self.manner = Manner(rng.choice((1.0, 3.0, 10.0, 10.0)), rng.choice((300, 100_000)), 0.0)
        policy = Policy({"ollama": Origin.parse("http://127.0.0.1:11434")}, register=self._register())
        self.engine = Engine(policy, shares, self.manner, Station("r", "0"))
        knobs.rooms(self.engine._answered.retained, self.engine._uploads, rooms)
        paths = rng.choice((1, 2, 2, 3))
        self.net = Network(self.clock, rng, self.rates, paths)
        self.book = Book(self.engine, shares, self.manner, self.trace, clock=self.clock, late_s=late_s)
        self.shell = Shell(
            self.engine, self.book, clock=self.clock, rng=rng, rates=self.rates, net=self.net, late_s=late_s
        )
        self.shell.pace_s = rng.choice((0.0, 0.02, 0.1, 0.5))
        self.peers = [self._peer(number, paths) for number in range(rng.randint(1, 8))]
        self.asked: list[tuple[Peer, Asking]] = []
        self.faults_s = rng.choice((8.0, 20.0, 45.0, 90.0))
        self.longest_s = 0.0
        self._ask_all()
        self.mishaps = Mishaps(
            self.clock, rng, self.rates, self.net, shell=self.shell, faults_s=self.faults_s
        )
        self.mishaps.plan(self.peers, self.asked)

    def run(self) -> Outcome:
        """Let it all happen."""
        violation = None
        with knobs.small(self.limits):
            try:
                self._live()
            except Violation as found:
                violation = found
            except Exception as error:  # noqa: BLE001 - a relay that raises broke every promise
                where = traceback.extract_tb(error.__traceback__)[-1]
                violation = Violation("raised", f"{error!r} in {where.name}, {where.filename}:{where.lineno}")
        virtual_s = self.clock.now - 1000.0
        words = self.trace.words()
        return Outcome(self.seed, self.trace.digest(), violation, words, len(self.asked), virtual_s)

    def _live(self) -> None:
        self.clock.run(1000.0 + self.faults_s)
        self.rates.calm()
        self.mishaps.calm(self.peers)
        self.clock.run(1000.0 + self.faults_s + _REST_S)
        self._judge(1000.0 + self.faults_s)

    def _register(self) -> Register:
        """Rights of some keys, in some worlds."""
        rng = self.rng
        if rng.random() < 0.75:
            return EVERYBODY
        peers = {}
        for number in range(rng.randint(1, 4)):
            quota = Quota(rng.randint(1, 5), rng.choice((5, 60)), "some")
            peers[bytes([number + 1]) * 32] = Rights(
                running=rng.choice((None, 1, 2)),
                queued=rng.choice((None, 0, 1, 3)),
                requests=quota if rng.random() < 0.5 else None,
            )
        return Register(peers)

    # -- who asks what ------------------------------------------------------------------

    def _peer(self, number: int, paths: int) -> Peer:
        rng, rates = self.rng, self.rates
        key = bytes([number + 1]) * 32
        plain = rng.random() < 0.3
        places = [Place(f"{number}{name}.{key.hex()}", key, 1 if plain else paths) for name in "ab"]
        slow = rng.random() < rates.slow
        habits = Habits(
            mute=rng.random() < rates.mute,
            ack_s=5 * rng.random() ** 2 if slow else 0.0,
            says=rng.random() < rates.acks,
        )
        return Peer(self.clock, self.net, self.shell, places, habits)

    def _ask_all(self) -> None:
        rng = self.rng
        crowd, kind = rng.random(), 0
        while crowd > _CROWDS[kind][0] and kind < len(_CROWDS) - 1:
            crowd -= _CROWDS[kind][0]
            kind += 1
        burst_s = rng.choice((0.0, 0.5, 5.0))
        with knobs.small(self.limits):
            for _ in range(rng.randint(*_CROWDS[kind][1:])):
                peer = rng.choice(self.peers)
                asking = self._ask(peer, f"i{len(peer.asked)}")
                self.clock.after(burst_s * rng.random(), asking.begin)

    def _ask(self, peer: Peer, identifier: str) -> Asking:
        rng, rates = self.rng, self.rates
        timeout_ms = rng.choice((1500, 4000, 20_000, 90_000))
        self.longest_s = max(self.longest_s, timeout_ms / 1000)
        path = "/api/pull" if rng.random() < rates.refused else rng.choice(_PATHS)
        req: dict[str, Any] = {"path": path, "timeout_ms": timeout_ms, "method": "POST"}
        if rng.random() >= rates.alone:
            req["stream"] = rng.choice(("chunks", "chunks", "lines"))
        if rng.random() < 0.3:
            req["batch_ms"] = rng.choice((0, 10, 40))
        parcel = None
        if path == "/api/tags":
            req["method"] = "GET"
        elif rng.random() < rates.upload:
            parcel = self._parcel(peer, identifier, req)
        else:
            req["json"] = {"model": "m", "prompt": identifier}
        says = peer.habits.says
        manners = Manners(rng.random() >= rates.asked, rng.random() < 0.7, says)
        asking = Asking(self.clock, peer.say, identifier, req, parcel=parcel, manners=manners)
        peer.asked[identifier] = asking
        self.asked.append((peer, asking))
        return asking

    def _parcel(self, peer: Peer, identifier: str, req: dict[str, Any]) -> Parcel:
        words = "".join(chr(97 + index % 26) for index in range(int(self.rng.expovariate(0.003))))
        body = jsontext.body({"model": "m", "prompt": words})
        wish = Wish(req["path"], req.get("stream"), body, req.get("batch_ms", 80), req["timeout_ms"] / 1000)
        self.book.uploads[peer.key, identifier] = wish
        return Parcel(identifier, req, body)

    # -- how it ended -------------------------------------------------------------------

    def _judge(self, calm_at: float) -> None:
        for case in self.book.cases.values():
            self._judge_case(case, calm_at)
        self.book.over()
        check(self.shell.at_rest, "left-over", "frames are under way")
        for peer, asking in self.asked:
            if not peer.gone:
                self._judge_asking(peer, asking)

    def _judge_case(self, case: Case, calm_at: float) -> None:
        check(case.ended_at is not None, "never-ended", f"{case.tag}, {case.name[1]}")
        took_s = (case.ended_at or 0.0) - max(calm_at, case.admitted_at)
        most_s = max(self.longest_s, self.manner.gone_s) + GRACE_S
        check(took_s <= most_s, "ended-late", f"{case.tag} took {took_s:.1f} s of {most_s:.1f}")

    def _judge_asking(self, peer: Peer, asking: Asking) -> None:
        reader, manners = asking.reader, asking.manners
        if manners.careful and manners.patient:
            done = asking.over or asking.is_lost
            check(done, "peer-lacks", f"{asking.identifier} has {reader.have}, lacks {reader.missing()[:9]}")
        name = peer.key, asking.identifier
        cases = [case for case in self.book.cases.values() if case.name == name and case.wish.stream]
        if not cases or not reader.complete or reader.end is None:
            return
        told = str(reader.end.get("code", "ok"))
        if told not in _REFUSALS:
            right = any(told == case.code and asking.got == case.sent for case in cases)
            check(right, "peer-content", f"{asking.identifier}: {told}, {len(asking.got)} bytes")


def run(seed: int, *, whole: bool = False) -> Outcome:
    """Make a world and run it."""
    return World(seed, whole=whole).run()
