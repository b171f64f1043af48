"""What befalls peers and paths in the first phase, and how it is all undone for the second."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from simulator.asking import Asking
from simulator.clock import Clock
from simulator.network import Network
from simulator.peer import Peer
from simulator.rates import Rates
from simulator.shell import Shell

_NOISE: tuple[dict[str, Any] | str, ...] = (
    "no JSON",
    "[]",
    {"event": "relay.selfprobe", "id": "i0"},
    {"event": "relay.ping", "id": "p"},
    {"event": "relay.info", "id": "p"},
    {"event": "relay.http", "req": {"path": "/api/chat"}},
    {"event": "relay.http", "id": "bad", "req": {"path": "/api/chat", "method": "POST", "timeout_ms": 0}},
    {"event": "relay.cancel", "id": "nobody"},
    {"event": "relay.resume", "id": "nobody", "have": 3},
    {"event": "relay.ack", "id": "nobody", "seq": 3},
    {"event": "relay.response.missing", "id": "nobody", "missing": [-1, 0, 5, 2**52]},
    {"event": "http.upload.end", "id": "nobody", "upload_id": "nobody", "total": 3},
    {
        "event": "http.upload.chunk",
        "id": "nobody",
        "upload_id": "nobody",
        "total": 3,
        "seq": 9,
        "b64": "AAAA",
    },
)
"""What peers say that means nothing, or nothing good."""


class Mishaps:
    """Of one world."""

    def __init__(
        self, clock: Clock, rng: Random, rates: Rates, net: Network, *, shell: Shell, faults_s: float
    ) -> None:
        self._clock, self._rng, self._rates = clock, rng, rates
        self._net, self._shell, self._faults_s = net, shell, faults_s

    def plan(self, peers: Sequence[Peer], asked: Sequence[tuple[Peer, Asking]]) -> None:
        """Draw all of them."""
        rng, rates = self._rng, self._rates
        for _ in range(int(rates.flaps * rng.random() + 0.5) if rates.flaps else 0):
            self._sometime(self._flap, rng.randrange(len(self._net.down_until)), 20 * rng.random() ** 2)
        if rates.clogs:
            self._clog_one_by_one(peers)
        for peer in peers:
            if rng.random() < rates.vanish:
                at_s = rng.choice((self._faults_s, 4.0)) * rng.random()
                self._clock.after(at_s, self._vanish, peer, rng.random() < 0.5)
            while rng.random() < rates.noise / 2:
                self._sometime(peer.say, rng.choice(_NOISE))
        if rng.random() < rates.stop:
            self._sometime(self._shell.stop)
        for peer, asking in asked:
            self._befall(peer, asking)
            while rng.random() < rates.noise / 2:
                self._sometime(self._strange, rng.choice((peer, peer, *peers)), asking)

    def calm(self, peers: Sequence[Peer]) -> None:
        """Every path is there, nobody is clogged."""
        for path, until in enumerate(self._net.down_until):
            if until > self._clock.now:
                self._up(path)
        for peer in peers:
            peer.place.clogged_until = 0.0

    def _sometime(self, act: object, *args: object) -> None:
        self._clock.after(self._faults_s * self._rng.random(), act, *args)  # type: ignore[arg-type]

    def _befall(self, peer: Peer, asking: Asking) -> None:
        rng, rates = self._rng, self._rates
        soon = 10 * rng.random() ** 2
        if rng.random() < rates.cancel:
            self._clock.after(soon, asking.cancel)
        if rng.random() < rates.move:
            self._clock.after(soon + rng.random(), self._move, peer, asking)
        if rng.random() < rates.repeat:
            self._clock.after(self._faults_s * rng.random() ** 2, self._repeat, asking)
        if rng.random() < rates.repeat / 4:
            self._clock.after(250 + 100 * rng.random(), self._repeat_late, asking)
        if rng.random() < rates.mixed:
            self._clock.after(soon / 4, asking.whole)

    def _strange(self, peer: Peer, asking: Asking) -> None:
        """Right words about a request, at any time and with any number."""
        seq = self._rng.choice((-1, 0, 1, 3, asking.reader.have, 10**6))
        more: dict[str, Any] = self._rng.choice(({"have": seq}, {"seq": seq}, {"missing": [seq, 0, -1, 1]}))
        kind = {"have": "relay.resume", "seq": "relay.ack", "missing": "relay.response.missing"}[
            next(iter(more))
        ]
        peer.say({"event": kind, "id": asking.identifier, **more})

    def _repeat(self, asking: Asking) -> None:
        if "json" in asking.req and self._rng.random() < self._rates.changed:
            asking.whole(json={"model": "m", "prompt": "another"})
        else:
            asking.ask()

    def _repeat_late(self, asking: Asking) -> None:
        """Long after, when it may be executed again; so it must be over for its peer."""
        if asking.over:
            self._repeat(asking)

    def _move(self, peer: Peer, asking: Asking) -> None:
        peer.move(self._rng.randrange(2))
        if not asking.over:
            asking.resume()

    def _clog_one_by_one(self, peers: Sequence[Peer]) -> None:
        """Each in its turn, and free again in any order."""
        at = self._clock.now + self._faults_s * self._rng.random() / 2
        for peer in peers[: 1 + int(self._rates.clogs)]:
            at += self._rng.random()
            self._clock.at(at, self._clog, peer, at + 35 * self._rng.random() ** 2)

    def _clog(self, peer: Peer, until: float) -> None:
        peer.place.clogged_until = until

    def _flap(self, path: int, seconds: float) -> None:
        if self._rates.is_calm:
            return
        until = self._net.down_until[path] = self._clock.now + seconds
        self._clock.at(until, self._up_again, path, until)

    def _up_again(self, path: int, until: float) -> None:
        if self._net.down_until[path] == until:
            self._up(path)

    def _up(self, path: int) -> None:
        self._net.down_until[path] = 0.0
        self._shell.path_changed(path)

    def _vanish(self, peer: Peer, for_good: bool) -> None:  # noqa: FBT001
        peer.leave(gone=True)
        if not for_good:
            self._clock.after(60 * self._rng.random() ** 2, self._return, peer)

    def _return(self, peer: Peer) -> None:
        peer.leave(gone=False)
        peer.move(self._rng.randrange(2))
        for asking in peer.asked.values():
            if not asking.over and asking.manners.careful:
                asking.resume()
