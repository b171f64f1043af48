"""`python -m mutation [MODULE ...]`: every small change to the pure floors, and whether a test notices.

Exit code 1 if fewer than 90 % of the changes are noticed, or one that is not has no reason in survivors.toml.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from mutation.children import Mutant
from mutation.ledger import KNOWN, SCORE, Ledger, key, listed, survived
from mutation.trial import Trial, run
from scripts.core import pure_modules, pure_tests

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "survivors.txt"
_PROGRESS_S = 5.0


def main(argv: Sequence[str] | None = None) -> int:
    """Try the changes; 0 all is well, 1 not, 2 there is no such module or the tests cannot be run."""
    told = _parser().parse_args(argv)
    names = [name for name in pure_modules() if _is_meant(name, told.modules)]
    if not names:
        _say(f"there is no pure module {' '.join(told.modules)}")
        return 2
    modules = {name: ROOT / f"{name.replace('.', '/')}.py" for name in names}
    ledger, began = Ledger(listed(told.survivors)), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation") as folder:
        trial = Trial(
            modules=modules,
            chosen=_chosen(told),
            jobs=told.jobs,
            folder=Path(folder),
            told=_progress(ledger),
            say=_say,
            unchanged=told.unchanged,
        )
        code = run(trial, pure_tests(pure_modules()), ROOT)
    if code:
        _say(f"pytest ended with {code}")
        return 2
    if told.unchanged:
        print(ledger.table())
        return int(ledger.score > 0)
    if told.sample == 1:  # else one of two places with the same change may have been left out
        for one in ledger.stale():
            _say(f"listed, and killed now: {' '.join(one)}")
    return _end(ledger, told.out, time.monotonic() - began)


def _end(ledger: Ledger, out: Path, took_s: float) -> int:
    print(ledger.table())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(ledger.survivors(), encoding="utf-8")
    unknown = ledger.unknown()
    _say(f"{took_s / 60:.1f} min; {len(ledger.alive):,} survivors, {len(unknown):,} not listed: {out}")
    return 1 if unknown or ledger.score < SCORE else 0


def _is_meant(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _chosen(told: argparse.Namespace) -> Callable[[Sequence[Mutant]], Sequence[Mutant]]:
    again = survived(told.out) if told.again else None

    def chosen(mutants: Sequence[Mutant]) -> Sequence[Mutant]:
        if again is not None:
            mutants = [mutant for mutant in mutants if key(mutant) in again]
        return mutants[random.Random(told.seed).randrange(told.sample) :: told.sample]

    return chosen


def _progress(ledger: Ledger) -> Callable[[Mutant, str, int, int], None]:
    began, shown = 0.0, 0.0

    def told(mutant: Mutant, end: str, done: int, everything: int) -> None:
        nonlocal began, shown
        ledger.add(mutant, end)
        now = time.monotonic()
        if done == 1:
            began = shown = now
        elif now - shown >= _PROGRESS_S:
            shown = now
            rate, alive = done / (now - began), len(ledger.alive)
            _say(f"{done:,} of {everything:,}, {alive:,} alive, {rate:.1f} a second, {mutant.module}")

    return told


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="names, * allowed; all without one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--sample", type=int, default=1, metavar="K", help="one in so many")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--unchanged", action="store_true", help="exchange nothing: all must survive")
    parser.add_argument("--again", action="store_true", help="those that survived the last time, in --out")
    parser.add_argument("--out", type=Path, default=OUT, help="where every survivor is written")
    parser.add_argument("--survivors", type=Path, default=KNOWN, help="those that are known, with reasons")
    return parser


if __name__ == "__main__":
    sys.exit(main())
