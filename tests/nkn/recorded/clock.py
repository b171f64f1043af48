"""An asyncio loop whose clock stands still while anything happens, and leaps to the next timer otherwise.

Sockets are real, time is not: a recording of five minutes plays in a blink, and what a node does after 10 s
it does at 10.0 s exactly. Before each leap a byte goes round a loopback connection of the loop's own: when it
is back, what was written before has arrived as well.
Knows nothing of nodes; used by everything that replays.
"""

import asyncio
import selectors
import socket
from types import SimpleNamespace

STUCK_S = 10.0
"""Nothing readable and no timer for so long: the test hangs, and shall say so."""


class _Leaping(selectors.DefaultSelector):
    """A selector that waits by moving the clock."""

    def __init__(self, leap):
        super().__init__()
        self._leap = leap
        self._near, self._far = _loopback()
        self._round = False
        self.register(self._far, selectors.EVENT_READ)

    def close(self):
        self._near.close()
        self._far.close()
        super().close()

    def select(self, timeout=None):
        ready = self._theirs(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return self._waited()
        if not self._round:
            self._near.send(b"?")
            self._round = True
        while self._round and not ready:
            ready = self._waited()
        if ready := ready or self._theirs(0):
            return ready
        self._leap(timeout)
        return []

    def _waited(self):
        """What is ready after some real time; our own byte may be all."""
        was_out = self._round
        ready = self._theirs(STUCK_S)
        if not ready and was_out == self._round:
            raise RuntimeError("nothing is readable and nobody waits for a time")
        return ready

    def _theirs(self, timeout):
        """What is ready but for our own byte, which is taken when it is back."""
        ready = super().select(timeout)
        others = [(key, mask) for key, mask in ready if key.fileobj is not self._far]
        if len(others) < len(ready):
            self._far.recv(1)
            self._round = False
        return others


class LeapingLoop(asyncio.SelectorEventLoop):
    """A loop with a clock of its own; it starts at 1,000 s."""

    def __init__(self):
        self._now = 1_000.0
        super().__init__(_Leaping(self._leap))

    def time(self):
        return self._now

    def _leap(self, seconds):
        self._now += seconds


def run(main):
    """Run a coroutine on a loop of its own; return what it returns."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(main)


def now():
    """Seconds on the running loop's clock."""
    return asyncio.get_running_loop().time()


def stand_in():
    """What a module that reads `time.monotonic` gets instead of `time`, to live on the same clock."""
    return SimpleNamespace(monotonic=now)


def _loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far
