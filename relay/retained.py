"""Frames that were sent and may be asked for again: kept until some time after their stream's end.

    kept       │ at most RETAIN_PEER_B of one peer, its oldest stream goes first; at most RETAIN_ALL_B of
               │ all, who holds most loses first: no crowd of peers pushes out what a small one has
    sent again │ at most AGAIN_PEER_B_PER_S to one peer and AGAIN_ALL_B_PER_S to all, a frame once in
               │ AGAIN_PAUSE_S; what does not fit is passed over: the peer asks again

`seq` names what is in a frame: 0 is begin, −1 the end or the only answer, everything else the lines or
chunks it carries. Pure; owned by `answered`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from relay.events import RequestId
from wire import limits
from wire.budget import Budget

Name = tuple[bytes, RequestId]
"""A peer's key and the id it gave its request."""

_END = 2**53
"""−1 as it is kept: behind every number that a peer can name."""


@dataclass(slots=True)
class _Kept:
    """One frame: its lowest and highest seq, its text as UTF-8, when it may be sent again at the earliest."""

    first: int
    last: int
    data: bytes
    again_at: float = 0.0


_DROPPED = _Kept(_END, _END, b"")


@dataclass(slots=True)
class _Stream:
    """The frames of one stream in order: a list, since a deque's middle is found slowly.

    Attributes:
        dropped: of its frames, those before the oldest that is kept.
    """

    frames: list[_Kept] = field(default_factory=list)
    dropped: int = 0

    def drop(self) -> _Kept:
        """Take the oldest frame out."""
        oldest, self.frames[self.dropped] = self.frames[self.dropped], _DROPPED
        self.dropped += 1
        if 2 * self.dropped >= len(self.frames):
            del self.frames[: self.dropped]
            self.dropped = 0
        return oldest

    def holding(self, seq: int) -> _Kept | None:
        """The frame with that number."""
        index = bisect_left(self.frames, seq, self.dropped, key=_last)
        found = self.frames[index] if index < len(self.frames) else None
        return found if found is not None and found.first <= seq else None

    def behind(self, seq: int) -> Iterable[_Kept]:
        """Frames with something behind `seq`, and always begin and end, in order."""
        index = bisect_right(self.frames, seq, self.dropped, key=_last)
        if index > self.dropped and self.frames[self.dropped].last == 0:
            yield self.frames[self.dropped]
        yield from islice(self.frames, index, None)


@dataclass(slots=True)
class _Peer:
    budget: Budget
    streams: OrderedDict[RequestId, _Stream] = field(default_factory=OrderedDict)
    size: int = 0


