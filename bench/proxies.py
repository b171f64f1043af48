"""Our front beside nginx, LiteLLM's proxy and nobody at all, before the same upstream, in one run.

    make bench-proxies ARGS=--quick
    python -m bench.proxies [--quick] [--only pace64,flat8] [--peers farm,nginx] [--litellm PROGRAM] …

Upstream, proxies and clients are processes of their own. Every case is run in turn, each round in the other
order. Tables on standard output, progress on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from types import FrameType

from bench import processes, proxy_cases, proxy_peers, proxy_tables, writing
from bench.processes import Child, MissingPartError
from bench.proxy_cases import PEERS, Case, Load, Way
from bench.proxy_load import Job
from bench.proxy_peers import Peer
from bench.proxy_tables import Figures, Report, Rounds

_LITELLM = "LITELLM"
"""The environment's name for LiteLLM's program."""
_LIBRARIES = ("uvicorn", "httptools", "fastapi", "aiohttp")
_WARM = Load(8, 50, 10, 0.5, 0.3)
_WARM_TIMES = 20
"""LiteLLM needs some seconds for its first request."""
_QUIET_S = 0.3
"""Between two runs: connections that were cut are noticed and given up."""
_LATE_S = 60.0
"""Clients that have not told their figures so long after a load are given up."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The programs of a run.

    Attributes:
        upstream: its process.
        port: where it answers.
        peers: those that run.
        missing: peer → why it does not.
    """

    upstream: Child
    port: int
    peers: dict[str, Peer]
    missing: dict[str, str]

    def put(self, load: Load, way: Way) -> Figures:
        """Put a load on a way.

        Raises:
            ValueError: not one line came.
        """
        peer = self.peers.get(way.peer)
        clocks = {"upstream": [self.upstream.pid]}
        if peer is None:
            job = Job(self.port, way.path, load, clocks=clocks)
        else:
            job = Job(peer.port, way.path, load, peer.key, clocks | {"proxy": list(peer.pids)})
        words = [sys.executable, "-m", "bench.proxy_load", job.written()]
        limit_s = load.warm_s + load.seconds + _LATE_S
        done = subprocess.run(
            words, cwd=processes.ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=limit_s
        )
        time.sleep(_QUIET_S)
        return proxy_tables.of_load(json.loads(done.stdout), None if peer is None else peer.rss_mib())


def start(stack: contextlib.ExitStack, wanted: Sequence[str], program: str | None) -> Parts:
    """Start upstream and proxies; all of them end with the stack."""
    upstream = stack.enter_context(Child([sys.executable, "-m", "bench.proxy_upstream"], "ready"))
    port = int(upstream.told)
    makers = {
        "farm": partial(proxy_peers.farm, port),
        "nginx": partial(proxy_peers.nginx, port),
        "litellm": partial(proxy_peers.litellm, port, program),
    }
    peers: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in wanted:
        _say(f"starting {name}")
        try:
            peers[name] = stack.enter_context(makers[name]())
        except MissingPartError as error:
            missing[name] = str(error)
            _say(f"  {error}")
    return Parts(upstream, port, peers, missing)


def measure(parts: Parts, wanted: Sequence[Case]) -> list[tuple[Case, Rounds]]:
    """Run the cases, one after the other."""
    for way in wanted[0].ways:
        if way.peer not in parts.missing:
            _warm(parts, way)
    return [(case, _case(parts, case)) for case in wanted]


def _warm(parts: Parts, way: Way) -> None:
    for left in reversed(range(_WARM_TIMES)):
        try:
            parts.put(_WARM, way)
            break
        except ValueError:
            if not left:
                raise


def _case(parts: Parts, case: Case) -> Rounds:
    rounds: Rounds = {way: [] for way in case.ways}
    left = {way for way in case.ways if way.peer not in parts.missing}
    for number in range(case.rounds):
        for way in case.order(number):
            if way not in left:
                continue
            try:
                figures = parts.put(case.load, way)
            except ValueError as error:
                if not way.peer:
                    raise  # without what it is held against there is no figure at all
                left.discard(way)  # its rounds stay those of the others' first ones
                _say(f"{case.key:10} {number + 1}/{case.rounds}  {way.name:12} {error}")
                continue
            rounds[way].append(figures)
            _tell(case, number, way, figures)
    return rounds


def _tell(case: Case, number: int, way: Way, figures: Figures) -> None:
    cpu = "" if figures.proxy_cpu is None else f"  {figures.proxy_cpu:.3f} CPU s per 1,000 lines"
    failed = f"  {figures.failed} FAILED: {figures.words}" if figures.failed else ""
    first = "" if figures.ttft_ms is None else f"{figures.ttft_ms:.2f} ms"
    _say(
        f"{case.key:10} {number + 1}/{case.rounds}  {way.name:12} first line {first:>11}"
        f"{figures.rate:10.0f} lines/s{cpu}{failed}"
    )


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


def _facts(parts: Parts, load: tuple[float, ...]) -> dict[str, str]:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)
    facts = processes.machine(sdk=False) | {"libraries": versions}
    facts |= {name: peer.version for name, peer in parts.peers.items() if peer.version}
    return facts | {"load average before": " ".join(f"{each:.2f}" for each in load)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 0 done, 1 the upstream or our front cannot run, 2 wrong arguments, 130 ended early."""
    given = _options().parse_args(argv)
    signal.signal(signal.SIGTERM, _leave)
    keys = [case.key for case in proxy_cases.FULL]
    only = given.only.split(",") if given.only else None
    peers = given.peers.split(",")
    for unknown, known in ((set(only or ()) - set(keys), keys), (set(peers) - set(PEERS), PEERS)):
        if unknown:
            sys.stderr.write(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}\n")
            return 2
    wanted = proxy_cases.chosen(
        only=only, peers=peers, quick=given.quick, rounds=given.rounds, seconds=given.seconds
    )
    load = os.getloadavg()
    try:
        with contextlib.ExitStack() as stack:
            parts = start(stack, peers, given.litellm)
            report = Report(_facts(parts, load), parts.missing, measure(parts, wanted))
    except (MissingPartError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    writing.write(report.markdown(), report.json(), given)
    return 0


def _leave(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    """nginx and LiteLLM would outlive us: end as after Ctrl-C, with everything that was started."""
    raise KeyboardInterrupt


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Our front beside nginx and LiteLLM's proxy.")
    parser.add_argument("--quick", action="store_true", help="one short round of each case, two minutes")
    parser.add_argument("--only", help=f"CSV of {', '.join(case.key for case in proxy_cases.FULL)}")
    parser.add_argument("--peers", default=",".join(PEERS), help="CSV of those that take part (%(default)s)")
    parser.add_argument("--rounds", type=int, help="of each case")
    parser.add_argument("--seconds", type=float, help="that are measured of each")
    parser.add_argument(
        "--litellm", metavar="PROGRAM", default=os.environ.get(_LITELLM), help=f"LiteLLM's (${_LITELLM})"
    )
    writing.flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
