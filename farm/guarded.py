"""An Ollama that the farm starts, by a guard process that ends it when the farm is gone.

A `Service`; made by `house` for the modes `docker` and `local`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from farm import limits, looking
from farm.launch import Launch
from farm.process import Child
from farm.watchdog import Sample
from wire.errors import OurFault

_LOG = logging.getLogger(__name__)
_GUARD = str(Path(__file__).with_name("guard.py"))
_WORDS = 3
"""Lines of its log in a message; the last ones say why it ended."""


class Guarded:
    """One Ollama, as `launch` says."""

    ours = True
    prefill_goes_on = True

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._guard: Child | None = None
        self._root: int | None = None

    async def start(self) -> None:
        """Start it.

        Raises:
            OurFault: "backend": the command cannot be run.
        """
        plan = {"argv": self._launch.argv, "undo": self._launch.undo, "stop_s": limits.STOP_S}
        environment = {**os.environ, **self._launch.environment}
        argv = [sys.executable, _GUARD, json.dumps(plan)]
        self._guard = await Child.start(argv, environment, limits.PROCESS_LOG)
        told = json.loads(await self._guard.first_line() or b"{}")
        if "pid" not in told:
            words = told.get("error") or f"the guard did not start: {self._guard.last_words}"
            raise OurFault("backend", words)
        self._root = told["pid"]

    async def ended(self) -> str:
        """Wait for its end; its last words."""
        assert self._guard is not None  # noqa: S101 - started before
        await self._guard.wait()
        await asyncio.sleep(0)
        return " / ".join(self._guard.last_words.splitlines()[-_WORDS:])

    async def stop(self) -> None:
        """End it, with all its processes."""
        guard, self._guard, self._root = self._guard, None, None
        if guard is not None:
            await guard.stop(3 * limits.STOP_S)

    def runners(self) -> Sequence[Sample] | None:
        """Its runner processes."""
        found = self._processes()
        return None if found is None else looking.samples(found)

    def kill_runners(self) -> bool:
        """End its runners; False when that is not possible."""
        found = self._processes()
        for process in found or ():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.AccessDenied:
                return False
            except psutil.Error:
                continue
        return bool(found)

    def _processes(self) -> list[psutil.Process] | None:
        return None if self._root is None else looking.runners_of(self._root)


class Contained(Guarded):
    """One Ollama in a container."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._finding: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fetch the image if it is not there, with docker's own progress, and start the container.

        Raises:
            OurFault: "backend": the image cannot be fetched, or docker cannot be run.
        """
        docker, image = self._launch.argv[0], self._launch.image
        if (await _run(docker, "image", "inspect", image))[0]:
            _LOG.info("fetching the container image %s", image)
            if (await _run(docker, "pull", image, sink=sys.stderr.fileno()))[0]:
                raise OurFault("backend", f"docker could not fetch {image}; its own words stand above")
        await _run(*self._launch.undo)  # what a farm left behind whose machine lost its power
        await super().start()
        self._root = None
        self._finding = asyncio.create_task(self._find_root())

    async def stop(self) -> None:
        """End the container."""
        if self._finding is not None:
            self._finding.cancel()
        await super().stop()

    async def _find_root(self) -> None:
        """The container's processes are the daemon's children, not the docker command's."""
        docker, name = self._launch.argv[0], self._launch.undo[-1]
        for _ in range(int(limits.START_S)):
            code, out = await _run(docker, "inspect", "-f", "{{.State.Pid}}", name)
            if not code and out.strip().isdigit() and int(out):
                self._root = int(out)
                return
            await asyncio.sleep(1)


async def _run(*argv: str, sink: int | None = None) -> tuple[int, str]:
    """Exit code and output of a command; its output goes to `sink` when one is given."""
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=quiet, stdout=sink or asyncio.subprocess.PIPE, stderr=sink or quiet
        )
    except OSError as error:
        raise OurFault("backend", f"{argv[0]} cannot be started: {error.strerror}") from error
    try:
        out, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        raise
    return process.returncode or 0, (out or b"").decode("utf-8", "replace")
