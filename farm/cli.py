"""`python -m farm`: flags in, exit code out.

0 ended by a signal, 1 the machine said no (port, network, engine), 2 the flags are wrong.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from importlib.util import find_spec
from types import FrameType

from farm import limits, settings
from farm.embedded import card
from wire.errors import OurFault, SettingsFault


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m farm",
        description="Keep one model warm behind Ollama's API and a proxy that passes streams on at once.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--mode", required=True, help="embedded: an engine of our own with a small model")
    parser.add_argument("--model", default=card.NAME, help="model to serve")
    parser.add_argument(
        "--num-parallel", type=int, default=limits.NUM_PARALLEL, help="streams at the same time"
    )
    parser.add_argument(
        "--front-port", type=int, default=limits.FRONT_PORT, help="where clients come; 0: any"
    )
    parser.add_argument("--back-port", type=int, default=limits.BACK_PORT, help="the backend's; 0: any")
    parser.add_argument("--host", default="127.0.0.1", help="address the front binds")
    parser.add_argument("--keepalive", default=limits.KEEP_ALIVE, help="how long an idle model stays loaded")
    parser.add_argument("--ctx", type=int, default=limits.SLOT_TOKENS, help="context per stream in tokens")
    return parser


def _look_for_packages() -> None:
    """ModuleNotFoundError for what is imported only once the engine is on its way."""
    for name in ("fastapi", "httpx", "uvicorn"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(name=name)


def _leave(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Run the farm until a signal ends it; returns the exit code."""
    # Until the loop has handlers of its own: a fetch is left by SIGTERM as by Ctrl-C.
    signal.signal(signal.SIGTERM, _leave)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    flags = _parser().parse_args(argv)
    try:
        asked = settings.check(**vars(flags))
        _look_for_packages()
        from farm import house

        house.run(asked, lambda url: print(f"→ farm ready: {url}", flush=True))
    except SettingsFault as fault:
        print(f"farm: {fault.detail}", file=sys.stderr)
        return 2
    except OurFault as fault:
        print(f"farm: {fault.detail}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0
