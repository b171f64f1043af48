"""The development node: a loopback NKN node for SDKs, tests and demonstrations.

    async with DevNode() as node:
        client = Client(seed, rpc=[node.rpc_url])

What it is stays the same when it stops and starts again: key, place on the ring, ports. What it holds in
memory is a `life`'s. Shell; used by tests, and by `command` for `python -m relay devnode`.
"""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.life import Life, Setup
from relay.nkn.devnode.registry import EVERY, Choice
from relay.nkn.devnode.remote import Remote
from relay.nkn.devnode.ring import Place, Ring
from relay.nkn.devnode.times import Times
from relay.nkn.identity import Identity

_ANY = {"0.0.0.0", "::", ""}


class DevNode:
    """One node; enter it to start, leave it to stop.

    Args:
        host: what to listen on.
        rpc_port: 0 takes a free one, as for the others.
        wss_port: None has no TLS; else a self-signed certificate is made.
        control_port: HTTP on loopback to set the faults from outside; None has none.
        strict: verify all that is signed, drop what is wrong and say so.
        faults: what goes wrong; may be replaced at any time: `node.faults = replace(node.faults, loss=0.1)`.
        times: a real node's seconds, or shorter ones.
        block_s: seconds between block hashes, whatever `times` say; 0 is never.
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
        control_port: int | None = None,
        *,
        strict: bool = True,
        faults: Faults | None = None,
        times: Times | None = None,
        block_s: float | None = None,
        seed: int | None = None,
        ring: Ring | None = None,
        node_id: bytes | None = None,
        advertise: str = "",
    ) -> None:
        dice = random.Random(seed)  # noqa: S311 - chance of faults; keys come from it only if a seed is wanted
        entropy = os.urandom if seed is None else dice.randbytes
        key = Identity(entropy(32)).public_key
        self._place = Place(node_id or hashlib.sha256(key).digest(), key, "", "", "")
        self.ring = ring or Ring(entropy)
        self._faults = faults or Faults()
        times = times or Times()
        if block_s is not None:
            times = times.every(block_s)
        told = advertise or ("127.0.0.1" if host in _ANY else host)
        self._setup = Setup(host, told, (rpc_port, ws_port, wss_port), times, strict, dice, entropy)
        self._remote = None if control_port is None else Remote([self], control_port)
        self._life = Life(self._setup, self.ring, self._place)
        self._running = False
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
        await self.up()
        if self._remote is not None:
            try:
                await self._remote.start()
            except OSError:
                await self.down()
                raise

    async def stop(self) -> None:
        """Leave the ring, end all connections without a word, close the ports."""
        if self._remote is not None:
            await self._remote.stop()
        await self.down()

    async def up(self) -> None:
        """Start, or start again on the same ports, all but the control port; raises what `start` raises."""
        if self._running:
            return
        self._certify()
        self._life = Life(self._setup, self.ring, self._place)
        self._life.renew(self._faults)
        self._setup = replace(self._setup, ports=await self._life.start())
        self._running = True

    async def down(self) -> None:
        """Stop as a node that is killed: held messages are gone; the control port stays."""
        if self._running:
            self._running = False
            await self._life.stop()

    # -- what callers see ---------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it is up."""
        return self._running

    @property
    def place(self) -> Place:
        """Where this node is; its addresses are empty before the start."""
        return self._life.place

    @property
    def rpc_url(self) -> str:
        """`http://host:port` of JSON-RPC, for the SDKs' `rpcServerAddr`."""
        return f"http://{self.place.rpc}"

    @property
    def ws_url(self) -> str:
        """`ws://host:port` of the websocket."""
        return f"ws://{self.place.ws}"

    @property
    def wss_url(self) -> str:
        """`wss://host:port`, or empty."""
        return f"wss://{self.place.wss}" if self.place.wss else ""

    @property
    def control_url(self) -> str:
        """`http://127.0.0.1:port` of the control port, or empty."""
        return self._remote.url if self._remote else ""

    @property
    def times(self) -> Times:
        """Its clocks."""
        return self._setup.times

    @property
    def faults(self) -> Faults:
        """What goes wrong now."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        self._life.renew(faults)

    def statistics(self) -> dict[str, int]:
        """Counters since the start, and what is there now."""
        core, board = self._life.core, self._life.board
        return {
            **core.counts,
            "sockets": len(core.registry),
            "clients": len(core.registry.registered()),
            "holding": len(core.holding),
            "holding_b": core.holding.held_b,
            "queued_b": sum(link.queued_b for link in board.links.values()),
        }

    def clients(self) -> list[dict[str, Any]]:
        """The sockets: number, address, whether TLS, age, bytes that wait, whether silenced."""
        return self._life.clients()

    def cut(self, choice: Choice = EVERY) -> int:
        """End connections now, all or some; clients come back. Returns how many."""
        return self._life.cut(choice)

    def push_wrong_node(self, choice: Choice = EVERY) -> int:
        """Tell clients now to go to another node of the ring, or to come again if there is none."""
        return self._life.push(choice)

    def make_block(self) -> None:
        """A new block hash now, for the whole ring."""
        self.ring.make_block()

    def _certify(self) -> None:
        if self._setup.ports[2] is not None and not self.certificate_pem:
            from relay.nkn.devnode import certificate

            context, self.certificate_pem = certificate.make(self._setup.told)
            self._setup = replace(self._setup, context=context)
