"""Streams over bad networks: when the first line comes, how late each is, whether all come.

    python -m bench.lossy [--quick] [--only far,lossy2] [--ways ours,copies] [--tunnel FILE]
                          [--json F] [--markdown F]

A development node delays and loses each message by itself; the peer is ours. `copies` is the same relay that
sends every line on all paths at once, `tunnel` an nkn-tunnel of which FILE is the binary. Delays are those of
one direction: a round trip is twice the delay.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import processes, streams, writing
from bench.measured import quantile
from bench.processes import OURS, MissingPartError
from bench.streams import WARM, Ask, Listener, Load
from bench.tables import table
from bench.tunnel import tunnel
from relay.nkn import MultiClient

COPIES = ("-m", "bench.many_copies")
WAYS = {"ours": OURS, "copies": COPIES}
TUNNEL = "tunnel"
_LATE_S = 60.0
"""What is not whole so long after the upstream's last line never will be."""


@dataclass(frozen=True, slots=True)
class World:
    """One network.

    Attributes:
        delay_ms, jitter_ms: of each message, one way.
        loss: share of the messages that never come.
        cut_s: when all sockets of the node are cut, once; None for never.
    """

    key: str
    delay_ms: int
    jitter_ms: int
    loss: float
    cut_s: float | None = None

    @property
    def words(self) -> str:
        """For the table."""
        cut = "" if self.cut_s is None else f", all sockets cut at {self.cut_s:g} s"
        return f"{self.delay_ms} ± {self.jitter_ms} ms, {self.loss:.0%} loss{cut}"


WORLDS = (
    World("near", 0, 0, 0.0),
    World("far", 100, 20, 0.0),
    World("lossy2", 50, 20, 0.02),
    World("lossy5", 50, 20, 0.05),
    World("lossy10", 40, 40, 0.10),
    World("lossy15", 50, 20, 0.15),
    World("lossy40", 50, 20, 0.40),
    World("cut", 0, 0, 0.0, cut_s=2.0),
)
LOAD = Load(8, 30, 180)
QUICK = Load(4, 30, 60)


@dataclass(frozen=True, slots=True)
class Figures:
    """One run: milliseconds, the latest line, whole streams of all, copies and CPU per 1,000 lines.

    Of a tunnel nobody counts the copies, and it is the far end whose CPU it is.
    """

    world: str
    way: str
    first_ms: float
    first_p95_ms: float
    late_ms: float
    late_p99_ms: float
    latest_ms: float
    whole: int
    streams: int
    copies: float | None
    relay_cpu: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run looks at beside its streams: the relay's process, the node's control port, the peer."""

    pid: int
    control: int
    listener: Listener | None


async def measure(world: World, way: str, load: Load, program: str = "") -> Figures:
    """One way through one world; `program` is nkn-tunnel's."""
    with contextlib.ExitStack() as stack:
        target = f"127.0.0.1:{stack.enter_context(processes.paced()).told}"
        control = processes.free_port()
        faults = ["--delay-ms", str(world.delay_ms), "--jitter-ms", str(world.jitter_ms)]
        faults += ["--loss", str(world.loss), "--control-port", str(control)]
        node = stack.enter_context(processes.dev_node(*faults))
        if way == TUNNEL:
            other = stack.enter_context(tunnel(program, node.told, target))
            await other.wait()
            return await _run(world, way, load, other.ask(_seconds(load)), Parts(other.pid, control, None))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        room = max(load.streams, WARM.streams)
        relay = stack.enter_context(
            processes.our_relay(folder, node.told, f"http://{target}", room, WAYS[way])
        )
        async with MultiClient(num_sub_clients=2, rpc_server_addr=[node.told]) as client:
            await client.wait_connected(30)
            listener = Listener(client, relay.told, acknowledges=True)
            ask = streams.over_nkn(listener.peer)
            await streams.run(ask, Load(2, 30, 10))
            await listener.quiet()
            return await _run(world, way, load, ask, Parts(relay.pid, control, listener))


