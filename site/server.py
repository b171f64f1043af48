"""The site: `python3 site/server.py` serves the page over HTTPS, by default to this machine alone.

Flags in, exit code out: 0 ended by a signal, 1 the machine said no (port, files), 2 the flags are wrong.
It talks to neither relay nor farm; the page does, from the browser.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import importlib.util
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from faults import SiteFault

if TYPE_CHECKING:
    from doorman import Doorman
    from keeping import Kept
    from place import Place

FOLDER = Path(__file__).resolve().parent
PORT = 8443
_MISSING = (
    "The Python package cryptography is not installed for this Python. In the folder above, `make demo` "
    "installs everything into .venv; then run .venv/bin/python site/server.py"
)


def main(argv: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Serve the site that lies in a folder until a signal; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without arrows is no reason to end
    options = _options(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    try:
        _look_for_packages()
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # see `doorman._first_byte`
            runner.run(_serve(options, folder))
    except SiteFault as fault:
        print(f"site: {fault.detail}", file=sys.stderr)
        return fault.code
    except KeyboardInterrupt:
        pass
    return 0


def _look_for_packages() -> None:
    if importlib.util.find_spec("cryptography") is None:
        raise SiteFault(_MISSING)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="site/server.py", description="Serve the page that talks to your relay, over HTTPS."
    )
    parser.add_argument("--port", type=_port, default=PORT, help="0: any (default %(default)s)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address or name to listen on: this machine only; 0.0.0.0: your network (default %(default)s)",
    )
    parser.add_argument("--cert", type=Path, metavar="F", help="certificate of your own, PEM, with its chain")
    parser.add_argument("--key", type=Path, metavar="F", help="its private key, PEM, without passphrase")
    parser.add_argument(
        "--cert-dir", type=Path, metavar="D", help="where the certificate made on first run is kept"
    )
    options = parser.parse_args(argv)
    if (options.cert is None) != (options.key is None):
        parser.error("--cert and --key go together")
    return options


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


async def _serve(options: argparse.Namespace, folder: Path) -> None:
    from place import take

    place = take(options.host, options.port)
    with place.listener:
        doorman = _prepare(options, folder, place)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stopped.set))
        serving = asyncio.create_task(doorman.run())
        await stopped.wait()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one while it ends changes nothing
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def _prepare(options: argparse.Namespace, folder: Path, place: Place) -> Doorman:
    """Everything that can be wrong is found here, before anybody is served."""
    from answers import Site
    from doorman import Doorman
    from place import url
    from shelf import gather
    from vendored import VENDORED

    items = gather(folder, VENDORED)
    kept = _certificate(options, place)
    names = place.names if kept.own else place.names | kept.pair.names
    site = Site(items, names, strict_transport=not kept.own)
    _tell(place, kept)
    return Doorman(place.listener, kept.context, site.answer, url)


def _certificate(options: argparse.Namespace, place: Place) -> Kept:
    import keeping

    now = dt.datetime.now(dt.UTC)
    if options.cert is not None:
        return keeping.owners(options.cert, options.key, now)
    return keeping.own(options.cert_dir or keeping.default_folder(os.environ), place.names, now)


def _tell(place: Place, kept: Kept) -> None:
    if kept.note:
        print(f"site: {kept.note}", file=sys.stderr, flush=True)
    print(f"→ site ready: {place.urls[0]}", flush=True)
    if len(place.urls) > 1:
        print(f"  from your network: {' '.join(place.urls[1:])}", flush=True)
    if kept.own:
        print(
            "  the browser warns once, since this machine made the certificate itself; its SHA-256 "
            f"fingerprint is {kept.pair.fingerprint}",
            flush=True,
        )


def _leave(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
