"""`python -m relay devnode`: the development node as a program.

Prints one line on standard output when it is ready, and one on standard error for each thing a client did
wrong. Shell; called by `relay.cli`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from relay.nkn.devnode import limits as own
from relay.nkn.devnode.faults import Faults, FaultsError, parse
from relay.nkn.devnode.ports import PortTaken
from relay.nkn.devnode.server import DevNode

_OWN = (
    ("--host", str, "127.0.0.1", "address to listen on"),
    ("--advertise", str, "", "host that clients are told, if it is another"),
    ("--rpc-port", int, 30003, "JSON-RPC"),
    ("--ws-port", int, 30002, "websocket"),
    ("--wss-port", int, None, "websocket with TLS and a self-signed certificate; off by default"),
    ("--cert-file", Path, None, "where to write that certificate, for clients to trust"),
    ("--block-s", float, own.BLOCK_S, "seconds between block hashes, 0 for none"),
    ("--seed", int, None, "makes keys and chance the same in each run"),
)
"""Option, type, default, what it is."""

_SAID = {
    "loss": "chance (0 to 1) that a frame vanishes",
    "duplicate": "chance that it arrives twice",
    "reorder": "chance that later ones overtake it",
    "reorder_ms": "how long it is held back at most",
    "delay_ms": "how long each frame takes",
    "jitter_ms": "up to this much more or less",
    "path_delay_ms": "more delay for single sub-clients, such as 0=20,1=200",
    "black_hole": "sub-clients whose frames all vanish, such as 0,2; -1 is the original client",
    "cut_every_s": "cut each socket when it is this old",
    "cut_after_frames": "cut each socket after so many frames",
    "no_challenge": "send no authChallenge",
    "refuse": "refuse every setClient as badly signed",
    "wrong_node": "so many setClient are answered with 48001",
    "wrong_node_push_s": "tell each client this often to go elsewhere",
    "wrong_node_addr": "host:port that is named then",
    "rpc_failure": "refuse, 500, 429, slow, garbage or error instead of RPC answers",
    "rpc_failures": "so many of them, 0 for all",
    "frozen": "read, write and answer nothing",
    "mute": "write nothing more to registered clients",
    "no_receipts": "never ask for a receipt",
    "held_first": "send held messages before the setClient answer",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted.

    Returns:
        0 after an interrupt, 1 if a port is taken or a file cannot be written, 2 if an option is wrong.
    """
    parser = options()
    try:
        given = parser.parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    try:
        return asyncio.run(_run(given, _faults(given)))
    except (FaultsError, _WrongOption) as error:
        return _say(f"dev node: {error}", 2)
    except PortTaken as error:
        option = error.option.replace("_", "-")
        remedy = f"stop the program that uses it, or choose another with --{option}"
        return _say(f"dev node: {error}: {remedy}", 1)
    except OSError as error:
        return _say(f"dev node: {error}", 1)


def options() -> argparse.ArgumentParser:
    """The command line, one option for each knob."""
    parser = argparse.ArgumentParser(
        prog="python -m relay devnode", description="A loopback NKN node for development and tests."
    )
    for option, kind, default, what in _OWN:
        parser.add_argument(option, type=kind, default=default, help=f"{what} (default {default})")
    parser.add_argument("--lenient", action="store_true", help="relay what a real node relays, signed or not")
    knobs = parser.add_argument_group("what goes wrong on purpose")
    for field in dataclasses.fields(Faults):
        option = f"--{field.name.replace('_', '-')}"
        if field.type == "bool":
            knobs.add_argument(option, action="store_true", help=_SAID[field.name])
        else:
            knobs.add_argument(option, help=_SAID[field.name])
    return parser


class _WrongOption(ValueError):
    """An option that is none of the faults and cannot be."""


def _faults(given: argparse.Namespace) -> Faults:
    for name in ("rpc_port", "ws_port", "wss_port"):
        port = getattr(given, name)
        if port is not None and not 0 <= port <= 65535:
            raise _WrongOption(f"{name}: a port is between 0 and 65535, not {port}")
    if not 0 <= given.block_s < float("inf"):
        raise _WrongOption(f"block_s: must be 0 or more, not {given.block_s}")
    if given.cert_file and given.wss_port is None:
        raise _WrongOption("cert_file: there is no certificate without --wss-port")
    names = [field.name for field in dataclasses.fields(Faults)]
    return parse({name: getattr(given, name) for name in names if getattr(given, name)})


async def _run(given: argparse.Namespace, faults: Faults) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: an interrupt ends asyncio.run instead
            loop.add_signal_handler(number, stopped.set)
    node = DevNode(
        given.host,
        given.rpc_port,
        given.ws_port,
        given.wss_port,
        strict=not given.lenient,
        faults=faults,
        block_s=given.block_s,
        seed=given.seed,
        advertise=given.advertise,
    )
    async with node:
        if given.cert_file:
            given.cert_file.write_bytes(node.certificate_pem)
        sys.stdout.write(f"→ NKN dev node ready: {node.rpc_url}\n")
        sys.stdout.flush()
        await stopped.wait()
    return 0


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code
