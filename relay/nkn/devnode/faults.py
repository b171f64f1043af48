"""What may go wrong on purpose: every knob of the development node, and the fate of one frame.

All knobs are off by default; a node's `faults` may be replaced at any moment. Chance comes in as `Dice`,
so that a seed makes a run repeatable. Pure; read by `core` and by the shells, written by the command line
and by the control port.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from relay.nkn.devnode import knobs, limits
from relay.nkn.devnode.knobs import FaultsError
from relay.nkn.devnode.shuffle import Dice

RPC_FAILURES = ("refuse", "500", "429", "slow", "garbage", "error", "joining")
"""What JSON-RPC can do instead of answering: close the connection, answer HTTP 500 or 429, answer after
longer than any client waits, answer what is no JSON, answer error −45001, answer error −45022 as a node does
that is still joining the ring."""

_CHANCES = ("loss", "duplicate", "reorder", "held_first")

ORIGINAL = -1
"""The path of addresses without an `__i__.` prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The knobs.

    Attributes:
        only: what concerns single clients, down to `mute`, concerns those whose address contains this text;
            empty is all.
        loss: chance that a frame for a client vanishes.
        duplicate: chance that it arrives twice.
        reorder: chance that it is held back for up to `reorder_ms`, so that later ones overtake it.
        reorder_ms: the most it is held back.
        delay_ms: how long each frame for a client takes.
        jitter_ms: up to this much more or less, drawn for each frame; frames overtake each other.
        path_delay_ms: pairs of path and additional delay; a path is the number of a MultiClient's part, −1
            the original client.
        black_hole: paths on which every frame for a client vanishes.
        uplink_bps: bytes a second that are read from a client; 0 is as many as come.
        downlink_bps: bytes a second that are written to a client; 0 is as many as it takes.
        cut_every_s: each socket is cut when it is this old; 0 is never.
        cut_after_frames: each socket is cut after that many binary frames, both ways together; 0 is never.
        mute: nothing is written to registered clients any more, though what they send is relayed.
        shuffle: messages overtake each other as in a real node; 1 is as much as there, more is wilder.
        freeze_at_block: when a block comes while a client does not take what is written to it, nothing is
            delivered to anyone and no connection accepted until it does or is given up.
        no_challenge: no authChallenge is sent; clients wait 5 s and register unsigned.
        refuse: every setClient is refused as badly signed (42003) and its socket closed 3 s later.
        wrong_node: how many setClient are answered "wrong node" though they came to the right one.
        wrong_node_push_s: each registered client is told this often to go elsewhere; 0 is never.
        wrong_node_addr: `host:port` named in those two cases; empty is another node of the ring, or this one.
        rpc_failure: one of RPC_FAILURES, or empty.
        rpc_failures: how many RPC requests fail before they succeed again; 0 is all.
        rpc_addr: `host:port` that RPC tells clients to go to instead of the owner; empty is the owner.
        usurp: this node takes the addresses of the whole ring for its own: what comes in here for clients of
            other nodes vanishes, and its RPC names itself.
        rate_burst: RPC requests, and separately connections, that one IP address may make at once, then 10 a
            second; the others get HTTP 429. Real nodes have 100; 0 is no limit.
        frozen: nothing is read, written or answered any more, connections stay open.
        no_receipts: messages never ask for a receipt.
        held_first: chance that held messages are sent before the answer to setClient.
    """

    only: str = ""
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 50.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    path_delay_ms: tuple[tuple[int, float], ...] = ()
    black_hole: tuple[int, ...] = ()
    uplink_bps: float = 0.0
    downlink_bps: float = 0.0
    cut_every_s: float = 0.0
    cut_after_frames: int = 0
    mute: bool = False
    shuffle: float = 0.0
    freeze_at_block: bool = False
    no_challenge: bool = False
    refuse: bool = False
    wrong_node: int = 0
    wrong_node_push_s: float = 0.0
    wrong_node_addr: str = ""
    rpc_failure: str = ""
    rpc_failures: int = 0
    rpc_addr: str = ""
    usurp: bool = False
    rate_burst: int = 0
    frozen: bool = False
    no_receipts: bool = False
    held_first: float = 0.0

    def __post_init__(self) -> None:
        for name in _CHANCES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise FaultsError(f"{name}: a probability is between 0 and 1, not {getattr(self, name)}")
        for name in _AMOUNTS:
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise FaultsError(f"{name}: must be 0 or more, not {value}")
        for path, delay in self.path_delay_ms:
            if path < ORIGINAL or not math.isfinite(delay) or delay < 0:
                raise FaultsError(f"path_delay_ms: {path}={delay} is no path and delay such as 1=200")
        if any(path < ORIGINAL for path in self.black_hole):
            raise FaultsError("black_hole: a path is the number of a sub-client, or -1 for the original one")
        if self.rpc_failure not in {"", *RPC_FAILURES}:
            raise FaultsError(f"rpc_failure: {self.rpc_failure!r} is none of {', '.join(RPC_FAILURES)}")

    @property
    def calm(self) -> bool:
        """Whether frames for clients simply arrive."""
        shaken = self.loss or self.duplicate or self.reorder or self.delay_ms or self.jitter_ms
        return not (shaken or self.path_delay_ms or self.black_hole)

    def concern(self, address: str) -> bool:
        """Whether what goes wrong with single clients goes wrong with this one."""
        return self.only in address

    def changed(self, words: Mapping[str, str | bool]) -> Faults:
        """The same with some knobs set from text, as `parse` has it.

        Raises:
            FaultsError: if one cannot be what it is set to.
        """
        return replace(self, **knobs.values(Faults, words))

    def fate(self, path: int, dice: Dice) -> tuple[float, ...]:
        """After how many seconds each copy of a frame arrives; none if it is lost.

        Args:
            path: number of the receiving sub-client, ORIGINAL for one without prefix.
        """
        if path in self.black_hole or (self.loss and dice.random() < self.loss):
            return ()
        first = self._delay_s(path, dice)
        if self.duplicate and dice.random() < self.duplicate:
            return first, self._delay_s(path, dice)
        return (first,)

    def _delay_s(self, path: int, dice: Dice) -> float:
        delay = self.delay_ms + sum(more for other, more in self.path_delay_ms if other == path)
        if self.jitter_ms:
            delay += self.jitter_ms * (2.0 * dice.random() - 1.0)
        if self.reorder and dice.random() < self.reorder:
            delay += self.reorder_ms * dice.random()
        return max(0.0, delay) / 1000.0


def parse(words: Mapping[str, str | bool]) -> Faults:
    """Faults from text, as a command line has it; `knobs.values` tells how.

    Raises:
        FaultsError: for an unknown knob or a value that is none, in one sentence.
    """
    return Faults().changed(words)


_AMOUNTS = tuple(name for name in knobs.amounts(Faults) if name not in _CHANCES)

LIFELIKE = Faults(
    shuffle=1.0, freeze_at_block=True, rate_burst=limits.RATE_BURST, held_first=limits.HELD_FIRST
)
"""What a real node does all the time and a test rarely wants: it is the command line's `--lifelike`."""
