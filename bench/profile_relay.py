"""Where the relay's CPU goes, part by part, and what is left unexplained.

    python -m bench.profile_relay [--streams 8] [--rate 30] [--seconds 5] [--seams] [--json F] [--markdown F]

The same load goes to the relay as it is and to one with clocks at its seams (`timed_relay`): the first tells
what it costs, the second where, and both together what the clocks themselves cost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import processes, streams, writing
from bench.processes import Child, Threads
from bench.streams import WARM, Load
from bench.tables import table
from bench.timed_relay import OF_WORKERS, SEAMS
from relay.nkn import MultiClient


@dataclass(frozen=True, slots=True)
class Spent:
    """What one load cost a relay.

    Attributes:
        whole_s: CPU of its process.
        threads: CPU of its threads.
        seams: seam → calls and CPU seconds; empty for the relay without clocks.
    """

    lines: int
    whole_s: float
    threads: Threads
    seams: dict[str, tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One part, per 1,000 lines; calls and microseconds of each are None for a remainder."""

    name: str
    calls: float | None
    each_us: float | None
    cpu_s: float


async def run(rpc: str, relay: Child, load: Load, *, clocks: bool, acknowledges: bool) -> Spent:
    """One load, with a peer that acknowledges or does not."""

    def look() -> tuple[dict[str, list[float]], Threads, float]:
        told = json.loads(relay.ask()) if clocks else {}
        return told, processes.threads_s(relay.pid), processes.cpu_s(relay.pid)

    async with MultiClient(num_sub_clients=2, rpc_server_addr=[rpc]) as client:
        await client.wait_connected(30)
        listener = streams.Listener(client, relay.told, acknowledges=acknowledges)
        ask = streams.over_nkn(listener.peer)
        await streams.run(ask, WARM)
        await listener.quiet()
        told, threads, whole = look()
        found = await streams.run(ask, load)
        await listener.quiet()
        told_now, threads_now, whole_now = look()
    seams = {
        seam: (round(calls - told[seam][0]), cpu_s - told[seam][1])
        for seam, (calls, cpu_s) in told_now.items()
    }
    lines = sum(len(stream.came) for stream in found)
    return Spent(lines, whole_now - whole, threads_now.since(threads), seams)


def rows(timed: Spent, untouched: Spent, *, by_seam: bool) -> list[Row]:
    """The parts or seams, what is left of both kinds of threads, and the whole."""

    def row(name: str, cpu_s: float, calls: int | None = None) -> Row:
        often = None if calls is None else calls / timed.lines * 1000
        return Row(name, often, cpu_s / calls * 1e6 if calls else None, cpu_s / timed.lines * 1000)

    found, looped, posted = [], 0.0, 0.0
    for part, seams in SEAMS:
        told = {seam: timed.seams[seam] for seam in seams}
        cpu_s = sum(each for _, each in told.values())
        posted += cpu_s if part in OF_WORKERS else 0.0
        looped += 0.0 if part in OF_WORKERS else cpu_s
        if by_seam:
            found += [row(f"`{_short(seam)}`", each, calls) for seam, (calls, each) in told.items()]
        else:
            found.append(row(part, cpu_s, sum(calls for calls, _ in told.values())))
    return [
        *found,
        row("rest of the worker threads: waking up, GIL", timed.threads.others_s - posted),
        row("rest of the loop's thread", timed.threads.loop_s - looped),
        row("whole process, with clocks", timed.whole_s),
        Row("whole process, without", None, None, untouched.whole_s / untouched.lines * 1000),
    ]


def _short(seam: str) -> str:
    module, _, path = seam.partition(":")
    return f"{module.rpartition('.')[2]}.{path}"


def shown(found: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    whole = found[-2].cpu_s

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.0f}"

    body = [
        (row.name, number(row.calls), number(row.each_us), f"{row.cpu_s:.3f}", f"{row.cpu_s / whole:.0%}")
        for row in found
    ]
    return table(("part", "calls per 1,000 lines", "µs each", "CPU s per 1,000 lines", "share"), body)


def measure(load: Load) -> dict[str, tuple[Spent, Spent]]:
    """Mode → the load's cost for the relay with clocks and for the one without."""
    with contextlib.ExitStack() as stack:
        target = f"http://127.0.0.1:{stack.enter_context(processes.paced()).told}"
        rpc = stack.enter_context(processes.dev_node()).told

        def relay(program: tuple[str, ...]) -> Child:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            room = max(load.streams, WARM.streams)
            return stack.enter_context(processes.our_relay(folder, rpc, target, room, program))

        timed, untouched = relay(processes.TIMED), relay(processes.OURS)
        found = {}
        for name, acknowledges in (("clocked by acknowledgements", True), ("plain windows", False)):
            sys.stderr.write(f"{name} …\n")
            found[name] = (
                asyncio.run(run(rpc, timed, load, clocks=True, acknowledges=acknowledges)),
                asyncio.run(run(rpc, untouched, load, clocks=False, acknowledges=acknowledges)),
            )
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run it and print the tables; 0 done, 1 something is missing."""
    parser = argparse.ArgumentParser(description="Where the relay's CPU goes, part by part.")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--rate", type=int, default=30, help="lines a second of each stream, 0 for no pause")
    parser.add_argument("--seconds", type=float, default=5.0, help="30 lines a second if the rate is 0")
    parser.add_argument("--seams", action="store_true", help="each function by itself")
    writing.flags(parser)
    given = parser.parse_args(argv)
    load = Load(given.streams, given.rate, max(2, round((given.rate or 30) * given.seconds)))
    try:
        found = measure(load)
    except processes.MissingPartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    title = f"{load.streams} × {f'{load.rate} lines/s' if load.rate else 'flat out'}"
    tables = {name: rows(*pair, by_seam=given.seams) for name, pair in found.items()}
    text = "\n\n".join(f"**{title}, {name}**\n\n{shown(each)}" for name, each in tables.items()) + "\n"
    told = {name: [asdict(row) for row in each] for name, each in tables.items()}
    writing.write(text, told, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
