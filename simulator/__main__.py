"""`python -m simulator`: many worlds, one after the other; or one of them, event by event."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

from simulator.planted import BUGS, planted
from simulator.world import Outcome, run

SEEDS = Path(__file__).with_name("seeds.txt")
"""Seeds of worlds in which a promise was broken once; run first, for ever."""
_PROGRESS_S = 2.0


def kept(path: Path = SEEDS) -> list[int]:
    """The seeds in a file: the first word of each line that is no remark."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run worlds; 1 if a promise was broken in one."""
    told = _parser().parse_args(argv)
    if told.plant:
        with planted(told.plant):
            return _main(told)
    return _main(told)


def _main(told: argparse.Namespace) -> int:
    if told.seed is not None:
        return _show(run(told.seed, whole=told.trace), trace=told.trace)
    seeds = [*kept(), *range(told.first, told.first + told.worlds)]
    began, shown, streams, virtual_s, done = time.monotonic(), 0.0, 0, 0.0, 0
    for outcome in _outcomes(seeds, told.jobs):
        if outcome.violation is not None:
            if told.keep:
                _keep(outcome)
            return _show(outcome, trace=False)
        done += 1
        streams += outcome.streams
        virtual_s += outcome.virtual_s
        took = time.monotonic() - began
        if took - shown >= _PROGRESS_S:
            shown = took
            _tell(f"{done:,} of {len(seeds):,} worlds, {done / took:.0f} worlds/s")
    took = time.monotonic() - began
    _tell(
        f"{done:,} worlds, {streams:,} streams, {virtual_s / 3600:,.0f} virtual hours in {took:.1f} s, ",
        end="",
    )
    _tell(f"{done / took:.0f} worlds/s: every promise held")
    return 0


def _outcomes(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    if jobs <= 1:
        yield from map(run, seeds)
        return
    # Forked, so that a planted bug is there as well.
    with get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(run, seeds, chunksize=50)


def _show(outcome: Outcome, *, trace: bool) -> int:
    print("\n".join(outcome.last if trace or outcome.violation else ()))
    if outcome.violation is None:
        print(f"seed {outcome.seed}: every promise held, {outcome.virtual_s:.1f} virtual s, {outcome.digest}")
        return 0
    found = outcome.violation
    print(f"seed {outcome.seed}: {found.check}: {found.why}")
    print(f"again, all of it: python -m simulator --seed {outcome.seed} --trace")
    return 1


def _keep(outcome: Outcome) -> None:
    if outcome.seed not in kept() and outcome.violation is not None:
        with SEEDS.open("a", encoding="utf-8") as file:
            file.write(f"{outcome.seed}  {outcome.violation.check}\n")


def _tell(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one's seed")
    parser.add_argument("--seed", type=int, help="this world alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: every event of it")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep", action="store_true", help="write a seed that fails to seeds.txt")
    parser.add_argument("--plant", choices=sorted(BUGS), help="with this mistake in the relay")
    return parser


if __name__ == "__main__":
    sys.exit(main())
