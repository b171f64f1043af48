"""A run's tables and figures, on standard output and in the files that were asked for."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def flags(parser: argparse.ArgumentParser) -> None:
    """Where to write."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables")


def write(text: str, told: Any, given: argparse.Namespace) -> None:
    """Write the tables and, as JSON, what they were made of."""
    sys.stdout.write(text)
    if given.markdown:
        given.markdown.write_text(text, encoding="utf-8")
    if given.json:
        given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
