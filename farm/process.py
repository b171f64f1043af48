"""A child process whose life ends with its stdin.

Called by the embedded backend's runner. Knows nothing of engines: it starts, reads the first line, stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence

from farm import limits


class Child:
    """One running child. Create it with `start`.

    Its stderr is read all the time, so that it never blocks, and only the last lines are kept.
    """

    def __init__(self, process: asyncio.subprocess.Process, words: int = limits.LAST_WORDS) -> None:
        self._process = process
        self._words: deque[str] = deque(maxlen=words)
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls, argv: Sequence[str], environment: Mapping[str, str], words: int = limits.LAST_WORDS
    ) -> Child:
        """Start `argv`; in a session of its own, so that Ctrl-C in the terminal reaches only the farm.

        Args:
            argv: the command.
            environment: all of it.
            words: lines of its stderr that are kept.
        """
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(environment), start_new_session=True
        )
        return cls(process, words)

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
        """Its exit code, when it has ended."""
        return await self._process.wait()

    async def stop(self, within_s: float = limits.ENGINE_STOP_S) -> None:
        """Close its stdin, and kill it when that is not enough. Safe to call twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), within_s)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._listening

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _listen(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - a pipe was asked for above
        # read, not readline: a line of any length must not end the listening.
        rest = b""
        while data := await self._process.stderr.read(64 * 1024):
            *lines, rest = (rest + data).split(b"\n")
            self._words.extend(line.decode("utf-8", "replace")[:500] for line in lines)
            rest = rest[-500:]
