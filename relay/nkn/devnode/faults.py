"""What may go wrong on purpose: every knob of the development node, and the fate of one frame.

All knobs are off by default; a node's `faults` may be replaced at any moment. Chance comes in as `Dice`,
so that a seed makes a run repeatable. Pure; read by `core` and by the shells, written by the command line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Protocol

RPC_FAILURES = ("refuse", "500", "429", "slow", "garbage", "error")
"""What JSON-RPC can do instead of answering: close the connection, answer HTTP 500 or 429, answer after
longer than any client waits, answer what is no JSON, answer error −45001."""

_CHANCES = ("loss", "duplicate", "reorder")

ORIGINAL = -1
"""The path of addresses without an `__i__.` prefix."""


class FaultsError(ValueError):
    """A knob set to what it cannot be; the message names it."""


class Dice(Protocol):
    """A source of chance, such as random.Random."""

    def random(self) -> float:
        """A number in [0, 1)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The knobs.

    Attributes:
        loss: chance that a frame for a client vanishes.
        duplicate: chance that it arrives twice.
        reorder: chance that it is held back for up to `reorder_ms`, so that later ones overtake it.
        reorder_ms: the most it is held back.
        delay_ms: how long each frame for a client takes.
        jitter_ms: up to this much more or less, drawn for each frame; frames overtake each other.
        path_delay_ms: pairs of path and additional delay; a path is the number of a MultiClient's part, −1
            the original client.
        black_hole: paths on which every frame for a client vanishes.
        cut_every_s: each socket is cut when it is this old; 0 is never.
        cut_after_frames: each socket is cut after that many binary frames, both ways together; 0 is never.
        no_challenge: no authChallenge is sent; clients wait 5 s and register unsigned.
        refuse: every setClient is refused as badly signed (42003) and its socket closed 3 s later.
        wrong_node: how many setClient are answered "wrong node" though they came to the right one.
        wrong_node_push_s: each registered client is told this often to go elsewhere; 0 is never.
        wrong_node_addr: `host:port` named in those two cases; empty is another node of the ring, or this one.
        rpc_failure: one of RPC_FAILURES, or empty.
        rpc_failures: how many RPC requests fail before they succeed again; 0 is all.
        frozen: nothing is read, written or answered any more, connections stay open.
        mute: nothing is written to registered clients any more, though what they send is relayed.
        no_receipts: messages never ask for a receipt.
        held_first: held messages are sent before the answer to setClient, as real nodes do now and then.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_ms: float = 50.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    path_delay_ms: tuple[tuple[int, float], ...] = ()
    black_hole: tuple[int, ...] = ()
    cut_every_s: float = 0.0
    cut_after_frames: int = 0
    no_challenge: bool = False
    refuse: bool = False
    wrong_node: int = 0
    wrong_node_push_s: float = 0.0
    wrong_node_addr: str = ""
    rpc_failure: str = ""
    rpc_failures: int = 0
    frozen: bool = False
    mute: bool = False
    no_receipts: bool = False
    held_first: bool = False

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
    """Faults from text, as a command line has it.

    Args:
        words: knob → its value as text, or True for a knob that is only on or off. Dashes and underscores
            are the same. Lists are separated by commas: `black_hole` "0,2", `path_delay_ms` "0=20,1=200".

    Raises:
        FaultsError: for an unknown knob or a value that is none, in one sentence.
    """
    values: dict[str, object] = {}
    for word, text in words.items():
        name = word.replace("-", "_")
        reader = _READERS.get(name)
        if reader is None:
            raise FaultsError(f"{word}: there is no such knob; there are {', '.join(sorted(_READERS))}")
        try:
            values[name] = text if isinstance(text, bool) else reader(text.strip())
        except ValueError as error:
            raise FaultsError(f"{name}: {text!r} is not {_EXPECTED[reader]}") from error
        if isinstance(values[name], bool) and reader is not _switch:
            raise FaultsError(f"{name}: needs a value, {_EXPECTED[reader]}")
    return Faults(**values)  # type: ignore[arg-type]  # the readers' types are the fields'


def _switch(text: str) -> bool:
    low = text.lower()
    if low not in {"1", "0", "true", "false", "on", "off", "yes", "no"}:
        raise ValueError(text)
    return low in {"1", "true", "on", "yes"}


def _paths(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part.strip())


def _path_delays(text: str) -> tuple[tuple[int, float], ...]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return tuple((int(path), float(delay)) for path, _, delay in pairs)


_Reader = Callable[[str], object]
_BY_TYPE: dict[str, _Reader] = {
    "float": float,
    "int": int,
    "bool": _switch,
    "str": str,
    "tuple[int, ...]": _paths,
    "tuple[tuple[int, float], ...]": _path_delays,
}
_EXPECTED: dict[_Reader, str] = {
    float: "a number",
    int: "a whole number",
    _switch: "on or off",
    str: "a text",
    _paths: "a list of paths such as 0,2",
    _path_delays: "a list of paths and delays such as 0=20,1=200",
}
_READERS: dict[str, _Reader] = {field.name: _BY_TYPE[str(field.type)] for field in fields(Faults)}
_AMOUNTS = tuple(name for name, reader in _READERS.items() if reader in {float, int} and name not in _CHANCES)