class Retained:
    """The frames of all peers.

    Attributes:
        size: bytes of memory in all.
        dropped: frames that had to go early, because there was no room.
        cut_short: times that more was asked for again than is sent at a time.
    """

    def __init__(self, peer_b: int = limits.RETAIN_PEER_B, all_b: int = limits.RETAIN_ALL_B) -> None:
        self.size = self.dropped = self.cut_short = 0
        self._peer_b = peer_b
        self._all_b = all_b
        self._peers: dict[bytes, _Peer] = {}
        self._ending: OrderedDict[Name, float] = OrderedDict()
        self._budget = Budget(limits.AGAIN_ALL_B, limits.AGAIN_ALL_B_PER_S)

    def knows(self, name: Name) -> bool:
        """Whether anything of that stream is kept."""
        return self._stream(name) is not None

    def keep(self, name: Name, first: int, last: int, text: str) -> None:
        """A frame was sent."""
        peer = self._peers.get(name[0])
        if peer is None:
            budget = Budget(limits.AGAIN_PEER_B, limits.AGAIN_PEER_B_PER_S)
            peer = self._peers[name[0]] = _Peer(budget)
        stream = peer.streams.get(name[1])
        if stream is None:
            stream = peer.streams[name[1]] = _Stream()
            self._grow(peer, limits.RETAIN_STREAM_B)
        frame = _Kept(_place(first), _place(last), text.encode())
        stream.frames.append(frame)
        self._grow(peer, _taken(frame))
        while peer.size > self._peer_b:
            self._drop_oldest(name[0], peer)
        if self.size > self._all_b:
            self._make_room()

    def ended(self, name: Name, now: float) -> None:
        """Its last frame was sent."""
        if self.knows(name):
            self._ending[name] = now + limits.RETAIN_S

    def forget(self, name: Name) -> None:
        """Keep nothing of that stream any more."""
        self._ending.pop(name, None)
        peer = self._peers.get(name[0])
        stream = peer.streams.pop(name[1], None) if peer else None
        if peer is None or stream is None:
            return
        self._grow(peer, -limits.RETAIN_STREAM_B - sum(map(_taken, stream.frames[stream.dropped :])))
        if not peer.streams:
            del self._peers[name[0]]

    def again(self, name: Name, wanted: Iterable[int], now: float) -> tuple[list[str], list[int]]:
        """The frames that hold the wanted numbers, in order, and the numbers that are not kept."""
        stream = self._stream(name)
        found: list[_Kept] = []
        gone: list[int] = []
        for seq in sorted({_place(seq) for seq in wanted}):
            frame = stream.holding(seq) if stream else None
            if frame is None:
                gone.append(-1 if seq == _END else seq)
            else:
                found.append(frame)
        return self._sent(name, found, now), gone

    def after(self, name: Name, seq: int, now: float) -> list[str]:
        """Every frame with something behind `seq`, begin and end included, in order.

        Where that is too much at a time the first of them, and the end: it tells the peer what is lacking.
        """
        stream = self._stream(name)
        if stream is None:
            return []
        texts, end = self._sent(name, stream.behind(seq), now), stream.frames[-1]
        if texts and end.last == _END and now >= end.again_at:
            texts.append(self._spend(name, end, now))
        return texts

    def statistics(self) -> dict[str, int]:
        """A snapshot for people and metrics."""
        return {
            "retained_b": self.size,
            "retained_dropped": self.dropped,
            "again_cut_short": self.cut_short,
        }

    def due_at(self) -> float | None:
        """When `advance` has something to forget."""
        return next(iter(self._ending.values()), None)

    def advance(self, now: float) -> None:
        """Forget streams that ended long enough ago."""
        while self._ending:
            name, until = next(iter(self._ending.items()))
            if now < until:
                return
            self.forget(name)

    # -- inside -------------------------------------------------------------------------

    def _stream(self, name: Name) -> _Stream | None:
        peer = self._peers.get(name[0])
        return None if peer is None else peer.streams.get(name[1])

    def _sent(self, name: Name, frames: Iterable[_Kept], now: float) -> list[str]:
        """The texts of those that may be sent now."""
        texts: list[str] = []
        for frame in frames:
            if now < frame.again_at:
                continue
            if not (self._peers[name[0]].budget.allows(now) and self._budget.allows(now)):
                self.cut_short += 1
                break
            texts.append(self._spend(name, frame, now))
        return texts

    def _spend(self, name: Name, frame: _Kept, now: float) -> str:
        frame.again_at = now + limits.AGAIN_PAUSE_S
        for budget in (self._peers[name[0]].budget, self._budget):
            budget.spend(len(frame.data) + limits.AGAIN_FRAME_B)
        return frame.data.decode()

    def _grow(self, peer: _Peer, size: int) -> None:
        peer.size += size
        self.size += size

    def _drop_oldest(self, key: bytes, peer: _Peer) -> None:
        identifier, stream = next(iter(peer.streams.items()))
        self._grow(peer, -_taken(stream.drop()))
        self.dropped += 1
        if not stream.frames:
            self.forget((key, identifier))

    def _make_room(self) -> None:
        """Those who hold most lose their oldest; more than is needed, since looking for them takes time."""
        target = self._all_b - self._all_b // 16
        share = self._all_b * 3 // 4 // len(self._peers)
        by_size = sorted(self._peers.items(), key=lambda item: item[1].size, reverse=True)
        for key, peer in by_size:
            while self.size > target and peer.size > share:
                self._drop_oldest(key, peer)


def _place(seq: int) -> int:
    return _END if seq == -1 else seq


def _last(frame: _Kept) -> int:
    return frame.last


def _taken(frame: _Kept) -> int:
    return len(frame.data) + limits.RETAIN_FRAME_B
