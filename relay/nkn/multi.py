"""Many paths as one: what arrived already, how a peer is reached, which path is dead.

A MultiClient registers the addresses `__0__.a`, `__1__.a` … and maybe `a` itself (index −1), each at
another node. Every message takes all paths; the first copy wins. Pure; called by `client`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from relay.nkn.arrival import Arrival
from wire import limits
from wire.window import Window

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

ORIGINAL = -1
"""Index of the client without prefix."""


@dataclass(slots=True)
class Copy:
    """What is known of a message that arrived at least once.

    Attributes:
        outcome: "pending" until the handlers are done, then "ack", "reply" or "silent".
        reply: what was answered, if it was short enough to keep.
        waiting: copies that came while the handlers ran, one per path.
        forgotten: it is not in the table any more.
    """

    outcome: str = "pending"
    reply: str | bytes | None = None
    waiting: list[Arrival] = field(default_factory=list)
    forgotten: bool = False


class Seen:
    """Messages of the last minutes by (key, id), so that copies are acknowledged but not delivered.

    Keyed by the sender's key too: with the id alone, as the SDKs do it, a stranger who guesses an id
    could suppress a message. Bounded: a key that sends many pushes out its own.
    """

    def __init__(self) -> None:
        self._copies: Window[bytes, bytes, Copy] = Window(limits.SEEN_MAX, limits.SEEN_TTL_S, self._forgotten)
        self._replies_b = 0

    def __len__(self) -> int:
        return len(self._copies)

    def arrive(self, key: bytes, message_id: bytes, now: float) -> tuple[Copy, bool]:
        """(what is known, whether this is the first copy)."""
        known = self._copies.get(key, message_id, now)
        if known is not None:
            return known, False
        first = Copy()
        self._copies.put(key, message_id, first, now)
        return first, True

    def tidy(self, now: float) -> None:
        """Forget messages that are too old."""
        self._copies.forget(now)

    def keep_reply(self, copy: Copy, reply: str | bytes) -> None:
        """Keep what was replied, if there is room, to answer later copies alike."""
        size = len(reply)
        if copy.forgotten:
            return
        if size <= limits.SEEN_REPLY_MAX_B and self._replies_b + size <= limits.SEEN_REPLIES_MAX_B:
            copy.reply = reply
            self._replies_b += size

    def _forgotten(self, copy: Copy) -> None:
        copy.forgotten = True
        self._replies_b -= len(copy.reply or "")


class Recent(OrderedDict[_K, _V]):
    """What is known of the peers met last, by address or key; the oldest are forgotten."""

    def remember(self, peer: _K, value: _V) -> None:
        """Keep `value` for this peer."""
        self[peer] = value
        self.move_to_end(peer)
        if len(self) > limits.SHARED_KEYS_MAX:
            self.popitem(last=False)


class Routes:
    """How each peer is reached, learnt from how its own messages came.

    A MultiClient's parts speak only to parts of the same index, a plain client only to what it was told.
    So a peer heard with prefixes is answered by our part i at its part i, one heard without prefix is
    answered at its plain address by the part that heard it. Unknown peers are tried by every part.
    """

    def __init__(self) -> None:
        self._plain: Recent[str, int] = Recent()
        self._parts: Recent[str, set[int]] = Recent()
        self._unsure: set[int] = set()

    def heard(self, peer: str, index: int, prefix: int | None) -> None:
        """A message of `peer` (address without prefix) came to our part `index`."""
        if prefix is None:
            self._unsure.discard(index)
            self._plain.remember(peer, index)
        else:
            self._parts.remember(peer, self._parts.get(peer, set()) | {index})

    def forget(self, index: int) -> None:
        """Our part `index` is made anew: who was heard on it before says nothing of it now."""
        for parts in self._parts.values():
            parts.discard(index)
        self._unsure.add(index)

    def knows(self, peer: str, index: int) -> bool:
        """Whether our part `index` ever heard this peer: only then can it expect its acknowledgements."""
        plain = self._plain.get(peer) == index and index not in self._unsure
        return plain or index in self._parts.get(peer, ())

    def towards(self, peer: str, indices: list[int]) -> list[tuple[int, int]]:
        """(our part, its part) for each copy, of our parts `indices`."""
        plain, parts = self._plain.get(peer), peer in self._parts
        ways = [(index, index) for index in indices if index >= 0 and (parts or plain is None)]
        if plain is not None:
            if plain in indices:
                ways.append((plain, ORIGINAL))
        elif not parts and ORIGINAL in indices:
            ways.append((ORIGINAL, ORIGINAL))
        # None left means that the parts which know the way are down; any way is better then.
        return ways or [(index, ORIGINAL) for index in indices]


@dataclass(slots=True)
class _Path:
    unacknowledged: int = 0
    since: float = 0.0


class PathHealth:
    """Notices a path that swallows messages although its socket is healthy.

    Only acknowledgements show such a black hole. A path is dead when PATH_DEAD_SENDS messages in a row
    stayed unacknowledged on it for PATH_DEAD_S while another path was acknowledged meanwhile; if none
    was, the peer is gone and no path is to blame.
    """

    def __init__(self) -> None:
        self._paths: dict[int, _Path] = {}
        self._acked_at: dict[int, float] = {}

    def sent(self, index: int, now: float) -> None:
        """A message that asks for an acknowledgement left on this path."""
        path = self._paths.setdefault(index, _Path())
        if path.unacknowledged == 0:
            path.since = now
        path.unacknowledged += 1

    def acked(self, index: int, now: float) -> None:
        """An acknowledgement came back on this path."""
        self._paths[index] = _Path()
        self._acked_at[index] = now

    def reset(self, index: int) -> None:
        """The path has a new socket."""
        self._paths.pop(index, None)
        self._acked_at.pop(index, None)

    def dead(self, now: float) -> list[int]:
        """Indices of the paths to be made anew."""
        return [
            index
            for index, path in self._paths.items()
            if path.unacknowledged >= limits.PATH_DEAD_SENDS
            and now - path.since >= limits.PATH_DEAD_S
            and any(other != index and at > path.since for other, at in self._acked_at.items())
        ]
