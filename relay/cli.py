"""Command lines: the relay itself, and a peer's `ask`, `ping`, `info`; arguments → settings → run.

Exit codes: 0 done, 1 failure, 2 settings or arguments that cannot be used.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from relay import keyfile, owned, settings, terminal, thrift
from relay.admission import Shares
from relay.commands import Note
from relay.engine import Engine
from relay.journal import Journal
from relay.manner import Manner
from relay.nkn import MultiClient
from relay.policy import Policy
from relay.pump import Pump
from relay.station import Station
from wire.errors import SettingsFault

_ASKING = ("ask", "ping", "info")
_COMMANDS = {
    "devnode": "relay.nkn.devnode.command",
    "doctor": "relay.doctor.cli",
    "service": "relay.service.cli",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without arrows is no reason to end
    try:
        return _command(words)
    except KeyboardInterrupt:
        return 130
    except SettingsFault as fault:
        return _wrong([fault])
    except ExceptionGroup as group:
        faults = [fault for fault in group.exceptions if isinstance(fault, SettingsFault)]
        if not faults:
            raise
        return _wrong(faults)


def _command(words: Sequence[str]) -> int:
    first = words[0] if words else ""
    if first in _COMMANDS:
        return int(import_module(_COMMANDS[first]).main(words[1:]))
    if first in _ASKING:
        from relay import asking

        return asking.main(words)
    return _relay(words)


def version() -> str:
    """Of the installed package, or of this tree."""
    try:
        return metadata.version("gpu-over-nkn")
    except metadata.PackageNotFoundError:
        return "0.1.0+tree"


def _wrong(faults: Sequence[SettingsFault]) -> int:
    for fault in faults:
        print(fault.detail, file=sys.stderr)
    return 2


def _relay(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="relay",
        description="Answer NKN direct messages with streams from your own Ollama.",
        epilog="As a peer: relay ask ADDRESS PROMPT · relay ping ADDRESS · relay info ADDRESS. "
        "To try it without a network: relay devnode. What is wrong here: relay doctor. "
        "Under systemd: relay service. Each has its own --help.",
    )
    parser.add_argument(
        "--debug", action="store_true", help="a live screen on a terminal, else one readable line per event"
    )
    parser.add_argument("--env-file", type=Path, default=Path(".env"), help="settings; made on first run")
    options = parser.parse_args(words)
    if keyfile.create_env(options.env_file):
        print(f"made {options.env_file} with a fresh NKN identity", file=sys.stderr)
    elif keyfile.readable_by_others(options.env_file):
        print(
            f"{options.env_file} can be read by others; `chmod 600` it: it holds your seed", file=sys.stderr
        )
    chosen = settings.load(options.env_file, os.environ)
    live = options.debug and terminal.usable()
    thrift.few_arenas()
    thrift.freeze()
    # Windows' other loop watches no sockets that it did not open.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(_serve(chosen, Journal(debug=options.debug), live=live))


async def _serve(chosen: settings.Settings, journal: Journal, *, live: bool) -> int:
    client = MultiClient(
        seed=chosen.nkn_seed_hex,
        identifier=chosen.nkn_identifier,
        num_sub_clients=chosen.nkn_num_subclients,
        original_client=True,
        rpc_server_addr=chosen.nkn_rpc_addr,
        seed_ws_addr=chosen.nkn_bridge_seed_ws,
    )
    engine = _engine(chosen, client.addr)
    takers: list[Callable[[Note], None]] = [journal.note]
    pump = Pump(engine, client, chosen.relay_workers, lambda note: _each(takers, note))
    server = await _panel(chosen.relay_metrics_port, chosen.relay_workers, pump, takers)
    client.on_connect(lambda node: journal.link("connected", node))
    client.on_disconnect(lambda reason: journal.link("lost", reason))
    client.on_connect_failed(lambda reason: journal.link("failed", reason))
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if chosen.relay_policy and hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, engine, chosen)
    look = terminal.facts_of(pump, client.addr, version(), chosen.relay_workers)
    with terminal.Terminal(look, stopped.set) if live else contextlib.nullcontext():
        await _connected(client, stopped)
    await pump.stop()
    journal.note(Note("counts", _counts(pump.statistics())))
    await client.close()
    if server is not None:
        server.close()
    return 0


async def _connected(client: MultiClient, stopped: asyncio.Event) -> None:
    """Tell when the address can be reached; until somebody stops it."""
    client.start()
    ready = asyncio.create_task(client.wait_connected())
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        print(f"→ NKN ready: {client.addr}", flush=True)
    ready.cancel()
    await stopping


def _each(takers: Sequence[Callable[[Note], None]], note: Note) -> None:
    for take in takers:
        take(note)


async def _panel(
    port: int, workers: int, pump: Pump, takers: list[Callable[[Note], None]]
) -> asyncio.Server | None:
    """The page of figures, if the owner wants it."""
    if not port:
        return None
    from relay.metrics import Metrics
    from relay.panel import Panel

    metrics = Metrics(pump.statistics, workers, version())
    takers.append(metrics.note)
    return await Panel(metrics, pump.statistics, version()).open(port)


def _counts(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """What was received, dropped, refused and answered, as one flat line."""
    nkn = {f"nkn_{name}": count for name, count in statistics["nkn"].items() if isinstance(count, int)}
    return {name: count for name, count in statistics.items() if name != "nkn"} | nkn


def _reload(engine: Engine, chosen: settings.Settings) -> None:
    """Read the owner's file again, for SIGHUP; with mistakes in it everything stays as it was."""
    try:
        engine.policy = replace(engine.policy, register=owned.register(chosen))
    except ExceptionGroup as group:
        _wrong([fault for fault in group.exceptions if isinstance(fault, SettingsFault)])
        print("the rights of peers stay as they were", file=sys.stderr)
    else:
        print(f"read {chosen.relay_policy}: the rights of peers are as it says", file=sys.stderr)


def _engine(chosen: settings.Settings, address: str) -> Engine:
    import time

    return Engine(
        Policy(
            targets=chosen.relay_targets,
            allow_peers=chosen.relay_allow_peers,
            allow_admin=chosen.relay_allow_admin,
            verify_default=chosen.relay_verify_default,
            allow_unverified=chosen.relay_allow_unverified,
            register=owned.register(chosen),
        ),
        Shares(chosen.relay_workers, chosen.relay_peer_streams, chosen.relay_queue),
        Manner(chosen.relay_keepalive_s, chosen.relay_max_body_b, time.time() - time.monotonic()),
        Station(address, version()),
    )
