"""What is measured, as data: the ways a line can take, and the loads each is put under.

Pure; read by `relay_vs_sdk`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.streams import Load


@dataclass(frozen=True, slots=True)
class Way:
    """How a line comes to its reader.

    Attributes:
        name: as the tables have it.
        relay: "ours", "sdk", or empty for direct HTTP.
        acknowledges: whether the peer acknowledges the relay's frames.
    """

    name: str
    relay: str = ""
    acknowledges: bool = True


DIRECT = Way("direct HTTP")
CLOCKED = Way("ours, clocked", "ours")
PLAIN = Way("ours, plain windows", "ours", acknowledges=False)
SDK = Way("nkn-sdk", "sdk")
SDK_SILENT = Way("nkn-sdk, no ACKs", "sdk", acknowledges=False)

RIVALS = {CLOCKED: SDK, PLAIN: SDK_SILENT}
"""Which way of the other relay is to be compared with which of ours: the same peer behaves the same."""


@dataclass(frozen=True, slots=True)
class Case:
    """One load and the ways it takes, in turn, so many rounds.

    Attributes:
        key: its name on the command line.
        table: "ping", "delay", "load" or "flat".
    """

    key: str
    table: str
    rounds: int
    load: Load
    ways: tuple[Way, ...]

    def order(self, number: int) -> tuple[Way, ...]:
        """The ways of one round: every other one backwards."""
        return self.ways if number % 2 == 0 else self.ways[::-1]


_DELAY_WAYS = (DIRECT, CLOCKED, PLAIN, SDK)
_LOAD_WAYS = (CLOCKED, SDK, PLAIN, SDK_SILENT)
_LOADS = ((1, 30, 6, 3), (8, 30, 5, 5), (32, 30, 5, 3), (128, 30, 4, 3), (1000, 2, 8, 2))
"""Streams, lines a second, seconds, rounds; short where the plain relay needs several seconds more."""
_FLAT_LINES = 4000
PINGS = 100

FULL = (
    Case("ping", "ping", 3, Load(1, 0, PINGS), (CLOCKED, SDK)),
    *(Case(f"delay{rate}", "delay", 3, Load(1, rate, rate, repeats=4), _DELAY_WAYS) for rate in (20, 60)),
    *(
        Case(f"load{streams}", "load", rounds, Load(streams, rate, rate * seconds), _LOAD_WAYS)
        for streams, rate, seconds, rounds in _LOADS
    ),
    Case("flat", "flat", 3, Load(8, 0, _FLAT_LINES), (DIRECT, *_LOAD_WAYS)),
)


def chosen(
    *, only: list[str] | None, quick: bool, rounds: int | None, seconds: float | None, sdk: bool
) -> list[Case]:
    """The cases of a run.

    Args:
        only: their keys, None for all.
        quick: one short round, without the plain relay's second way.
        rounds: instead of each case's own.
        seconds: of paced streams, instead of each case's own.
        sdk: whether the plain relay takes part.
    """
    found = [case for case in FULL if only is None or case.key in only]
    found = [_quick(case) for case in found] if quick else found
    if not sdk:
        found = [replace(case, ways=tuple(way for way in case.ways if way.relay != "sdk")) for case in found]
    if rounds is not None:
        found = [replace(case, rounds=rounds) for case in found]
    if seconds is not None:
        found = [replace(case, load=_for(case.load, seconds)) for case in found]
    return found


def _quick(case: Case) -> Case:
    load = _for(case.load, 2.0) if case.table == "load" else replace(case.load, repeats=1)
    ways = tuple(way for way in case.ways if way is not SDK_SILENT)
    return replace(case, rounds=1, load=load, ways=ways)


def _for(load: Load, seconds: float) -> Load:
    if not load.rate:
        return load
    return replace(load, lines=max(2, round(load.rate * seconds)), repeats=1)
