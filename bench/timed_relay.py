"""The relay with clocks at its seams: `python -m relay`, the own CPU time of some functions added up.

    python -m bench.timed_relay --env-file F      SIGUSR1 prints {seam: [calls, seconds]} as one line of JSON

A profiler hooks every call and would cost more than most parts do; here a few functions are wrapped, and what
one spends inside another is not counted twice. Started by `profile_relay`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from relay.cli import main as relay_main

SEAMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "JSON and frame text",
        (
            "relay.events:read",
            *(f"relay.frames:{name}" for name in ("Line.of", "lines", "begin", "end")),
        ),
    ),
    (
        "engine",
        tuple(
            f"relay.engine:Engine.{name}"
            for name in ("message", "head", "data", "eof", "closed", "acknowledged", "advance", "due_at")
        ),
    ),
    (
        "pump",
        tuple(
            f"relay.pump:Pump.{name}"
            for name in ("_do", "_message", "_acknowledged", "head", "data", "eof", "closed")
        ),
    ),
    (
        "messenger, links, waiting",
        (
            "relay.nkn.messenger:Messenger.send_nowait", "relay.nkn.messenger:Messenger._arrive",
            "relay.nkn.links:Links.send", "relay.nkn.links:Links.heard", "relay.nkn.link:Link.send",
            "relay.nkn.nodesocket:NodeSocket.send_now",
        ),
    ),
    ("seal and open", ("nacl.bindings:crypto_box_afternm", "nacl.bindings:crypto_box_open_afternm")),
    ("sign", ("relay.nkn.identity:Identity.sign", "relay.nkn.sigchain:Head.digest")),
    (
        "protobuf, out",
        ("relay.nkn.payload:Payload.encode", "relay.nkn.seal:seal", "relay.nkn.envelope:outbound"),
    ),
    (
        "protobuf, in",
        ("relay.nkn.envelope:read", "relay.nkn.arrival:Opener.open", "relay.nkn.link:Link._take"),
    ),
    (
        "websocket frames",
        (
            "websockets.protocol:Protocol.send_binary", "websockets.protocol:Protocol.receive_data",
            "websockets.asyncio.connection:Connection.data_received",
        ),
    ),
    ("socket write", ("asyncio.selector_events:_SelectorSocketTransport.write",)),
    ("socket read", ("asyncio.selector_events:_SelectorSocketTransport._read_ready",)),
    ("event loop: waiting", ("selectors:DefaultSelector.select",)),
    ("event loop: turns, tasks, timers", ("asyncio.base_events:BaseEventLoop._run_once",)),
    (
        "HTTP, read",
        ("relay.reading:Reading._ready", "relay.reading:Reading._look", "relay.answer:AnswerReader.feed"),
    ),
    ("worker threads: HTTP, asked", ("relay.upstream:Upstream._ask",)),
)  # fmt: skip
"""Part → the functions that are it, without what other seams do inside them."""

OF_WORKERS = frozenset({"worker threads: HTTP, asked"})
"""Parts that run on worker threads; all others are the loop's."""


class Meter:
    """Adds up calls and CPU of wrapped functions, thread by thread."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._tables: list[dict[str, list[int]]] = []

    def wrap(self, seam: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""
        local, clock = self._local, time.thread_time_ns

        def timed(*args: Any, **kwargs: Any) -> Any:
            try:
                stack, table = local.stack, local.table
            except AttributeError:
                stack, table = self._join()
            stack.append(0)
            began = clock()
            try:
                return function(*args, **kwargs)
            finally:
                took = clock() - began
                inner = stack.pop()
                if stack:
                    stack[-1] += took
                cell = table[seam]
                cell[0] += 1
                cell[1] += took - inner

        return timed

    def told(self) -> dict[str, tuple[int, float]]:
        """Seam → calls and seconds, of all threads."""
        return {
            seam: (sum(one[seam][0] for one in self._tables), sum(one[seam][1] for one in self._tables) / 1e9)
            for _, seams in SEAMS
            for seam in seams
        }

    def _join(self) -> tuple[list[int], dict[str, list[int]]]:
        self._local.stack = []
        self._local.table = {seam: [0, 0] for _, seams in SEAMS for seam in seams}
        self._tables.append(self._local.table)
        return self._local.stack, self._local.table


def place(seam: str) -> tuple[Any, str, Any]:
    """(owner, name, what stands there now); AttributeError if the code has no such function any more."""
    module, _, path = seam.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    try:
        for each in owners:
            owner = getattr(owner, each)
        return owner, name, inspect.getattr_static(owner, name)
    except AttributeError as error:
        raise AttributeError(f"no {seam} any more: mend SEAMS in bench/timed_relay.py") from error


def wrap_all(meter: Meter) -> None:
    """Put a clock at every seam."""
    for _, seams in SEAMS:
        for seam in seams:
            owner, name, found = place(seam)
            if isinstance(found, classmethod):
                setattr(owner, name, classmethod(meter.wrap(seam, found.__func__)))
            else:
                setattr(owner, name, meter.wrap(seam, found))


def main() -> int:
    """Run the relay with clocks in it."""
    meter = Meter()
    wrap_all(meter)
    signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps(meter.told()), flush=True))
    return relay_main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
