"""The development node: a loopback NKN node for SDKs, tests and demonstrations.

    async with DevNode() as node:
        client = Client(seed, rpc=[node.rpc_url])

Owns the ports and the timers; `core` decides, `switchboard` moves the frames, `faults` says what goes wrong.
Shell; used by tests, and by `command` for `python -m relay devnode`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
from functools import partial
from types import TracebackType
from typing import Self

import websockets.asyncio.server as websocket
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from relay.nkn.devnode import limits as own
from relay.nkn.devnode import rpc
from relay.nkn.devnode.core import NodeCore
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.link import Link, NodeConnection
from relay.nkn.devnode.ports import Ports
from relay.nkn.devnode.ring import Parcel, Place, Ring
from relay.nkn.devnode.switchboard import Switchboard
from relay.nkn.identity import Identity

log = logging.getLogger("relay.nkn.devnode")
_ANY = {"0.0.0.0", "::", ""}


class DevNode:
    """One node; enter it to start, leave it to stop.

    Args:
        host: what to listen on.
        rpc_port: 0 takes a free one, as for the others.
        wss_port: None has no TLS; else a self-signed certificate is made.
        strict: verify all that is signed, drop what is wrong and say so.
        faults: what goes wrong; may be replaced at any time: `node.faults = replace(node.faults, loss=0.1)`.
        block_s: seconds between block hashes; 0 is never.
        seed: makes keys and chance the same in each run.
        ring: nodes with the same ring share its addresses; None is a ring of one.
        node_id: 32 bytes, the place on the ring; None derives it from the node's key.
        advertise: the host that clients are told, if it is not the one listened on.

    Attributes:
        certificate_pem: what wss clients must trust, empty without wss.
        ring: see above.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        rpc_port: int = 0,
        ws_port: int = 0,
        wss_port: int | None = None,
        *,
        strict: bool = True,
        faults: Faults | None = None,
        block_s: float = own.BLOCK_S,
        seed: int | None = None,
        ring: Ring | None = None,
        node_id: bytes | None = None,
        advertise: str = "",
    ) -> None:
        self._wanted = (rpc_port, ws_port, wss_port)
        self._told = advertise or ("127.0.0.1" if host in _ANY else host)
        self._block_s = block_s
        dice = random.Random(seed)  # noqa: S311 - chance of faults; keys come from it only if a seed is wanted
        entropy = os.urandom if seed is None else dice.randbytes
        key = Identity(entropy(32)).public_key
        self._place = Place(node_id or hashlib.sha256(key).digest(), key, "", "", "")
        self.ring = ring or Ring(entropy)
        self._faults = faults or Faults()
        self._core = NodeCore(self, self.ring, entropy=entropy, strict=strict)
        self._board = Switchboard(self._core, dice, partial(log.warning, "dev node %s"))
        self._rpc_failed = 0
        self._ports = Ports(host)
        self._timers: list[asyncio.Task[None]] = []
        self.certificate_pem = b""

    # -- life ---------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the ports and join the ring.

        Raises:
            PortTaken: if a port cannot be opened; none stays open then.
            ValueError: if the ring has a node with this id.
        """
        self.faults = self._faults
        try:
            await self._open_ports()
            self.ring.join(self)
        except (OSError, ValueError):
            await self._ports.stop()
            raise
        await self._ports.start()
        self._timers = [asyncio.create_task(self._look_after()), asyncio.create_task(self._make_blocks())]

    async def stop(self) -> None:
        """Leave the ring, end all connections without a word, close the ports."""
        self.ring.leave(self)
        for timer in self._timers:
            timer.cancel()
        ends = await asyncio.gather(*self._timers, return_exceptions=True)
        self._board.thawed.set()
        self._board.cut_all()
        await self._ports.stop()
        self._timers = []
        for end in ends:
            if isinstance(end, Exception):  # a cancelled timer is none
                raise end

    # -- what callers see ---------------------------------------------------------------

    @property
    def rpc_url(self) -> str:
        """`http://host:port` of JSON-RPC, for the SDKs' `rpcServerAddr`."""
        return f"http://{self._place.rpc}"

    @property
    def ws_url(self) -> str:
        """`ws://host:port` of the websocket."""
        return f"ws://{self._place.ws}"

    @property
    def wss_url(self) -> str:
        """`wss://host:port`, or empty."""
        return f"wss://{self._place.wss}" if self._place.wss else ""

    @property
    def faults(self) -> Faults:
        """What goes wrong now."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        self._rpc_failed = 0
        self._core.renew(faults)
        self._board.renew(faults)

    def statistics(self) -> dict[str, int]:
        """Counters since the start, and what is there now."""
        return {
            **self._core.counts,
            "sockets": len(self._core.registry),
            "clients": len(self._core.registry.registered()),
            "holding": len(self._core.holding),
            "holding_b": self._core.holding.held_b,
            "queued_b": self._board.queued_b,
        }

    def cut(self) -> None:
        """End all connections now; clients come back."""
        self._board.cut_all()

    def push_wrong_node(self) -> None:
        """Tell all clients now to go to another node of the ring, or to come again if there is none."""
        self._board.act(self._core.push_all())

    # -- what other nodes see (ring.Member) -----------------------------------------------

    @property
    def place(self) -> Place:
        """Where this node is; its addresses are empty before the start."""
        return self._place

    def take(self, parcel: Parcel) -> None:
        """Deliver or hold a message that this node owns."""
        self._board.act(self._core.take(parcel, asyncio.get_running_loop().time()))

    def ring_changed(self) -> None:
        """A node came or went."""
        self._board.act(self._core.rehome())

    def block_made(self) -> None:
        """There is a new block hash."""
        self._board.act(self._core.announce_block())

    # -- connections --------------------------------------------------------------------

    async def _open_ports(self) -> None:
        rpc_port, ws_port, wss_port = self._wanted
        rpc_at = self._at(await self._ports.rpc(rpc_port, self._answer_rpc))
        ws_at = self._at(await self._ports.websocket(ws_port, self._serve, self._admit))
        wss_at = ""
        if wss_port is not None:
            from relay.nkn.devnode import certificate

            context, self.certificate_pem = certificate.make(self._told)
            wss_at = self._at(await self._ports.websocket(wss_port, self._serve, self._admit, context))
        self._place = Place(self._place.id, self._place.public_key, ws_at, wss_at, rpc_at)

    async def _admit(self, _: websocket.ServerConnection, __: Request) -> None:
        await self._board.thawed.wait()

    async def _serve(self, connection: websocket.ServerConnection, *, tls: bool) -> None:
        assert isinstance(connection, NodeConnection)  # noqa: S101 - create_connection says so
        link = self._board.open(connection, tls=tls)
        writer = asyncio.create_task(link.write())
        try:
            await self._read(link, connection)
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("dev node: a fault of the node itself")
            raise
        finally:
            self._board.close(link)
            writer.cancel()

    async def _read(self, link: Link, connection: NodeConnection) -> None:
        thawed = self._board.thawed
        async for frame in connection:
            if not thawed.is_set():
                await thawed.wait()
            if isinstance(frame, bytes):
                self._board.binary(link, frame)
            else:
                self._board.text(link, frame)

    async def _answer_rpc(self, method: str, body: bytes) -> rpc.Answer | None:
        self._core.counts["rpc"] += 1
        await self._board.thawed.wait()
        kind, most = self._faults.rpc_failure, self._faults.rpc_failures
        if kind and (not most or self._rpc_failed < most):
            self._rpc_failed += 1
            self._core.counts["rpc_failed"] += 1
            if kind == "refuse":
                return None
            if kind != "slow":
                return rpc.failure(kind)
            await asyncio.sleep(own.RPC_SLOW_S)
        return rpc.Office(self.ring, self._place).answer(method, body)

    # -- timers -------------------------------------------------------------------------

    async def _look_after(self) -> None:
        loop = asyncio.get_running_loop()
        rehomed_at = loop.time()
        while True:
            await asyncio.sleep(own.TICK_S)
            now = loop.time()
            self._board.look(now)
            self._core.purge(now)
            if now >= rehomed_at + own.REHOME_S:
                rehomed_at = now
                self.ring_changed()

    async def _make_blocks(self) -> None:
        while self._block_s > 0:
            await asyncio.sleep(self._block_s)
            if self.ring.leads(self) and not self._faults.frozen:
                self.ring.make_block()

    def _at(self, port: int) -> str:
        return f"[{self._told}]:{port}" if ":" in self._told else f"{self._told}:{port}"
