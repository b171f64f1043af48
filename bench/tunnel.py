"""nkn-tunnel as a way to an upstream: what one would take instead of a relay, if its binary is there.

    upstream ◀─ TCP ─ far end ◀─ NKN sessions ─ near end ◀─ TCP ─ client

The official program (nknorg/nkn-tunnel), built by whoever measures, with its own settings: four clients at
each end. Used by `lossy`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from bench import processes
from bench.streams import Ask, Load, direct, run
from relay.nkn import Identity

_TRIES = 30
_PATIENCE_S = 2.0
_PAUSE_S = 0.3


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Both ends.

    Attributes:
        url: of the near end, as if it were the upstream.
        pid: of the far end, which stands where a relay would.
    """

    url: str
    pid: int

    def ask(self, patience_s: float) -> Ask:
        """Ask through it; a stream that takes longer is not whole."""
        return direct(self.url, patience_s)

    async def wait(self) -> None:
        """Return once a stream came through it.

        Raises:
            MissingPartError: none did.
        """
        for _ in range(_TRIES):
            (stream,) = await run(self.ask(_PATIENCE_S), Load(1, 30, 2))
            if stream.whole:
                return
            await asyncio.sleep(_PAUSE_S)
        raise processes.MissingPartError("nothing comes through the tunnel")


@contextlib.contextmanager
def tunnel(program: str, rpc: str, target: str) -> Iterator[Tunnel]:
    """A tunnel to the upstream at `target`, host:port, while the context lasts."""
    far, near = os.urandom(32), os.urandom(32)
    address = f"far.{Identity(far).public_key.hex()}"
    here = f"127.0.0.1:{processes.free_port()}"
    with contextlib.ExitStack() as stack:
        common = (program, "-rpc", rpc)
        home = stack.enter_context(_end(*common, "-s", far.hex(), "-i", "far", "-to", target))
        stack.enter_context(_end(*common, "-s", near.hex(), "-from", here, "-to", address))
        yield Tunnel(f"http://{here}", home)


@contextlib.contextmanager
def _end(*words: str) -> Iterator[int]:
    """One end's process; MissingPartError if it cannot be started."""
    try:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise processes.MissingPartError(f"{words[0]} cannot be started: {error.strerror}") from error
    try:
        yield process.pid
    finally:
        processes.end(process)
