"""`python -m relay devnode`: the development node as a program, or several of them as a ring.

Prints one line on standard output for each node that is ready, and one on standard error for each thing a
client did wrong. Shell; called by `relay.cli`.
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
from typing import Any

from relay.nkn.devnode import glossary
from relay.nkn.devnode import limits as own
from relay.nkn.devnode.faults import LIFELIKE, Faults
from relay.nkn.devnode.knobs import FaultsError
from relay.nkn.devnode.ports import PortTaken
from relay.nkn.devnode.remote import Remote
from relay.nkn.devnode.server import DevNode
from relay.nkn.devnode.times import Times
from relay.nkn.devnode.toyring import STEP, ToyRing

_OWN = (
    ("--host", str, "127.0.0.1", "address to listen on"),
    ("--advertise", str, "", "host that clients are told, if it is another"),
    ("--nodes", int, 1, f"so many nodes on a ring, each {STEP} ports above the one before"),
    ("--rpc-port", int, 30003, "JSON-RPC"),
    ("--ws-port", int, 30002, "websocket"),
    ("--wss-port", int, None, "websocket with TLS and a self-signed certificate; off by default"),
    ("--control-port", int, None, "HTTP on 127.0.0.1 to change the knobs while it runs; off by default"),
    ("--cert-file", Path, None, "where to write the certificates, for clients to trust"),
    ("--seed", int, None, "makes keys and chance the same in each run"),
)
"""Option, type, default, what it is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until it is interrupted.

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
        _check(given)
        return asyncio.run(_run(given))
    except (FaultsError, _WrongOption) as error:
        return _say(f"dev node: {error}", 2)
    except PortTaken as error:
        option = error.option.replace("_", "-")
        remedy = f"stop the program that uses it, or choose another with --{option}"
        return _say(f"dev node: {error}: {remedy}", 1)
    except OSError as error:
        return _say(f"dev node: {error}", 1)


def options() -> argparse.ArgumentParser:
    """The command line, one option for each knob and each clock."""
    parser = argparse.ArgumentParser(
        prog="python -m relay devnode", description="A loopback NKN node for development and tests."
    )
    for option, kind, default, what in _OWN:
        parser.add_argument(option, type=kind, default=default, help=f"{what} (default {default})")
    parser.add_argument("--lenient", action="store_true", help="relay what a real node relays, signed or not")
    knobs = parser.add_argument_group("what goes wrong on purpose")
    knobs.add_argument("--lifelike", action="store_true", help="what a real node does all the time")
    _add(knobs, Faults, glossary.FAULTS)
    _add(parser.add_argument_group("the clocks, in seconds"), Times, glossary.TIMES)
    return parser


def _add(group: argparse._ArgumentGroup, settings: type, said: dict[str, str]) -> None:
    for field in dataclasses.fields(settings):
        option = f"--{field.name.replace('_', '-')}"
        if field.type == "bool":
            group.add_argument(option, action="store_true", help=said[field.name])
        elif settings is Times:
            group.add_argument(option, help=f"{said[field.name]} (default {field.default})")
        else:
            group.add_argument(option, help=said[field.name])


class _WrongOption(ValueError):
    """An option that is none of the knobs and cannot be."""


def _check(given: argparse.Namespace) -> None:
    if not 1 <= given.nodes <= own.NODES_MAX:
        raise _WrongOption(f"nodes: must be 1 to {own.NODES_MAX}, not {given.nodes}")
    highest = 65535 - STEP * (given.nodes - 1)
    for name in ("rpc_port", "ws_port", "wss_port", "control_port"):
        port, most = getattr(given, name), 65535 if name == "control_port" else highest
        if port is not None and not 0 <= port <= most:
            raise _WrongOption(f"{name}: a port is between 0 and {most}, not {port}")
    if given.cert_file and given.wss_port is None:
        raise _WrongOption("cert_file: there is no certificate without --wss-port")


def _words(given: argparse.Namespace, settings: type) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(settings)]
    return {name: value for name in names if (value := getattr(given, name)) not in {None, False}}


async def _run(given: argparse.Namespace) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: an interrupt ends asyncio.run instead
            loop.add_signal_handler(number, stopped.set)
    ring = ToyRing(
        given.nodes,
        given.rpc_port,
        given.ws_port,
        given.wss_port,
        seed=given.seed,
        host=given.host,
        strict=not given.lenient,
        faults=(LIFELIKE if given.lifelike else Faults()).changed(_words(given, Faults)),
        times=Times.parse(_words(given, Times)),
        advertise=given.advertise,
    )
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(ring)
        if given.cert_file:
            given.cert_file.write_bytes(b"".join(node.certificate_pem for node in ring.nodes))
        said = [_ready(node, number, given.nodes) for number, node in enumerate(ring.nodes)]
        if given.control_port is not None:
            remote = await running.enter_async_context(Remote(ring.nodes, given.control_port))
            said.append(f"→ {'its' if given.nodes == 1 else 'their'} control port: {remote.url}\n")
        sys.stdout.write("".join(said))
        sys.stdout.flush()
        await stopped.wait()
    return 0


def _ready(node: DevNode, number: int, count: int) -> str:
    which = (
        f" {number} of {count} ({' '.join(filter(None, (node.ws_url, node.wss_url)))})" if count > 1 else ""
    )
    return f"→ NKN dev node{which} ready: {node.rpc_url}\n"


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code
