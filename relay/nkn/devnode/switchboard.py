"""Acts on the core's steps: queues frames for sockets, late, twice or not at all as the faults have it.

Shell: owns the links of one node and looks after them; opened and closed by `server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from relay.nkn.devnode import steps as do
from relay.nkn.devnode.core import NodeCore
from relay.nkn.devnode.faults import Dice, Faults
from relay.nkn.devnode.link import Link, NodeConnection
from relay.nkn.devnode.liveness import Due
from relay.nkn.devnode.registry import Session


class Switchboard:
    """The sockets of one node.

    Args:
        mind: decides; its steps are acted on here.
        dice: chance for the fates of frames.
        report: takes one line about a client that did something wrong.
    """

    def __init__(self, mind: NodeCore, dice: Dice, report: Callable[[str], None]) -> None:
        self._mind = mind
        self._dice = dice
        self._report = report
        self._links: dict[int, Link] = {}
        self._calm = True
        self._faults = Faults()
        self._pushed_at = 0.0
        self.thawed = asyncio.Event()
        self.thawed.set()

    @property
    def queued_b(self) -> int:
        """Bytes waiting for all clients together."""
        return sum(link.queued_b for link in self._links.values())

    def renew(self, faults: Faults) -> None:
        """Take other faults; what is under way already keeps its fate."""
        was_frozen, self._faults, self._calm = self._faults.frozen, faults, faults.calm
        if faults.mute:
            self._silence()
        if faults.frozen == was_frozen:
            return
        (self.thawed.clear if faults.frozen else self.thawed.set)()
        for link in self._links.values():
            link.freeze(frozen=faults.frozen)

    def open(self, connection: NodeConnection, *, tls: bool) -> Link:
        """A client's websocket was accepted."""
        session, steps = self._mind.open(tls=tls)
        link = Link(connection, session, self.thawed)
        self._links[session.number] = link
        self.act(steps)
        return link

    def text(self, link: Link, text: str) -> None:
        """A text frame was read."""
        link.heard()
        self.act(self._mind.text(link.session, text))

    def binary(self, link: Link, frame: bytes) -> None:
        """A binary frame was read."""
        link.heard()
        if self._worn_out(link):
            return
        self.act(self._mind.binary(link.session, frame))

    def close(self, link: Link) -> None:
        """The socket is gone."""
        self._links.pop(link.session.number, None)
        self._mind.close(link.session)

    def cut_all(self) -> None:
        """End all connections, as a node does that is stopped."""
        for link in self._links.values():
            link.cut()

    def act(self, steps: Iterable[do.Step]) -> None:
        """Do what the core decided."""
        for step in steps:
            match step:
                case do.Forward(owner, parcel):
                    owner.take(parcel)
                case do.Deliver(session, frame, path):
                    self._deliver(session, frame, path)
                case do.Write(session, text):
                    self._hand(session.number, text)
                case do.Cut(session, after_s):
                    asyncio.get_running_loop().call_later(after_s, self._cut, session.number)
                case do.Report(line):
                    self._report(line)

    def look(self, now: float) -> None:
        """Ping, drop the silent, cut those whose time has come; called ten times a second."""
        if self._faults.frozen:
            return
        if self._faults.mute:
            self._silence()
        for link in list(self._links.values()):
            if link.look(now) is Due.DROP:
                self._mind.counts["silent_dropped"] += 1
                link.cut()
            elif self._faults.cut_every_s and now >= link.born_at + self._faults.cut_every_s:
                self._mind.counts["cuts"] += 1
                link.cut()
        every_s = self._faults.wrong_node_push_s
        if every_s and now >= self._pushed_at + every_s:
            self._pushed_at = now
            self.act(self._mind.push_all())

    def _deliver(self, session: Session, frame: bytes, path: int) -> None:
        if self._calm:
            self._hand(session.number, frame)
            return
        delays = self._faults.fate(path, self._dice)
        self._mind.counts["lost"] += not delays
        self._mind.counts["duplicated"] += len(delays) > 1
        for delay in delays:
            if delay:
                asyncio.get_running_loop().call_later(delay, self._hand, session.number, frame)
            else:
                self._hand(session.number, frame)

    def _hand(self, number: int, frame: str | bytes) -> None:
        link = self._links.get(number)
        if link is None:
            self._mind.counts["gone_meanwhile"] += 1
            return
        if isinstance(frame, bytes):
            if self._worn_out(link):
                return
            self._mind.counts["delivered"] += 1
        if not link.put(frame):
            self._mind.counts["slow_dropped"] += 1
            self._report(f"dropped socket {number}: its client does not read what waits for it")

    def _worn_out(self, link: Link) -> bool:
        link.frames += 1
        if not self._faults.cut_after_frames or link.frames <= self._faults.cut_after_frames:
            return False
        self._mind.counts["cuts"] += 1
        link.cut()
        return True

    def _cut(self, number: int) -> None:
        if number in self._links:
            self._links[number].cut()

    def _silence(self) -> None:
        for link in self._links.values():
            if link.session.address:
                link.silence()
