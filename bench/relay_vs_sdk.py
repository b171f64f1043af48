"""This relay beside a plain one on the official nkn-sdk, and direct HTTP, in one run.

    make bench ARGS=--quick
    python -m bench.relay_vs_sdk [--quick] [--only load8,flat] [--without-sdk] [--rpc URL] [--json F] …

Upstream, node and both relays are processes of their own, the peers are all in this one. Every case is run in
turn, each round in the other order. Tables on standard output, progress on standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import cases, measured, processes, streams, writing
from bench.cases import DIRECT, Case, Way
from bench.measured import Costs, Figures
from bench.processes import Child
from bench.tables import Report, Rounds
from relay.nkn import MultiClient
from relay.peer import PeerError


@dataclass(frozen=True, slots=True)
class Parts:
    """The programs of a run.

    Attributes:
        node: the dev node, None if a real one is used.
        relays: "ours" and "sdk".
    """

    url: str
    rpc: str
    node: Child | None
    relays: dict[str, Child]


class Bench:
    """Runs cases with peers that are connected already, one for each way through a relay."""

    def __init__(self, parts: Parts, listeners: dict[Way, streams.Listener]) -> None:
        self._parts = parts
        self._listeners = listeners

    async def warm(self) -> None:
        """A first load for each way."""
        for listener in self._listeners.values():
            await streams.run(streams.over_nkn(listener.peer), streams.WARM)

    async def case(self, case: Case) -> Rounds:
        """All rounds of a case."""
        rounds: Rounds = {way: [] for way in case.ways}
        for number in range(case.rounds):
            for way in case.order(number):
                began = time.monotonic()
                figures = await (self._ping(way) if case.table == "ping" else self._load(case, way))
                rounds[way].append(figures)
                _tell(case, number, way, figures, time.monotonic() - began)
        return rounds

    async def _ping(self, way: Way) -> Figures:
        peer, found = self._listeners[way].peer, []
        for _ in range(cases.PINGS):
            with contextlib.suppress(PeerError):
                found.append((await peer.call("relay.ping"))["rtt_ms"])
        return measured.of_pings(found, processes.rss_mib(self._parts.relays[way.relay].pid))

    async def _load(self, case: Case, way: Way) -> Figures:
        if way is DIRECT:
            before = self._costs(None)
            found = await streams.run(streams.direct(self._parts.url), case.load)
            return measured.of_streams(found, _less(self._costs(None), before))
        relay, listener = self._parts.relays[way.relay], self._listeners[way]
        before, traffic = self._costs(relay), listener.traffic
        found = await streams.run(streams.over_nkn(listener.peer), case.load)
        await listener.quiet()
        return measured.of_streams(
            found,
            _less(self._costs(relay), before),
            copies=listener.traffic.since(traffic).copies,
            rss_mib=processes.rss_mib(relay.pid),
        )

    def _costs(self, relay: Child | None) -> Costs:
        node = self._parts.node
        return Costs(
            relay_s=processes.cpu_s(relay.pid) if relay else None,
            peer_s=time.process_time(),
            node_s=processes.cpu_s(node.pid) if node else None,
        )


def _less(after: Costs, before: Costs) -> Costs:
    def minus(one: float | None, other: float | None) -> float | None:
        return None if one is None or other is None else one - other

    return Costs(
        minus(after.relay_s, before.relay_s), after.peer_s - before.peer_s, minus(after.node_s, before.node_s)
    )


def _tell(case: Case, number: int, way: Way, figures: Figures, took: float) -> None:
    speed = f"{figures.rate:9.0f} lines/s" if case.table == "flat" else f"{figures.late_ms:9.2f} ms"
    load = "" if figures.relay_cpu is None else f"  {figures.relay_cpu:.3f} CPU s per 1,000 lines"
    sys.stderr.write(
        f"{case.key:8} {number + 1}/{case.rounds}  {way.name:20} {speed}{load}"
        f"  {figures.whole}/{figures.streams} whole, {took:.1f} s\n"
    )
    sys.stderr.flush()


async def measure(parts: Parts, wanted: Sequence[Case]) -> list[tuple[Case, Rounds]]:
    """Run the cases, one after the other."""
    ways = dict.fromkeys(way for case in wanted for way in case.ways if way.relay)
    async with contextlib.AsyncExitStack() as stack:
        listeners = {}
        for way in ways:
            client = await stack.enter_async_context(
                MultiClient(num_sub_clients=2, rpc_server_addr=[parts.rpc])
            )
            await client.wait_connected(30)
            address = parts.relays[way.relay].told
            listeners[way] = streams.Listener(client, address, acknowledges=way.acknowledges)
        bench = Bench(parts, listeners)
        await bench.warm()
        return [(case, await bench.case(case)) for case in wanted]


def start(stack: contextlib.ExitStack, wanted: Sequence[Case], rpc: str | None) -> Parts:
    """Start what the cases need; all of it ends with the stack."""
    target = f"http://127.0.0.1:{stack.enter_context(processes.paced()).told}"
    node = None if rpc else stack.enter_context(processes.dev_node())
    address = rpc or (node.told if node else "")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    most = max(streams.WARM.streams, *(case.load.streams for case in wanted))
    relays = {"ours": stack.enter_context(processes.our_relay(folder, address, target, most))}
    if any(way.relay == "sdk" for case in wanted for way in case.ways):
        relays["sdk"] = stack.enter_context(processes.sdk_relay(address, target))
    return Parts(target, address, node, relays)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 0 done, 1 something is missing, 2 wrong arguments."""
    given = _options().parse_args(argv)
    keys = [case.key for case in cases.FULL]
    only = given.only.split(",") if given.only else None
    if unknown := set(only or ()) - set(keys):
        sys.stderr.write(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(keys)}\n")
        return 2
    wanted = cases.chosen(
        only=only, quick=given.quick, rounds=given.rounds, seconds=given.seconds, sdk=not given.without_sdk
    )
    try:
        with contextlib.ExitStack() as stack:
            found = asyncio.run(measure(start(stack, wanted, given.rpc), wanted))
    except processes.MissingPartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    facts = processes.machine(sdk=not given.without_sdk) | {
        "NKN node": "a real one" if given.rpc else "the dev node"
    }
    report = Report(facts, found)
    writing.write(report.markdown(), report.json(), given)
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="This relay beside a plain one on nkn-sdk, and direct HTTP.")
    parser.add_argument("--quick", action="store_true", help="one short round of each case, within a minute")
    parser.add_argument("--only", help=f"CSV of {', '.join(case.key for case in cases.FULL)}")
    parser.add_argument("--rounds", type=int, help="of each case")
    parser.add_argument("--seconds", type=float, help="length of each paced stream")
    parser.add_argument(
        "--without-sdk", action="store_true", help="leave the plain relay out (needs no node)"
    )
    parser.add_argument("--rpc", metavar="URL", help="a real node's RPC instead of a dev node of its own")
    writing.flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