async def _run(world: World, way: str, load: Load, ask: Ask, parts: Parts) -> Figures:
    cpu_s, listener = processes.cpu_s(parts.pid), parts.listener
    traffic = listener.traffic if listener else None
    cutting = asyncio.create_task(_cut(world, parts.control))
    try:
        async with asyncio.timeout(_seconds(load) + 1.0):
            found = await streams.run(ask, load)
    finally:
        cutting.cancel()
    if listener is not None:
        await listener.quiet()
    came = [stream for stream in found if stream.came]
    late = [each for stream in came for each in stream.late_ms()]
    first = [stream.first_ms for stream in came]
    lines = sum(len(stream.came) for stream in came)
    return Figures(
        world.words,
        way,
        quantile(first, 0.5),
        quantile(first, 0.95),
        quantile(late, 0.5),
        quantile(late, 0.99),
        max(late, default=0.0),
        sum(stream.whole for stream in found),
        len(found),
        listener.traffic.since(traffic).copies / lines * 1000 if listener and traffic else None,
        (processes.cpu_s(parts.pid) - cpu_s) / lines * 1000,
    )


def _seconds(load: Load) -> float:
    """How long its streams may take."""
    return load.lines / load.rate + _LATE_S


async def _cut(world: World, control: int) -> None:
    """Cut every socket of the node, once."""
    if world.cut_s is None:
        return
    await asyncio.sleep(world.cut_s)
    asked = urllib.request.Request(f"http://127.0.0.1:{control}/cut", data=b"{}", method="POST")
    await asyncio.to_thread(lambda: urllib.request.urlopen(asked, timeout=5).read())  # noqa: S310


def shown(found: Sequence[Figures]) -> str:
    """The figures as a Markdown table."""
    body = [
        (
            one.world,
            one.way,
            f"{one.first_ms:.0f} / {one.first_p95_ms:.0f}",
            f"{one.late_ms:.0f} / {one.late_p99_ms:.0f}",
            f"{one.latest_ms:.0f}",
            f"{one.whole}/{one.streams}",
            "–" if one.copies is None else f"{one.copies:.0f}",
            f"{one.relay_cpu:.2f}",
        )
        for one in found
    ]
    heads = ("each way", "relay", "first line p50 / p95 ms", "line late p50 / p99 ms", "latest ms")
    costs = ("whole streams", "copies per 1,000 lines", "relay's CPU s per 1,000 lines")
    return table((*heads, *costs), body)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it and print the table; 0 done, 1 something is missing, 2 wrong arguments."""
    parser = argparse.ArgumentParser(description="Streams over networks that delay and lose.")
    parser.add_argument("--quick", action="store_true", help="4 streams of 2 s instead of 8 of 6")
    parser.add_argument("--only", help=f"CSV of {', '.join(world.key for world in WORLDS)}")
    parser.add_argument("--ways", default="ours,copies", help="CSV of ours, copies")
    parser.add_argument("--tunnel", metavar="FILE", help="the binary of nkn-tunnel, to be measured too")
    writing.flags(parser)
    given = parser.parse_args(argv)
    wanted = given.only.split(",") if given.only else [world.key for world in WORLDS]
    ways = given.ways.split(",")
    unknown = {*wanted} - {world.key for world in WORLDS} | {*ways} - {*WAYS}
    ways += [TUNNEL] if given.tunnel else []
    if unknown:
        sys.stderr.write(f"there is no {', '.join(sorted(unknown))}\n")
        return 2
    found = []
    try:
        for world in (world for world in WORLDS if world.key in wanted):
            for way in ways:
                began = time.monotonic()
                load = QUICK if given.quick else LOAD
                one = asyncio.run(measure(world, way, load, given.tunnel or ""))
                found.append(one)
                took = time.monotonic() - began
                sys.stderr.write(f"{world.key:8} {way:7} {one.whole}/{one.streams} whole, {took:.0f} s\n")
    except MissingPartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = shown(found) + "\n"
    writing.write(text, [asdict(one) for one in found], given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
