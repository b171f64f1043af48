"""Brings a farm up and down: sockets, model file, engine, the two servers, and the signal that ends it.

Called by `cli`. The order is for speed: the engine's child loads while this process imports its servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from farm import fetch, limits
from farm.embedded.runner import Runner
from farm.index import PipIndex
from farm.model import SMOLLM2
from farm.plan import EnginePlan, FarmPlan, engine_threads
from wire.errors import OurFault

if TYPE_CHECKING:
    from farm.server import Server


def run(farm: FarmPlan, ready: Callable[[str], None]) -> None:
    """Run a farm until SIGINT or SIGTERM.

    Args:
        farm: what to run.
        ready: told the front's URL when the model is loaded and both servers listen.

    Raises:
        OurFault: "port", "model" or "engine": a sentence for the owner.
        KeyboardInterrupt: a signal came before the loop ran.
    """
    with (
        _bound("127.0.0.1", farm.back_port, "--back-port") as back,
        _bound(farm.host, farm.front_port, "--front-port") as front,
    ):
        model = fetch.ensure(SMOLLM2, fetch.cache_folder(), PipIndex())
        asyncio.run(_serve(farm, model, front, back, ready))


async def _serve(
    farm: FarmPlan, model: Path, front: socket.socket, back: socket.socket, ready: Callable[[str], None]
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = Runner(_plan(farm, model), farm.keep_alive_s)
    stopping = asyncio.create_task(stop.wait())
    loading = asyncio.create_task(_warm(runner))
    await runner.spawned.wait()  # the child is on its way before the imports below hold up this loop
    servers = _servers(farm, runner, model, front, back)
    serving = [asyncio.create_task(server.run_on_socket()) for server in servers]
    try:
        await asyncio.wait({loading, stopping, *serving}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            ready(_url(front))
            await asyncio.wait({stopping, *serving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for server in servers:
            server.cut()
        for task in (loading, stopping):
            task.cancel()
        await runner.close()
        await asyncio.gather(*serving, loading, stopping, return_exceptions=True)


async def _warm(runner: Runner) -> None:
    async with runner.lease():
        pass


def _plan(farm: FarmPlan, model: Path) -> EnginePlan:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = engine_threads(cores)
    return EnginePlan(str(model), farm.slots, farm.slot_tokens, threads, limits.ENGINE_BATCH)


def _servers(
    farm: FarmPlan, runner: Runner, model: Path, front: socket.socket, back: socket.socket
) -> list[Server]:
    # Imported here: FastAPI and uvicorn take as long as the model, and now both happen at once.
    from farm.client import plain_client
    from farm.embedded.app import OllamaApp
    from farm.proxy import make_app
    from farm.server import Server

    adapter = OllamaApp(runner, model.stat().st_mtime_ns)
    proxy = make_app(_url(back), plain_client(), loopback=_is_loopback(farm.host))
    return [Server(adapter, back, dated=True), Server(proxy, front, dated=False)]


@contextlib.contextmanager
def _bound(host: str, port: int, flag: str) -> Iterator[socket.socket]:
    """A socket bound to host and port, before anything slow is begun."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OurFault("port", f"--host {host!r} cannot be used: {error.strerror}") from error
    with listener:
        # A port whose last farm just ended is free at once; a port that is listened on is not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(limits.BACKLOG)
        except OSError as error:
            raise OurFault("port", _why_not(host, port, flag, error)) from error
        yield listener


def _why_not(host: str, port: int, flag: str, error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"port {port} of {host} cannot be used ({error.strerror}); choose another with {flag}"
    who = "an Ollama or another farm" if flag == "--back-port" else "another farm or web server"
    return (
        f"port {port} is in use, probably by {who} (`ss -ltnp 'sport = :{port}'` shows which program); "
        f"stop that or choose another port with {flag}"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"  # a browser or curl cannot go to 0.0.0.0 everywhere
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
