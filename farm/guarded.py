"""An Ollama that the farm starts, by a guard process that ends it when the farm is gone.

A `Service`; made by `sources` for the modes `docker` and `local`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from farm import limits, looking, ports
from farm.lastwords import LastWords
from farm.launch import MARK, Launch
from farm.process import Child
from farm.watchdog import Sample
from wire.errors import OurFault

_LOG = logging.getLogger(__name__)
_GUARD = str(Path(__file__).with_name("guard.py"))


def _guarding(argv: Sequence[str], undo: Sequence[str] = ()) -> list[str]:
    """The command line of a guard; -P, since its folder has modules of all kinds of names."""
    plan = {"argv": argv, "undo": undo, "stop_s": limits.STOP_S}
    return [sys.executable, "-P", _GUARD, json.dumps(plan)]


class Guarded:
    """One Ollama on `port`, as `launch` says."""

    ours = True
    prefill_goes_on = True

    def __init__(self, launch: Launch, port: int) -> None:
        self._launch = launch
        self._port = port
        self._guard: Child | None = None
        self._root: int | None = None
        self._words = LastWords()

    async def start(self) -> None:
        """Start it.

        Raises:
            OurFault: "port": it is in use; "backend": the command cannot be run.
        """
        if not ports.is_free(self._port):
            raise ports.in_use(self._port, "--back-port")
        self._words = LastWords()
        self._guard = await Child.start(
            _guarding(self._launch.argv, self._launch.undo),
            {**os.environ, **self._launch.environment},
            limits.PROCESS_LOG,
            self._words.counts,
        )
        told = json.loads(await self._guard.first_line() or b"{}")
        if "pid" not in told:
            await self._guard.wait()
            words = told.get("error") or f"the guard did not start: {self._guard.last_words}"
            raise OurFault("backend", words)
        self._root = told["pid"]

    async def ended(self) -> str:
        """Wait for its end; how it ended, and its last words."""
        assert self._guard is not None  # noqa: S101 - started before
        code = await self._guard.wait()
        if self._words.port_was_taken:
            return ports.in_use(self._port, "--back-port").detail
        return self._words.of(code, self._guard.last_words.splitlines())

    async def stop(self) -> None:
        """End it, with all its processes."""
        guard, self._guard, self._root = self._guard, None, None
        if guard is None:
            return
        await guard.stop(limits.GUARD_STOP_S)
        if (guard.exit_code or 0) < 0:  # the guard itself was killed
            await self._end_the_rest()

    def runners(self) -> Sequence[Sample] | None:
        """Its runner processes."""
        found = self._processes()
        return None if found is None else looking.samples(found)

    def kill_runners(self) -> bool:
        """End its runners; False when that is not possible."""
        found = self._processes()
        for process in found or ():
            try:
                process.kill()
            except psutil.AccessDenied:
                return False
            except psutil.Error:
                continue
        return bool(found)

    def _processes(self) -> list[psutil.Process] | None:
        return None if self._root is None else looking.runners_of(self._root)

    async def _end_the_rest(self) -> None:
        left = await asyncio.to_thread(looking.orphans, MARK, {str(self._port)})
        await asyncio.to_thread(looking.end, left, limits.STOP_S)


class Contained(Guarded):
    """One Ollama in a container; `fetching` is held by whichever backend fetches the image for all."""

    def __init__(self, launch: Launch, port: int, fetching: asyncio.Lock) -> None:
        super().__init__(launch, port)
        self._fetching = fetching
        self._finding: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fetch the image if it is not there, with docker's own progress, and start the container.

        Raises:
            OurFault: "backend": the image cannot be fetched, or docker cannot be run.
        """
        async with self._fetching:
            await self._fetch()
        await _run(*self._launch.undo)  # what a farm left behind whose machine lost its power
        await super().start()
        self._root = None
        self._finding = asyncio.create_task(self._find_root())

    async def stop(self) -> None:
        """End the container."""
        if self._finding is not None:
            self._finding.cancel()
        await super().stop()

    async def _end_the_rest(self) -> None:
        await _run(*self._launch.undo)

    async def _fetch(self) -> None:
        docker, image = self._launch.argv[0], self._launch.image
        if not (await _run(docker, "image", "inspect", image))[0]:
            return
        _LOG.info("fetching the container image %s", image)
        # By a guard, or it would go on when the farm is killed; its progress is for the terminal.
        pull = await asyncio.create_subprocess_exec(
            *_guarding([docker, "pull", image]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        assert pull.stdin is not None  # noqa: S101 - a pipe was asked for above
        try:
            if await pull.wait():
                raise OurFault("backend", f"docker could not fetch {image}; its own words stand above")
        finally:
            pull.stdin.close()
            await asyncio.shield(pull.wait())

    async def _find_root(self) -> None:
        """The container's processes are the daemon's children, not the docker command's."""
        docker, name = self._launch.argv[0], self._launch.undo[-1]
        for _ in range(int(limits.START_S)):
            code, out = await _run(docker, "inspect", "-f", "{{.State.Pid}}", name)
            if not code and out.strip().isdigit() and looking.is_serve(int(out)):
                self._root = int(out)
                return
            await asyncio.sleep(1)


async def _run(*argv: str) -> tuple[int, str]:
    """Exit code and output of a command that takes a moment; 127 when it takes too long.

    Raises:
        OurFault: "backend": it cannot be run.
    """
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=quiet, stdout=asyncio.subprocess.PIPE, stderr=quiet
        )
    except OSError as error:
        raise OurFault("backend", f"{argv[0]} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(limits.LOOK_S):
            out, _ = await process.communicate()
    except TimeoutError:
        return 127, ""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    return process.returncode or 0, out.decode("utf-8", "replace")
