"""Who owns an address: the nodes of a toy network on their ring, and the chain of blocks they share.

The owner of an address is the node with the greatest id that is not above the address's id (SHA-256 of the
address), wrapping around: a node owns from its own id up to its successor's. One place decides, so that
RPC answers, wrong-node answers, pushes and routing agree.
Pure; shared by the nodes of one process, each of which joins when it starts and leaves when it stops.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relay.nkn import address
from relay.nkn.devnode import limits


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is reached.

    Attributes:
        id: its 32-byte place on the ring.
        public_key: 32 bytes; clients sign it into each message they hand to this node.
        ws, wss, rpc: `host:port`; empty if there is none.
    """

    id: bytes
    public_key: bytes
    ws: str
    wss: str
    rpc: str

    def described(self, *, tls: bool) -> dict[str, str]:
        """The node as RPC and setClient answers tell it; without an address for `tls` it has none."""
        return {
            "addr": self.wss if tls else self.ws,
            "id": self.id.hex(),
            "pubkey": self.public_key.hex(),
            "rpcAddr": self.rpc,
            "sdp": "",
        }


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message for one destination, on its way to the node that owns it.

    Attributes:
        dest_id: SHA-256 of the destination's address.
        path: number of the destination's sub-client, −1 without.
        source: the sender's address as the first node knows it.
        mark: what identifies the message when a receipt is asked for.
        hold_s: seconds it may wait for an absent client.
    """

    dest_id: bytes
    path: int
    source: str
    payload: bytes
    mark: bytes
    hold_s: int


def path_of(address_text: str) -> int:
    """The number of the sub-client that an address names, −1 for one without prefix."""
    index, _ = address.split_prefix(address_text)
    return -1 if index is None else index


class Member(Protocol):
    """A node as the others on the ring see it."""

    @property
    def place(self) -> Place:
        """Where it is."""
        ...

    @property
    def frozen(self) -> bool:
        """Whether it answers nothing just now."""
        ...

    def take(self, parcel: Parcel) -> None:
        """Deliver or hold a message that this node owns."""
        ...

    def ring_changed(self) -> None:
        """A node came or went: clients that belong elsewhere now are told."""
        ...

    def block_made(self) -> None:
        """There is a new block hash: clients are told."""
        ...


class Chain:
    """The last block hashes, oldest first; random, since nobody mines here.

    Attributes:
        receipted: whether a receipt came since the newest block.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._hashes: deque[bytes] = deque([entropy(32)], maxlen=limits.HASHES_KEPT + 1)
        self.height = 0
        self.receipted = False

    @property
    def latest(self) -> bytes:
        """The 32 bytes clients sign into what they send now: those of the block before the newest."""
        return self._hashes[max(0, len(self._hashes) - 2)]

    @property
    def newest(self) -> bytes:
        """The hash of the newest block."""
        return self._hashes[-1]

    def knows(self, block_hash: bytes) -> bool:
        """Whether it is one of the last hashes."""
        return block_hash in self._hashes

    def advance(self) -> None:
        """Make a block."""
        self.height += 1
        self.receipted = False
        self._hashes.append(self._entropy(32))


class Ring:
    """The nodes of one toy network.

    Attributes:
        chain: the blocks all of them know.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self.chain = Chain(entropy)
        self._members: dict[bytes, Member] = {}
        self._ids: list[bytes] = []

    @property
    def members(self) -> list[Member]:
        """All nodes, in the order in which they joined."""
        return list(self._members.values())

    def join(self, member: Member) -> None:
        """Add a node; those that lose clients to it tell them.

        Raises:
            ValueError: if another node has the same id.
        """
        node_id = member.place.id
        if node_id in self._members:
            raise ValueError("two nodes of a ring cannot have the same id")
        self._members[node_id] = member
        insort(self._ids, node_id)
        self._tell()

    def leave(self, member: Member) -> None:
        """Take a node off; its addresses belong to its predecessor from now on."""
        node_id = member.place.id
        if self._members.pop(node_id, None) is not None:
            self._ids.remove(node_id)
            self._tell()

    def owner(self, client_id: bytes) -> Member | None:
        """The node that owns an address id; None on an empty ring."""
        if not self._ids:
            return None
        return self._members[self._ids[bisect_right(self._ids, client_id) - 1]]

    def other(self, member: Member) -> Member:
        """Some other node of the ring, or the same one if it is alone."""
        return next((one for one in self._members.values() if one is not member), member)

    def leads(self, member: Member) -> bool:
        """Whether this node is the one that makes the blocks."""
        return next(iter(self._members.values()), None) is member

    def make_block(self) -> None:
        """A new block hash, told to everyone."""
        self.chain.advance()
        for member in self.members:
            member.block_made()

    def _tell(self) -> None:
        for member in self.members:
            member.ring_changed()


class View:
    """The ring as one of its nodes sees it.

    Attributes:
        me: that node.
        usurped: it takes all addresses for its own, wrongly.
    """

    def __init__(self, ring: Ring, me: Member) -> None:
        self._ring = ring
        self.me = me
        self.usurped = False

    @property
    def chain(self) -> Chain:
        """The blocks."""
        return self._ring.chain

    def owner(self, client_id: bytes) -> Member | None:
        """The node that owns an address id, as far as this one knows."""
        return self.me if self.usurped else self._ring.owner(client_id)

    def other(self) -> Member:
        """Some other node of the ring, or this one if it is alone."""
        return self._ring.other(self.me)
