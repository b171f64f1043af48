"""A stand-in for an Ollama 0.24.0 that behaves as the recorded one, for tests of what stands before it.

What a request does is said in its prompt (`words`). What was done to it is in the records: `seen`, `loads`,
`aborted_loads`, `runner_starts`, the counts; `until` waits for them. It knows nothing of the farm.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Self

from standin import catalogue, doors
from standin.models import Model
from standin.routes import Routes
from standin.runner import Process
from standin.scheduler import Load, Scheduler
from standin.wire import Answer, Connection, Malformed, Request

__all__ = ["Load", "Model", "Request", "Standin"]
PATIENCE_S = 10.0
MODELS_PER_DEVICE = 3


async def _process(model: str) -> Process:
    return Process(model)


class Standin:
    """`async with Standin(models={"a": Model()}) as ollama:` and then `ollama.url`.

    The keywords are OLLAMA_NUM_PARALLEL and so on; 0 for `max_loaded` and `context_length` is the default of
    a machine without GPU. `registry` has what can be pulled, in `pull_steps` steps of `pull_s` together.
    `ping_s`: how long a stopped runner is asked whether it lives (10 in the real one)."""

    def __init__(
        self,
        models: MutableMapping[str, Model] | None = None,
        *,
        parallel: int = 1,
        max_queue: int = 512,
        max_loaded: int = 0,
        keep_alive_s: float = 300.0,
        context_length: int = 0,
        load_timeout_s: float = 300.0,
        ping_s: float = 10.0,
        pausing: bool = True,
        origins: tuple[str, ...] = (),
        registry: Mapping[str, Model] | None = None,
        pull_s: float = 0.0,
        pull_steps: int = 3,
        version: str = catalogue.VERSION,
        host: str = "127.0.0.1",
        port: int = 0,
        host_check: bool = True,
        spawn: Callable[[str], Awaitable[Process]] = _process,
    ) -> None:
        given = {"a": Model()} if models is None else models
        self.models: MutableMapping[str, Model] = dict(given) if isinstance(given, dict) else given
        self.origins, self.host_check = origins, host_check
        self.host, self.port = host, port
        self.seen: list[Request] = []
        self.connections = 0
        self.most_running = 0
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._awake = asyncio.Event()
        self._awake.set()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.scheduler = Scheduler(
            spawn, self._note, parallel=parallel, max_queue=max_queue,
            max_loaded=max_loaded or MODELS_PER_DEVICE, keep_alive_s=keep_alive_s,
            load_timeout_s=load_timeout_s, ping_s=ping_s, pausing=pausing,
        )  # fmt: skip
        self.routes = Routes(
            self.scheduler, self.models, dict(registry or {}), context_length=context_length or 4096,
            version=version, pull_s=pull_s, pull_steps=pull_steps,
        )  # fmt: skip

    # -- life ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def open(self) -> None:
        """Listen; after a `close` on the same port, with nothing loaded."""
        self._server = await asyncio.start_server(self._connected, self.host, self.port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """As SIGTERM ends it: connections are cut without an end chunk, the runners end."""
        await self.cut()
        await self.scheduler.end()

    async def cut(self) -> None:
        """As kill -9 ends it: the same, but the runners stay (`scheduler.loaded` still has them)."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._open):
            connection.cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._awake.set()

    def freeze(self) -> None:
        """As SIGSTOP: connections are accepted by the kernel, nothing is read or sent."""
        self._awake.clear()

    def thaw(self) -> None:
        self._awake.set()

    # -- runners -------------------------------------------------------------------------------------

    def process(self, model: str) -> Process:
        """The process of a model that is loaded or being loaded."""
        name, told = self.routes.known(model) or (model, Model())
        key = told.gguf or name
        loading = self.scheduler.loading.get(key)
        return loading or self.scheduler.loaded[key].runner.process

    def kill_runner(self, model: str) -> None:
        self.process(model).kill()

    def hang_runner(self, model: str) -> None:
        self.process(model).stop()

    def resume_runner(self, model: str) -> None:
        self.process(model).go_on()

    # -- records -------------------------------------------------------------------------------------

    @property
    def loads(self) -> list[Load]:
        return self.scheduler.loads

    @property
    def aborted_loads(self) -> int:
        return self.scheduler.aborted_loads

    @property
    def runner_starts(self) -> int:
        return self.scheduler.runner_starts

    @property
    def loaded(self) -> list[str]:
        return [one.name for one in self.scheduler.loaded.values()]

    @property
    def loading(self) -> list[str]:
        return list(self.scheduler.loading)

    @property
    def running(self) -> int:
        """Sequences that hold a runner's slot, ghosts included."""
        return sum(len(one.runner.running) for one in self.scheduler.loaded.values())

    @property
    def ghosts(self) -> int:
        """Those whose client has left."""
        return sum(one.runner.ghosts for one in self.scheduler.loaded.values())

    @property
    def chunks(self) -> int:
        """Chunks sent over the connections now open."""
        return sum(connection.chunks for connection in self._open)

    @property
    def told(self) -> int:
        """Tokens that the runners now loaded have made."""
        return sum(one.runner.told for one in self.scheduler.loaded.values())

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        loaded = self.scheduler.loaded.values()
        return sum(one.runner.places.waiting + len(one.runner.waiting) for one in loaded)

    @property
    def queued(self) -> int:
        """Requests that wait for a load, the one being loaded not counted."""
        return len(self.scheduler.queue)

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.seen if request.path == path]

    async def until(self, true: Callable[[Self], object], within_s: float = PATIENCE_S) -> None:
        """Wait until something is so; the deadline ends a hang."""
        deadline = time.monotonic() + within_s
        while not true(self):
            self._changed.clear()
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within_s} s; {self}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.05)

    def __repr__(self) -> str:
        told = (
            "loaded", "loading", "running", "ghosts", "waiting", "queued", "most_running", "runner_starts",
            "aborted_loads", "open_connections",
        )  # fmt: skip
        return ", ".join(f"{name}={getattr(self, name)}" for name in told) + f", seen={len(self.seen)}"

    def _note(self) -> None:
        self.most_running = max(self.most_running, self.running)
        self._changed.set()

    # -- serving -------------------------------------------------------------------------------------

    async def _woken(self) -> None:
        if not self._awake.is_set():
            await self._awake.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = Connection(reader, writer, self.connections, self._woken)
        self._open.add(connection)
        self._note()
        try:
            await self._serve(connection)
        except asyncio.CancelledError:
            connection.cut()
        finally:
            self._tasks.discard(task)
            self._open.discard(connection)
            self._note()

    async def _serve(self, connection: Connection) -> None:
        try:
            while request := await connection.request(self._refuses):
                self.seen.append(request)
                self._note()
                await self._answered(connection, request)
                if request.last:
                    break
        except Malformed as malformed:
            await connection.refuse(malformed)
        await connection.close()

    def _refuses(self, request: Request) -> bool:
        return self._refusal(request) is not None

    def _refusal(self, request: Request) -> doors.Refusal | None:
        return doors.refusal(request, self.origins, host_check=self.host_check)

    async def _answered(self, connection: Connection, request: Request) -> None:
        answer, left = Answer(connection, request), asyncio.Event()
        refusal = self._refusal(request)
        if refusal is not None:
            await answer.whole(*refusal)
            return
        answer.cors = doors.cors(request, self.origins)
        watch = asyncio.ensure_future(connection.watch(left))
        try:
            await self.routes.answer(request, answer, left)
        finally:
            watch.cancel()
            await asyncio.wait({watch})
            left.set()
