"""`python -m farm bench`: flags in, tables on stdout, progress on stderr, exit code out.

0 measured (failed requests are in the table) or compared, 1 the target cannot be asked, nothing was answered
or a file could not be written, 2 the flags are wrong, 130 and 143 ended early by SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import PurePath

from farm.bench import comparison, files, limits, plot, record, run, settings, tables
from farm.bench.plan import Plan
from farm.bench.progress import Progress
from farm.bench.record import Result
from wire.errors import OurFault, SettingsFault


def parser() -> argparse.ArgumentParser:
    """The flags."""
    found = argparse.ArgumentParser(
        prog="python -m farm bench",
        description="Put load on a farm, an Ollama or an OpenAI endpoint and tell how it answers.",
        epilog=f"{settings.KEY_VARIABLE} in the environment is sent as bearer key.",
    )
    found.add_argument("url", nargs="?", default=limits.URL, metavar="URL", help="default: %(default)s")
    found.add_argument(
        "--api", choices=("auto", "native", "openai"), default="auto", help="auto asks /api/version"
    )
    found.add_argument("--model", help="default: the loaded one, or the only one")
    found.add_argument(
        "--endpoint", choices=("generate", "chat"), help="default: generate, with OpenAI's API chat"
    )
    load = found.add_mutually_exclusive_group()
    load.add_argument(
        "--concurrency", metavar="N,…", help=f"clients that wait; default: {limits.CONCURRENCY}"
    )
    load.add_argument("--rate", metavar="R,…", help="arrivals per second that wait for nothing (Poisson)")
    bounds = found.add_mutually_exclusive_group()
    bounds.add_argument("--requests", type=int, metavar="N", help=f"per step; default: {limits.REQUESTS}")
    bounds.add_argument("--duration", type=float, metavar="S", help="instead: seconds per step")
    texts = found.add_mutually_exclusive_group()
    texts.add_argument("--prompt", metavar="TEXT", help=f"default: {settings.PROMPT}")
    texts.add_argument("--prompts", metavar="FILE", help='used in turn; JSONL {"prompt": …} or a line each')
    _add_numbers(found)
    found.add_argument("--json", metavar="OUT", help="write the result")
    found.add_argument("--plot", metavar="OUT", help="draw it, .png or .svg (needs matplotlib)")
    found.add_argument(
        "--compare", nargs=2, metavar=("A.json", "B.json"), help="no load: hold result B against A"
    )
    return found


def _add_numbers(found: argparse.ArgumentParser) -> None:
    numbers = (
        ("--max-tokens", int, limits.MAX_TOKENS, "N", "per answer; 0 leaves it to the server"),
        ("--seed", int, 1, "N", "of the arrivals and, plus its number, of each request's sampling"),
        ("--warmup", int, limits.WARMUP, "N", "requests before the first step, not measured"),
        ("--timeout", float, limits.TIMEOUT_S, "S", "for one request to its end mark"),
    )
    for flag, kind, default, metavar, words in numbers:
        found.add_argument(
            flag, type=kind, default=default, metavar=metavar, help=f"{words}; default: %(default)g"
        )


def main(argv: list[str] | None = None) -> int:
    """Measure or compare; returns the exit code."""
    flags = parser().parse_args(argv)
    try:
        if flags.compare:
            return _compare(flags)
        return _measure(settings.check(flags), settings.key(os.environ))
    except OurFault as fault:
        print(f"farm bench: {fault.detail}", file=sys.stderr)
        return 2 if isinstance(fault, SettingsFault) else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read the tables has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _measure(plan: Plan, key: str | None) -> int:
    progress = Progress(sys.stderr, bar=sys.stderr.isatty())
    ended = asyncio.run(run.run(plan, key, progress))
    if ended.result is None or not ended.result.steps:
        print("farm bench: interrupted before the first step", file=sys.stderr)
        return 128 + (ended.signal or 0)
    result = ended.result
    # What was measured is told even if the disk is full, and kept even if nobody reads the tables.
    try:
        print(tables.result(result), end="", flush=True)
    finally:
        if plan.json_out is not None:
            _write("--json", plan.json_out, record.to_json(result).encode())
        if plan.plot_out is not None:
            _write("--plot", plan.plot_out, plot.draw(plan.plot_out, [("", result)]))
    if ended.signal is not None:
        return 128 + ended.signal
    return 0 if any(step.ok for step in result.steps) else 1


def _compare(flags: argparse.Namespace) -> int:
    if flags.json is not None:
        raise SettingsFault("--json", "--compare measures nothing that could be written")
    if flags.plot is not None:
        plot.look(flags.plot)
        files.claim("--plot", flags.plot)
    first, second = (_read(name) for name in flags.compare)
    names = _names(*flags.compare)
    print(tables.compared(names, comparison.compare(first, second)), end="", flush=True)
    if flags.plot is not None:
        labelled = list(zip(names, (first, second), strict=True))
        _write("--plot", flags.plot, plot.draw(flags.plot, labelled))
    return 0


def _names(first: str, second: str) -> tuple[str, str]:
    """The files' names, with their folders where the names alone are equal."""
    short = PurePath(first).name, PurePath(second).name
    return short if short[0] != short[1] else (first, second)


def _read(name: str) -> Result:
    try:
        return record.from_json(files.read("--compare", name))
    except ValueError as error:
        raise SettingsFault("--compare", f"{name}: {error}") from error


def _write(flag: str, name: str, data: bytes) -> None:
    try:
        files.write(name, data)
    except OSError as error:
        raise OurFault("write", f"{flag}: {name} cannot be written: {error.strerror}") from error
