"""Acts on the core's steps: queues frames for sockets, late, twice or not at all as the faults have it.

Shell: owns the links of one node and looks after them; fed by `door` and `life`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from relay.nkn.devnode import steps as do
from relay.nkn.devnode import wsframes as ws
from relay.nkn.devnode.core import NodeCore
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.httpserver import Conversation
from relay.nkn.devnode.link import Link
from relay.nkn.devnode.liveness import Due
from relay.nkn.devnode.registry import Session
from relay.nkn.devnode.ring import Member, Parcel
from relay.nkn.devnode.shuffle import Dice, lateness
from relay.nkn.devnode.standstill import Standstill
from relay.nkn.devnode.times import Times


class Switchboard:
    """The sockets of one node.

    Args:
        mind: decides; its steps are acted on here.
        dice: chance for the fates of frames.
        report: takes one line about a client that did something wrong.

    Attributes:
        faults: what goes wrong now; `renew` replaces them.
        links: by the number of their session.
        thawed: cleared while the node is frozen.
    """

    def __init__(self, mind: NodeCore, dice: Dice, report: Callable[[str], None], times: Times) -> None:
        self._mind = mind
        self._dice = dice
        self._report = report
        self._times = times
        self._pushed_at = 0.0
        self._under_way = 0
        self._standstill = Standstill()
        self.faults = Faults()
        self.links: dict[int, Link] = {}
        self.thawed = asyncio.Event()
        self.thawed.set()

    @property
    def counts(self) -> Counter[str]:
        """The node's counters."""
        return self._mind.counts

    def renew(self, faults: Faults) -> None:
        """Take other faults; what is under way already keeps its fate."""
        self.faults = faults
        (self.thawed.clear if faults.frozen else self.thawed.set)()
        for link in self.links.values():
            self._conduct(link)

    async def awake(self) -> None:
        """Wait until the node takes connections."""
        await self.thawed.wait()
        await self._standstill.over()

    def open(self, talk: Conversation, *, tls: bool) -> Link:
        """A client's connection became a websocket."""
        session, steps = self._mind.open(tls=tls)
        link = Link(talk, session, self.thawed, self._times)
        self.links[session.number] = link
        self.act(steps)
        return link

    def take(self, link: Link, message: ws.Message) -> None:
        """A message was read."""
        if message.is_text:
            text = message.data.decode(errors="replace")
            self._standstill.later(lambda: self._text(link, text))
        elif not self._worn_out(link):
            self.act(self._mind.binary(link.session, message.data))

    def close(self, link: Link) -> None:
        """The socket is gone."""
        self.links.pop(link.session.number, None)
        self._mind.close(link.session)

    def stop(self) -> None:
        """End all connections, as a node does that is stopped."""
        self._standstill.end()
        self.thawed.set()
        for link in self.links.values():
            link.cut()

    def announce(self) -> None:
        """Tell every socket the newest block hash."""
        stuck = [link for link in self.links.values() if link.writing] if self.faults.freeze_at_block else []
        if stuck:
            self.counts["standstills"] += 1
        self._standstill.begin(link.settled() for link in stuck)
        self._standstill.later(lambda: self.act(self._mind.announce_block()))

    def act(self, steps: Iterable[do.Step]) -> None:
        """Do what the core decided."""
        for step in steps:
            match step:
                case do.Forward(owner, parcel):
                    self._forward(owner, parcel)
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
        if self.faults.frozen:
            return
        for link in list(self.links.values()):
            self._conduct(link)
            if link.look(now) is Due.DROP:
                self.counts["silent_dropped"] += 1
                link.cut()
            elif self.faults.cut_every_s and now >= link.born_at + self.faults.cut_every_s:
                self._wear(link)
        every_s = self.faults.wrong_node_push_s
        if every_s and now >= self._pushed_at + every_s:
            self._pushed_at = now
            self.act(self._mind.push(self._mind.registry.registered()))

    def _text(self, link: Link, text: str) -> None:
        self.act(self._mind.text(link.session, text))
        self._conduct(link)

    def _conduct(self, link: Link) -> None:
        """What the faults say about a single client."""
        faults, session = self.faults, link.session
        concerned = bool(session.address) and faults.concern(session.address)
        link.uplink_bps = faults.uplink_bps if concerned else 0.0
        link.downlink_bps = faults.downlink_bps if concerned else 0.0
        if faults.mute and concerned and not link.silenced:
            link.silence()

    def _forward(self, owner: Member, parcel: Parcel) -> None:
        late = lateness(self.faults.shuffle, self._under_way, self._dice)
        if not late:
            self._pass(owner, parcel)
            return
        self._under_way += 1
        asyncio.get_running_loop().call_later(late, self._arrive, owner, parcel)

    def _arrive(self, owner: Member, parcel: Parcel) -> None:
        self._under_way -= 1
        self._pass(owner, parcel)

    def _pass(self, owner: Member, parcel: Parcel) -> None:
        if owner is self._mind.view.me:
            self.act(self._mind.take(parcel, asyncio.get_running_loop().time()))
        else:
            owner.take(parcel)

    def _deliver(self, session: Session, frame: bytes, path: int) -> None:
        if self.faults.calm or not self.faults.concern(session.address):
            self._hand(session.number, frame)
            return
        delays = self.faults.fate(path, self._dice)
        self.counts["lost"] += not delays
        self.counts["duplicated"] += len(delays) > 1
        for delay in delays:
            if delay:
                asyncio.get_running_loop().call_later(delay, self._hand, session.number, frame)
            else:
                self._hand(session.number, frame)

    def _hand(self, number: int, frame: str | bytes) -> None:
        self._standstill.later(lambda: self._put(number, frame))

    def _put(self, number: int, frame: str | bytes) -> None:
        link = self.links.get(number)
        if link is None:
            self.counts["gone_meanwhile"] += 1
            return
        if isinstance(frame, bytes):
            if self._worn_out(link):
                return
            self.counts["delivered"] += 1
        if not link.put(frame):
            self.counts["slow_dropped"] += 1
            self._report(f"dropped socket {number}: its client does not read what waits for it")

    def _worn_out(self, link: Link) -> bool:
        link.frames += 1
        if not self.faults.cut_after_frames or link.frames <= self.faults.cut_after_frames:
            return False
        return self._wear(link)

    def _wear(self, link: Link) -> bool:
        if not self.faults.concern(link.session.address):
            return False
        self.counts["cuts"] += 1
        link.cut()
        return True

    def _cut(self, number: int) -> None:
        if number in self.links:
            self.links[number].cut()
