"""A child process whose life ends with its stdin.

Called by the embedded backend's runner and by `guarded`. Knows nothing of engines: it starts, reads the first
line, stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from farm import limits


class _Ending(asyncio.subprocess.SubprocessStreamProtocol):
    """Knows when the process ended: asyncio's own `wait` goes on while anybody has one of its pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limits.CHILD_LINE_B, loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        """It ended."""
        super().process_exited()
        self.exited.set()


class Child:
    """One running child. Create it with `start`.

    Its stderr is read all the time, so that it never blocks, and only the last lines are kept.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        exited: asyncio.Event,
        words: int,
        counts: Callable[[str], bool],
    ) -> None:
        self._process = process
        self._exited = exited
        self._counts = counts
        self._words: deque[str] = deque(maxlen=words)
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        environment: Mapping[str, str],
        words: int = limits.LAST_WORDS,
        counts: Callable[[str], bool] = bool,
    ) -> Child:
        """Start `argv`; in a session of its own, so that Ctrl-C in the terminal reaches only the farm.

        Args:
            argv: the command.
            environment: all of it.
            words: lines of its stderr that are kept.
            counts: whether a line is worth keeping; without it, one that is not empty.
        """
        pipe, loop = asyncio.subprocess.PIPE, asyncio.get_running_loop()
        transport, ending = await loop.subprocess_exec(
            lambda: _Ending(loop),
            *argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=dict(environment),
            start_new_session=True,
        )
        return cls(asyncio.subprocess.Process(transport, ending, loop), ending.exited, words, counts)

    @property
    def pid(self) -> int:
        """The system's number of it."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that killed it."""
        return self._process.returncode

    @property
    def last_words(self) -> str:
        """The last lines of its stderr."""
        return "\n".join(self._words)

    async def first_line(self) -> bytes:
        """The next line of its stdout; empty when it ended without one."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for above
        return await self._process.stdout.readline()

    async def wait(self) -> int:
        """Its exit code, when it has ended and its last words are read."""
        await self._exited.wait()
        await self._listened()
        return self._process.returncode or 0

    async def stop(self, within_s: float = limits.ENGINE_STOP_S) -> None:
        """Close its stdin, and kill it when that is not enough. Safe to call twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._exited.wait(), within_s)
        except TimeoutError:
            self.kill()
            await self._exited.wait()
        await self._listened()

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _listened(self) -> None:
        # Bounded: what it left behind may hold its stderr open for ever.
        await asyncio.wait({self._listening}, timeout=limits.LAST_WORDS_S)

    async def _listen(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - a pipe was asked for above
        # read, not readline: a line of any length must not end the listening.
        rest = b""
        while data := await self._process.stderr.read(64 * 1024):
            *lines, rest = (rest + data).split(b"\n")
            self._keep(lines)
            rest = rest[-500:]
        self._keep([rest])

    def _keep(self, lines: list[bytes]) -> None:
        found = [line.decode("utf-8", "replace").rstrip()[:500] for line in lines]
        self._words.extend(line for line in found if self._counts(line))
