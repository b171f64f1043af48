"""The ways to NKN: seed servers, bridge nodes, and the clock they are compared with.

Pure. Looked for by `looking`, called by `examination`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from relay.doctor import limits
from relay.doctor.finding import fail, ok, place, warn
from wire.finding import Finding, foreign


@dataclass(frozen=True, slots=True)
class Way:
    """One seed server or bridge node.

    Attributes:
        url: as configured.
        ms: how long its answer took; None without one.
        node: the node that it names for our address.
        trouble: why it is of no use, or "".
        ahead_s: how far this machine's clock is ahead of its `Date`, or None.
    """

    url: str
    ms: float | None = None
    node: str = ""
    trouble: str = ""
    ahead_s: float | None = None

    @property
    def works(self) -> bool:
        """Whether the relay can begin here."""
        return self.ms is not None and not self.trouble


def seeds(ways: Sequence[Way], bridges: Sequence[Way] = ()) -> list[Finding]:
    """Each seed server; that some fail is usual, that nothing works is not."""
    others = any(way.works for way in (*ways, *bridges))
    return [_seed(way, others=others) for way in ways]


def _seed(way: Way, *, others: bool) -> Finding:
    shown = place(way.url)
    if way.works:
        return ok("seed", f"{shown} answers in {way.ms:.0f} ms: node {foreign(way.node)}")
    text = f"{shown}: {foreign(way.trouble)}"
    if others:
        return warn(
            "seed", text, "nothing for now, the relay asks the others; NKN_RPC_ADDR without it is faster"
        )
    if "429" in way.trouble:
        return fail(
            "seed", text, "it has been asked too often: wait a minute, or name another in NKN_RPC_ADDR"
        )
    return fail("seed", text, f"is the network up? curl -m 3 {shown} shows; NKN_RPC_ADDR names others")


def bridges(ways: Sequence[Way]) -> list[Finding]:
    """Each node of NKN_BRIDGE_SEED_WS."""
    told = []
    for way in ways:
        if way.works:
            told.append(ok("bridge", f"{place(way.url)} takes connections after {way.ms:.0f} ms"))
        else:
            text = f"{place(way.url)}: {foreign(way.trouble)}"
            told.append(warn("bridge", text, "take it out of NKN_BRIDGE_SEED_WS: each start waits for it"))
    return told


def clock(ways: Sequence[Way]) -> list[Finding]:
    """This machine's clock beside those of the seeds; the middle one is believed."""
    told = [way.ahead_s for way in ways if way.ahead_s is not None]
    if not told:
        text = "the clock could not be compared: no seed told the time"
        return [warn("clock", text, "timedatectl shows whether it is synchronised")]
    off = median(told)
    if abs(off) > limits.CLOCK_S:
        text = f"this machine's clock is {_span(abs(off))} {'ahead' if off > 0 else 'behind'}"
        return [warn("clock", text, "sudo timedatectl set-ntp true")]
    return [ok("clock", "the clock agrees with the seeds'")]


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
