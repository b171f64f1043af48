"""The open sockets of a node and the addresses registered on them.

An address may be registered on several sockets; each of them gets every message. A socket may register
again, for another address.
Pure; owned by `core`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relay.nkn.devnode.ring import path_of


@dataclass(slots=True, eq=False)
class Session:
    """One socket.

    Attributes:
        number: names it within its node.
        tls: whether it came through the wss port.
        challenge: the 32 bytes it was sent, empty if it was sent none.
        address: what it registered, letter by letter; empty before.
        source: the same as receivers see it, the key in lower case.
        client_id: SHA-256 of `address`.
        public_key: 32 bytes, the end of the address.
        epoch: how many registrations the node had seen with this one.
    """

    number: int
    tls: bool = False
    challenge: bytes = b""
    address: str = ""
    source: str = ""
    client_id: bytes = b""
    public_key: bytes = b""
    epoch: int = 0

    @property
    def name(self) -> str:
        """What heartbeat answers: the id of the address, or before that something like a UUID."""
        return self.client_id.hex() or f"{self.number:08x}-0000-4000-8000-{self.number:012x}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Some of the sockets: those of which all is so that is not None.

    Attributes:
        address: a part of what is registered.
        path: the number of a sub-client, −1 for addresses without one.
        socket: its number.
    """

    address: str | None = None
    path: int | None = None
    socket: int | None = None

    def holds(self, session: Session) -> bool:
        """Whether a socket is one of them."""
        if self.socket not in {None, session.number}:
            return False
        if self.path is not None and (not session.address or path_of(session.address) != self.path):
            return False
        return (self.address or "") in session.address


EVERY = Choice()


class Registry:
    """All sessions of a node.

    Attributes:
        epoch: registrations so far.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._all: dict[int, Session] = {}
        self._by_client: dict[bytes, list[Session]] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._all.values()))

    def open(self, *, tls: bool) -> Session:
        """A new socket, nothing registered on it."""
        session = Session(self._next, tls)
        self._all[session.number] = session
        self._next += 1
        return session

    def at(self, client_id: bytes) -> list[Session]:
        """The sessions of an address, maybe none."""
        return self._by_client.get(client_id, [])

    def registered(self) -> list[Session]:
        """All sessions that registered an address."""
        return [session for session in self._all.values() if session.address]

    def register(self, session: Session, address: str, source: str, client_id: bytes, key: bytes) -> None:
        """Put an address on a socket; what was registered there before is forgotten."""
        self._unlist(session)
        self.epoch += 1
        session.epoch = self.epoch
        session.address, session.source = address, source
        session.client_id, session.public_key = client_id, key
        self._by_client.setdefault(client_id, []).append(session)

    def close(self, session: Session) -> None:
        """The socket is gone."""
        self._unlist(session)
        self._all.pop(session.number, None)

    def _unlist(self, session: Session) -> None:
        there = self._by_client.get(session.client_id, [])
        if session in there:
            there.remove(session)
            if not there:
                del self._by_client[session.client_id]
