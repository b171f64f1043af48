"""One life of a node, from its start to its stop: what it holds in memory ends with it.

Owns the ports and the timers; `core` decides, `switchboard` moves the frames, `desk` answers RPC.
Shell; made by `server` for each start, a member of the ring while it lasts.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from relay.nkn.devnode import limits as own
from relay.nkn.devnode.core import NodeCore
from relay.nkn.devnode.desk import Desk
from relay.nkn.devnode.door import Door
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.httpserver import Conversation, answer_once
from relay.nkn.devnode.link import Link
from relay.nkn.devnode.ports import Ports
from relay.nkn.devnode.registry import Choice
from relay.nkn.devnode.ring import Parcel, Place, Ring
from relay.nkn.devnode.switchboard import Switchboard
from relay.nkn.devnode.times import Times

log = logging.getLogger("relay.nkn.devnode")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a node is, whether it runs or not.

    Attributes:
        host: what it listens on.
        told: the host that clients are told.
        ports: of JSON-RPC, ws and wss; 0 is a free one, None is no wss.
        context: for wss, None without.
    """

    host: str
    told: str
    ports: tuple[int, int, int | None]
    times: Times
    strict: bool
    dice: random.Random
    entropy: Callable[[int], bytes]
    context: ssl.SSLContext | None = None


class Life:
    """A running node.

    Attributes:
        core: what it knows and decides.
        board: its sockets.
    """

    def __init__(self, setup: Setup, ring: Ring, place: Place) -> None:
        self._setup = setup
        self._ring = ring
        self._place = place
        self._ports = Ports(setup.host)
        self._timers: list[asyncio.Task[None]] = []
        self._running = False
        self._frozen_at: float | None = None
        self.core = NodeCore(
            self,
            ring,
            entropy=setup.entropy,
            chance=setup.dice.random,
            strict=setup.strict,
            times=setup.times,
        )
        self.board = Switchboard(self.core, setup.dice, partial(log.warning, "dev node %s"), setup.times)
        self._desk = Desk(self.core.view, self.core.counts, self.board.thawed, setup.times)

    async def start(self) -> tuple[int, int, int | None]:
        """Open the ports and join the ring; return the ports.

        Raises:
            PortTaken: if a port cannot be opened; none stays open then.
            ValueError: if the ring has a node with this id.
        """
        try:
            ports = await self._open()
            self._ring.join(self)
        except (OSError, ValueError):
            await self._ports.stop()
            raise
        self._running = True
        await self._ports.start()
        self._timers = [asyncio.create_task(self._look_after()), asyncio.create_task(self._make_blocks())]
        return ports

    async def stop(self) -> None:
        """Leave the ring, end all connections without a word, close the ports."""
        self._running = False
        self._ring.leave(self)
        for timer in self._timers:
            timer.cancel()
        ends = await asyncio.gather(*self._timers, return_exceptions=True)
        self.board.stop()
        await self._ports.stop()
        for end in ends:
            if isinstance(end, Exception):  # a cancelled timer is none
                raise end

    def renew(self, faults: Faults) -> None:
        """Take other faults."""
        if not faults.frozen and self._frozen_at is not None:
            self._frozen_at = None
            if self._running and self not in self._ring.members:
                self._ring.join(self)
        self.core.renew(faults)
        self.board.renew(faults)
        self._desk.renew(faults)

    def clients(self) -> list[dict[str, Any]]:
        """The sockets: number, address, whether TLS, age, bytes that wait, whether written to no more."""
        now = asyncio.get_running_loop().time()
        return [_described(link, now) for link in self.board.links.values()]

    def cut(self, choice: Choice) -> int:
        """End connections; return how many."""
        links = [link for link in self.board.links.values() if choice.holds(link.session)]
        for link in links:
            link.cut()
        return len(links)

    def push(self, choice: Choice) -> int:
        """Tell registered clients to go elsewhere; return how many."""
        sessions = [session for session in self.core.registry.registered() if choice.holds(session)]
        self.board.act(self.core.push(sessions))
        return len(sessions)

    # -- what other nodes see (ring.Member) -----------------------------------------------

    @property
    def place(self) -> Place:
        """Where this node is; its addresses are empty before the start."""
        return self._place

    @property
    def frozen(self) -> bool:
        """Whether it answers nothing just now."""
        return self.board.faults.frozen

    def take(self, parcel: Parcel) -> None:
        """Deliver or hold a message that this node owns; one that comes to a frozen node is lost."""
        if self.frozen or not self._running:
            self.core.counts["lost_here"] += 1
            return
        self.board.act(self.core.take(parcel, asyncio.get_running_loop().time()))

    def ring_changed(self) -> None:
        """A node came or went."""
        self._desk.ring_changed()
        if not self.frozen:
            self.board.act(self.core.rehome())

    def block_made(self) -> None:
        """There is a new block hash."""
        if not self.frozen:
            self.board.announce()

    # -- ports and timers -----------------------------------------------------------------

    async def _open(self) -> tuple[int, int, int | None]:
        rpc_port, ws_port, wss_port = self._setup.ports
        door = Door(self.board)
        rpc_port = await self._ports.open("rpc_port", rpc_port, self._serve_rpc)
        ws_port = await self._ports.open("ws_port", ws_port, partial(door.serve, tls=False))
        wss_at = ""
        if wss_port is not None:
            serve = partial(door.serve, tls=True)
            wss_port = await self._ports.open("wss_port", wss_port, serve, self._setup.context)
            wss_at = self._at(wss_port)
        self._place = replace(self._place, ws=self._at(ws_port), wss=wss_at, rpc=self._at(rpc_port))
        return rpc_port, ws_port, wss_port

    async def _serve_rpc(self, talk: Conversation) -> None:
        await answer_once(talk, self._desk.answer, self._setup.times.rpc_read_s)

    async def _look_after(self) -> None:
        loop = asyncio.get_running_loop()
        rehomed_at = loop.time()
        while True:
            await asyncio.sleep(own.TICK_S)
            now = loop.time()
            if self.frozen:
                self._lie_frozen(now)
                continue
            self.board.look(now)
            self.board.act(self.core.advance(now))
            if now >= rehomed_at + self._setup.times.rehome_s:
                rehomed_at = now
                self.ring_changed()

    def _lie_frozen(self, now: float) -> None:
        """The others of a ring find out after a while."""
        self._frozen_at = self._frozen_at or now
        if now >= self._frozen_at + self._setup.times.frozen_leave_s and len(self._ring.members) > 1:
            self._ring.leave(self)

    async def _make_blocks(self) -> None:
        times, chain = self._setup.times, self._ring.chain
        while times.block_s > 0:
            await asyncio.sleep(times.block_s if chain.height else times.first_block_s)
            if not chain.receipted and chain.height >= own.FIRST_BLOCKS:
                await asyncio.sleep(max(0.0, times.idle_block_s - times.block_s))
            if self._ring.leads(self) and not self.frozen:
                self._ring.make_block()

    def _at(self, port: int) -> str:
        told = self._setup.told
        return f"[{told}]:{port}" if ":" in told else f"{told}:{port}"


def _described(link: Link, now: float) -> dict[str, Any]:
    return {
        "socket": link.session.number,
        "address": link.session.address,
        "tls": link.session.tls,
        "age_s": round(now - link.born_at, 3),
        "queued_b": link.queued_b,
        "silenced": link.silenced,
    }
