"""`python -m farm doctor`: flags in, findings on stdout, exit code out.

0 no trouble, 1 some, 2 the flags are wrong, 130 ended by Ctrl-C. Changes nothing and needs no root.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys

from farm import limits as farm_limits
from farm import settings
from farm.doctor import limits, paper, survey
from farm.doctor.examination import Asked, examine
from farm.plan import FarmPlan
from wire.errors import SettingsFault
from wire.origin import Origin

_ABOUT = "Say what is wrong on this machine, and what to do about it. Changes nothing."


def parser() -> argparse.ArgumentParser:
    """The flags; those of the farm have the farm's names."""
    found = argparse.ArgumentParser(prog="python -m farm doctor", description=_ABOUT)
    found.add_argument("--front", metavar="URL", help="a running farm; default: the one on --front-port")
    ports = (("--front-port", farm_limits.FRONT_PORT), ("--back-port", farm_limits.OLLAMA_PORT))
    for flag, port in ports:
        found.add_argument(
            flag, type=int, default=port, metavar="N", help="of the farm; default: %(default)s"
        )
    found.add_argument("--model", metavar="NAME", help="is it there, and does it fit?")
    found.add_argument("--models-dir", metavar="PATH", help="folder of models, as the farm takes it")
    found.add_argument(
        "--try",
        dest="trial",
        metavar="NAME",
        help="load that model and ask it several times at once; costs tokens",
    )
    found.add_argument(
        "--at-once",
        type=int,
        default=limits.TRY_AT_ONCE,
        metavar="N",
        help=f"requests of --try, of {limits.TRY_TOKENS} tokens each; default: %(default)s",
    )
    found.add_argument("--json", action="store_true", help="the findings as JSON")
    return found


def main(argv: list[str] | None = None) -> int:
    """Look, and say what was found; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without arrows is no reason to end
    flags = parser().parse_args(argv)
    try:
        asked = _checked(flags)
        facts = survey.look(asked, _plan(asked), front=flags.front, models_dir=flags.models_dir)
        if flags.trial is not None:
            _tell(f"loading {flags.trial}, then asking it {flags.at_once} times at once")
            facts = survey.tried(facts, flags.trial, flags.at_once)
        findings = examine(facts)
        print(paper.as_json(findings) if flags.json else paper.text(findings), end="", flush=True)
    except SettingsFault as fault:
        print(f"farm doctor: {fault.detail}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return paper.exit_code(findings)


def _checked(flags: argparse.Namespace) -> Asked:
    """What was asked; `flags.front` becomes a clean URL.

    Raises:
        SettingsFault: names the flag and says what it takes.
    """
    for flag, port in (("--front-port", flags.front_port), ("--back-port", flags.back_port)):
        if not 1 <= port <= 65535:
            raise SettingsFault(flag, "must be 1 to 65535")
    if not 1 <= flags.at_once <= limits.TRY_AT_ONCE_MAX:
        raise SettingsFault("--at-once", f"must be 1 to {limits.TRY_AT_ONCE_MAX}")
    for flag, name in (("--model", flags.model), ("--try", flags.trial)):
        if name is not None and not (name.strip() and name.isprintable()):
            raise SettingsFault(flag, "must be a model's name")
    if flags.trial and flags.trial.strip().lower().endswith(("-cloud", ":cloud")):
        raise SettingsFault("--try", "a cloud model runs elsewhere and costs your account")
    if flags.front is not None:
        try:
            flags.front = str(Origin.parse(flags.front))
        except ValueError as error:
            raise SettingsFault("--front", str(error)) from error
    others = (farm_limits.OLLAMA_PORT, farm_limits.BACK_PORT, farm_limits.FRONT_PORT)
    return Asked(flags.front_port, flags.back_port, others, flags.model or flags.trial or "")


def _plan(asked: Asked) -> FarmPlan:
    """A farm as it would be started here with no more flags than these.

    Raises:
        SettingsFault: the ports are one.
    """
    return settings.check(
        mode="auto",
        model=asked.model or "any",
        host="127.0.0.1",
        front_port=asked.front_port,
        back_port=asked.back_port,
        num_parallel=farm_limits.NUM_PARALLEL,
        ctx=None,
        keepalive=farm_limits.KEEP_ALIVE,
    )


def _tell(text: str) -> None:
    print(f"farm doctor: {text}", file=sys.stderr, flush=True)
