"""Models brought into a backend's memory by the farm itself, so that no client's leaving gives a load up.

Ollama ends a load when the client leaves that caused it. Here the farm is that client: whoever needs the
model waits for the farm's one load and may leave. A load also says `keep_alive`, which Ollama keeps until
somebody says another. One for each backend; owned by `backend`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import aiohttp

from farm import limits
from farm.api import gojson
from farm.api.words import RefusalError
from farm.client import BROKEN
from farm.demand import House, canonical
from farm.pool import Place

_LOG = logging.getLogger(__name__)


class LoadBrokenError(Exception):
    """The backend broke off while it loaded; another one may do it.

    Attributes:
        refused: it did not even take the connection.
    """

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


class Loads:
    """The models of one backend.

    Args:
        url: of the backend.
        place: told what is loaded and being loaded.
        house: what holds for every load.
        session: the way to the backend.
    """

    def __init__(self, url: str, place: Place, house: House, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._place = place
        self._house = house
        self._session = session
        self._running: dict[str, _Load] = {}
        self._turn = asyncio.Lock()
        self._said: dict[str, Any] = {}  # model → keep_alive in force
        self._under: dict[str, frozenset[str]] = {}  # other names of loaded models → names /api/ps shows
        self.count = 0

    @property
    def waiting(self) -> bool:
        """Whether a load is under way."""
        return bool(self._running)

    def has(self, model: str) -> bool:
        """Whether the model is in memory, under this name or another."""
        shown = self._under.get(model)
        return model in self._place.loaded or (shown is not None and shown <= self._place.loaded)

    def note(self, shown: frozenset[str]) -> None:
        """/api/ps showed these models."""
        self._place.loaded = shown
        for model in [model for model in self._said if not self.has(model)]:
            del self._said[model]  # whoever loads it again says another

    def freed(self, model: str) -> None:
        """A request has ended that asked for its memory back."""
        self._place.loaded -= {model}

    def forget(self) -> None:
        """The backend has ended, and its memory with it."""
        self._place.loaded = frozenset()
        self._said.clear()
        self._under.clear()

    async def ensure(self, model: str, asked: str, keep_alive: Any) -> None:
        """Have the model in memory; what is only to be said about one that is there is not waited for.

        Args:
            model: canonical name.
            asked: the name as the request has it.
            keep_alive: what the request itself will say, or None when it cannot.

        Raises:
            RefusalError: the model cannot be loaded, in the backend's words.
            LoadBrokenError: the backend broke off.
        """
        # What was loaded before the farm came has a keep_alive that nobody knows.
        stale = keep_alive is None and self._said.get(model) != self._house.keep_alive
        loaded = self.has(model)
        if (stale or not loaded) and model not in self._running:
            self._begin(model, asked)
        if not loaded:
            await asyncio.shield(self._running[model].over)
        if keep_alive is not None:
            self._said[model] = keep_alive

    async def unload(self, asked: str) -> None:
        """Free the model's memory as soon as nobody uses it."""
        wish = gojson.encode({"model": asked, "keep_alive": 0})
        timeout = aiohttp.ClientTimeout(total=limits.HEALTH_S)
        async with self._session.post(f"{self._url}/api/generate", data=wish, timeout=timeout) as answer:
            await answer.read()
        await self.settle()

    async def settle(self) -> None:
        """Learn at once what an unload has changed."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            await self.look()

    def give_up(self) -> None:
        """Break the loads off; whoever waits for them begins them again or is told."""
        for load in self._running.values():
            load.task.cancel()
        self._running.clear()

    async def close(self) -> None:
        """End all loads."""
        tasks = [load.task for load in self._running.values()]
        self.give_up()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, model: str, asked: str) -> None:
        load = _Load(asyncio.create_task(self._load(model, asked)))
        self._running[model] = load

        def over(task: asyncio.Task[None]) -> None:
            if self._running.get(model) is load:
                del self._running[model]
            load.tell(task)

        load.task.add_done_callback(over)

    async def _load(self, model: str, asked: str) -> None:
        try:
            if self.has(model):  # only to say how long it stays: that waits for no loader
                await self._ask(model, asked)
                return
            async with self._turn:  # the backend has one loader; a second request would only wait inside it
                self._place.loading = model
                try:
                    await self._ask(model, asked)
                    await self._learn(model, asked)
                finally:
                    self._place.loading = None
        except aiohttp.ClientConnectorError as error:
            raise LoadBrokenError("it does not answer", refused=True) from error
        except (*BROKEN, aiohttp.ClientError, TimeoutError) as error:
            raise LoadBrokenError(type(error).__name__) from error

    async def _ask(self, model: str, asked: str) -> None:
        wish: dict[str, Any] = {"model": asked, "input": [], "keep_alive": self._house.keep_alive}
        if self._house.gpu_layers >= 0:
            wish["options"] = {"num_gpu": self._house.gpu_layers}
        # An empty list of texts loads models of both kinds; an empty prompt is refused by one of them.
        post = self._session.post(
            f"{self._url}/api/embed",
            data=gojson.encode(wish),
            headers={"Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=limits.LOAD_S, sock_connect=limits.CONNECT_S),
        )
        async with post as answer:
            body = await answer.read()
        if answer.status >= 500:
            raise RefusalError(answer.status, _why(body))
        if answer.status >= 400:
            return  # the request itself will be told, in the words of its own route
        self._said[model] = self._house.keep_alive

    async def _learn(self, model: str, asked: str) -> None:
        """See under which name it was loaded; nothing of it has to be right at once."""
        if model not in self._said:
            return  # it was not loaded
        self.count += 1
        _LOG.info("%s is in memory at %s", asked, self._url)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            shown = await self.look()
            if model not in shown:
                self._under[model], self._said[model] = shown, self._house.keep_alive

    async def look(self) -> frozenset[str]:
        """Ask what is in memory; canonical names.

        Raises:
            aiohttp.ClientError, TimeoutError, ValueError: no answer, or none that can be understood.
        """
        timeout = aiohttp.ClientTimeout(total=limits.HEALTH_S)
        async with self._session.get(f"{self._url}/api/ps", timeout=timeout) as answer:
            told = await answer.json(content_type=None)
        try:
            shown = frozenset(canonical(entry["name"]) for entry in told["models"] or ())
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("no list of models") from error
        self.note(shown)
        return shown


class _Load:
    """A load under way. Who waits for it may leave, and is told when it is given up."""

    __slots__ = ("over", "task")

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(self, task: asyncio.Task[None]) -> None:
        """It has ended."""
        error = LoadBrokenError("given up") if task.cancelled() else task.exception()
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)
            self.over.exception()  # seen, also when all who waited for it have left


def _why(body: bytes) -> str:
    try:
        return str(gojson.decode(body)["error"])
    except (ValueError, KeyError, TypeError):
        return "the model could not be loaded"
