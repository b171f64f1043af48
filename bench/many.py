"""Memory of the relay under very many streams for minutes, and after them.

    python -m bench.many [--streams 1000] [--rate 1] [--minutes 10] [--json F] [--markdown F]

Upstream, node and relay are processes of their own. What the relay holds at rest, before anything was asked,
is the base. A first wave of as many streams for a few seconds shows what it keeps of the memory that it once
needed; then the streams that are watched, and what is left of them: when all ids are forgotten, after six
minutes. Resident memory, as the kernel counts it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from bench import processes, streams, writing
from bench.processes import Child, MissingPartError
from bench.streams import WARM, Listener, Load, Stream
from bench.tables import table
from relay.nkn import MultiClient
from wire import limits

_LOOK_S = 1.0
_FORGOTTEN_S = max(limits.ANSWERED_TTL_S, limits.SEEN_TTL_S) + 2 * limits.TIDY_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run.

    Attributes:
        base_mib: at rest, after a first small load.
        wave_mib: at rest after the first wave, when what was kept is forgotten and memory was given back.
        minutes: the middle of each minute's looks.
        most_mib: the highest look.
        after_mib: at rest again, as after the first wave.
        whole, streams: that ended well, and all.
        first_ms: request to first line, the middle.
        core: share of one core.
    """

    base_mib: float
    wave_mib: float
    minutes: list[float]
    most_mib: float
    after_mib: float
    whole: int
    streams: int
    first_ms: float
    core: float


async def measure(relay: Child, rpc: str, load: Load) -> Outcome:
    """Run the load once."""
    looks: list[float] = []

    async def look() -> None:
        while True:
            looks.append(processes.rss_mib(relay.pid))
            if len(looks) % 60 == 0:
                sys.stderr.write(f"{len(looks) // 60} min: {looks[-1]:.0f} MiB\n")
            await asyncio.sleep(_LOOK_S)

    async with MultiClient(num_sub_clients=2, rpc_server_addr=[rpc]) as client:
        await client.wait_connected(30)
        listener = Listener(client, relay.told, acknowledges=True)

        async def rest(load: Load, seconds: float = _FORGOTTEN_S) -> tuple[list[Stream], float]:
            found = await streams.run(streams.over_nkn(listener.peer), load)
            await listener.quiet()
            await asyncio.sleep(seconds)
            return found, processes.rss_mib(relay.pid)

        _, base = await rest(WARM, limits.TIDY_S + 5)
        _, wave = await rest(replace(load, lines=5 * load.rate))
        cpu = processes.cpu_s(relay.pid)
        looking = asyncio.create_task(look())
        found, after = await rest(load)
        looking.cancel()
        core = (processes.cpu_s(relay.pid) - cpu) / (load.lines / load.rate)
    under_load = looks[: max(1, int(load.lines / load.rate / _LOOK_S))]
    per_minute = [under_load[start : start + 60] for start in range(0, len(under_load), 60)]
    return Outcome(
        base,
        wave,
        [median(each) for each in per_minute],
        max(looks),
        after,
        sum(stream.whole for stream in found),
        len(found),
        median(stream.first_ms for stream in found if stream.came),
        core,
    )


def shown(outcome: Outcome) -> str:
    """The tables."""
    facts = (
        ("whole streams", f"{outcome.whole}/{outcome.streams}"),
        ("first line p50", f"{outcome.first_ms:.0f} ms"),
        ("the relay's CPU", f"{outcome.core:.0%} of a core"),
        ("memory at rest", f"{outcome.base_mib:.0f} MiB"),
        ("at most", f"{outcome.most_mib:.0f} MiB, {outcome.most_mib - outcome.base_mib:.0f} more"),
        ("minute by minute", ", ".join(f"{mib:.0f}" for mib in outcome.minutes)),
        ("at rest after a first wave of as many", f"{outcome.wave_mib:.0f} MiB"),
        (
            "at rest afterwards",
            f"{outcome.after_mib:.0f} MiB, {outcome.after_mib / outcome.wave_mib - 1:+.1%}",
        ),
    )
    return f"{table(('what', 'figure'), facts)}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 0 done, 1 something is missing."""
    parser = argparse.ArgumentParser(description="The relay's memory under many streams.")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=1, help="lines a second of each")
    parser.add_argument("--minutes", type=float, default=10.0)
    writing.flags(parser)
    given = parser.parse_args(argv)
    load = Load(given.streams, given.rate, max(2, round(given.minutes * 60 * given.rate)))
    try:
        with contextlib.ExitStack() as stack:
            target = f"http://127.0.0.1:{stack.enter_context(processes.paced()).told}"
            node = stack.enter_context(processes.dev_node())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            relay = stack.enter_context(processes.our_relay(folder, node.told, target, given.streams))
            outcome = asyncio.run(measure(relay, node.told, load))
    except MissingPartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    writing.write(shown(outcome), asdict(outcome), given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
