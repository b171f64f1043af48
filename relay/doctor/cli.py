"""`python -m relay doctor`: flags in, findings on stdout, exit code out.

0 the relay can serve, 1 it cannot, 2 the flags are wrong, 130 ended by Ctrl-C. Changes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from relay.doctor import looking, paper
from relay.doctor.examination import examine

_ABOUT = "Say why this relay cannot serve, and what to do about it. Changes nothing."


def parser() -> argparse.ArgumentParser:
    """The flags."""
    found = argparse.ArgumentParser(prog="python -m relay doctor", description=_ABOUT)
    found.add_argument("--env-file", type=Path, default=Path(".env"), help="settings; default: %(default)s")
    found.add_argument("--json", action="store_true", help="the findings as JSON")
    return found


def main(argv: Sequence[str]) -> int:
    """Look, and say what was found; returns the exit code."""
    flags = parser().parse_args(argv)
    findings = examine(looking.look(flags.env_file, os.environ))
    try:
        print(paper.as_json(findings) if flags.json else paper.text(findings), end="", flush=True)
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return paper.exit_code(findings)
