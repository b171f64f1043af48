"""`python -m farm`: flags in, exit code out.

0 ended by a signal, 1 the machine said no (port, network, engine), 2 the flags are wrong.
"""

from __future__ import annotations

import argparse
import io
import logging
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Any

from farm import launch, limits, settings
from farm.plan import FarmPlan
from wire.errors import OurFault, SettingsFault

_COMMANDS = {"bench": "farm.bench.cli", "doctor": "farm.doctor.cli"}
_ABOUT = "Keep a model warm and parallel behind Ollama's API, with a front that passes streams on at once."
_MORE = (
    "commands: `bench` measures an endpoint, `doctor` says what is wrong here; each has a --help of its own"
)
_FLAGS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("--model", {}, "model to keep warm, e.g. gemma3:4b"),
    ("--num-parallel", {"type": int, "default": limits.NUM_PARALLEL}, "streams at the same time"),
    ("--gpu-layers", {"type": int, "default": -1}, "layers on the GPU; -1: as many as fit, 0: none"),
    ("--front-port", {"type": int, "default": limits.FRONT_PORT}, "where clients come; 0: any"),
    (
        "--back-port",
        {"type": int},
        f"the backend ({limits.OLLAMA_PORT}, embedded {limits.BACK_PORT}; 0: any); an Ollama there is used",
    ),
    ("--host", {"default": "127.0.0.1"}, "address the front binds: this machine only; 0.0.0.0: your network"),
    ("--mode", {"default": "auto"}, "auto, docker, local, or embedded: an engine of our own, a small model"),
    ("--models-dir", {}, "folder of the models (the one Ollama uses here, else ./models)"),
    ("--keepalive", {"default": limits.KEEP_ALIVE}, "how long an idle model stays in memory; -1s: for ever"),
    ("--ctx", {"type": int}, f"context per stream in tokens ({limits.CTX}, embedded {limits.SLOT_TOKENS})"),
    ("--no-pull", {"action": "store_true"}, "do not fetch the model when it is missing"),
    ("--per-gpu", {"action": "store_true"}, "a backend for each NVIDIA GPU, on ports from --back-port up"),
    ("--image", {"default": ""}, f"container image ({launch.IMAGE})"),
    ("--max-queue", {"type": int, "default": limits.WAITING_MAX}, "requests that may wait"),
    ("--allow-admin", {"action": "store_true"}, "other machines may pull, create and delete as well"),
    ("--dry-run", {"action": "store_true"}, "print what would be started, and start nothing"),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m farm", description=_ABOUT, epilog=_MORE)
    for flag, kind, what in _FLAGS:
        default = "" if kind.get("default") in {None, ""} else " (default %(default)s)"
        parser.add_argument(flag, help=what + default, **kind)
    return parser


def _joined(words: Sequence[str]) -> list[str]:
    """`--keepalive -1s` in one word: argparse takes what begins with a dash for a flag."""
    found: list[str] = []
    for word in words:
        if found[-1:] == ["--keepalive"] and not word.startswith("--"):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _look_for_packages() -> None:
    """ModuleNotFoundError for what is imported only once the engine is on its way."""
    for name in ("aiohttp", "fastapi", "httpx", "prometheus_client", "psutil", "uvicorn"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(name=name)


def _tell(note: str) -> None:
    print(f"farm: {note}", file=sys.stderr, flush=True)


def _show(plan: FarmPlan) -> None:
    """What would be started, for `--dry-run`."""
    from farm.sources import preview

    for line in preview(plan):
        print(line)


def _leave(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    # Not KeyboardInterrupt: one that strikes in a compiled string, as dataclasses have them, makes Python's
    # exit code its own wherever it is caught.
    raise SystemExit(0)


def main(argv: list[str] | None = None) -> int:
    """Run the farm until a signal ends it; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in _COMMANDS:
        return int(import_module(_COMMANDS[words[0]]).main(words[1:]))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without arrows is no reason to end
    try:
        # Until the loop has handlers of its own: a fetch is left by SIGTERM as by Ctrl-C.
        signal.signal(signal.SIGTERM, _leave)
        _log()
        flags = vars(_parser().parse_args(_joined(words)))
        dry = flags.pop("dry_run")
        _run(settings.check(**flags), dry)
    except SettingsFault as fault:
        print(f"farm: {fault.detail}", file=sys.stderr)
        return 2
    except OurFault as fault:
        print(f"farm: {fault.detail}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"farm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _run(plan: FarmPlan, dry: bool) -> None:  # noqa: FBT001 - one caller
    _look_for_packages()
    if dry:
        return _show(plan)
    from farm import house

    return house.run(plan, lambda url: print(f"→ farm ready: {url}", flush=True), _tell)


def _log() -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
