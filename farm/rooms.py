"""The running parts of one farm and how they are joined: pool, backends, front.

Made by `house`, once the imports are worth their time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from farm import client, pulling
from farm.api.words import RefusalError
from farm.backend import Backend, Phase
from farm.demand import House, canonical
from farm.desk import Desk
from farm.life import Life
from farm.loads import LoadBrokenError, Loads
from farm.metrics import Metrics
from farm.panel import Panel, make_app
from farm.passage import Passage
from farm.plan import FarmPlan, Mode
from farm.pool import Place, Pool
from farm.ports import is_loopback, url_of
from farm.proxy import Front
from farm.server import Server
from farm.serving import Waiter
from farm.sources import Source
from wire.errors import OurFault


class Rooms:
    """One farm, running.

    Args:
        plan: what it is.
        sources: its backends.
        listener: the front's socket.

    Attributes:
        warm: set when the model is in memory at every backend.
        url: where clients come.
        desk: where requests wait.
        backends: by their index in the pool.
        panel: what the farm says about itself.
    """

    def __init__(self, plan: FarmPlan, sources: Sequence[Source], listener: socket.socket) -> None:
        self._plan = plan
        self.warm = asyncio.Event()
        self.url = url_of(listener)
        self._session = client.session()
        self._over = asyncio.Event()
        self._pulling = asyncio.Lock()
        house = House(plan.keep_alive, plan.gpu_layers if plan.mode is not Mode.EMBEDDED else -1)
        places = [Place(plan.slots) for _ in sources]
        self.desk = Desk(Pool(places, plan.waiting_max))
        self.backends = [
            self._backend(source, place, house) for source, place in zip(sources, places, strict=True)
        ]
        metrics = Metrics(self.desk, self.backends)
        passage = Passage(metrics)
        waiter = Waiter(self.desk, self.backends, house, passage, metrics)
        self.panel = Panel(self.desk, self.backends, [canonical(plan.model)], metrics)
        front = Front(
            make_app(self.panel),
            waiter,
            passage,
            self.backends,
            loopback=is_loopback(plan.host),
            admin=plan.allow_admin,
        )
        self._server = Server(front, listener, dated=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._over.set()
        await self.desk.close()
        for backend in self.backends:
            await backend.close()
        await self._session.close()

    async def live(self) -> None:
        """Serve, and keep the backends alive; runs until it is cancelled.

        Raises:
            ExceptionGroup: of OurFault: a backend never came up.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self.serve())
            for backend in self.backends:
                group.create_task(Life(backend, self._prepare, self.desk.advance).run())

    async def serve(self) -> None:
        """Serve the front alone; runs until it is cancelled."""
        await self._server.run_until(self._over)

    def _backend(self, source: Source, place: Place, house: House) -> Backend:
        return Backend(
            source.url,
            place=place,
            service=source.service,
            loads=Loads(source.url, place, house, self._session),
            session=self._session,
            changed=self.desk.advance,
        )

    async def _prepare(self, backend: Backend) -> None:
        """Bring the farm's model in.

        Raises:
            OurFault: it is not there and must not be fetched, or it cannot be loaded.
        """
        model = self._plan.model
        if self._plan.mode is not Mode.EMBEDDED:
            async with self._pulling:  # backends share their folder: one fetches for all
                await pulling.ensure(
                    backend.url, self._session, model, allowed=self._plan.pull, tell=self._tell
                )
        self.panel.doing = f"loading {model}"
        try:
            await backend.loads.ensure(canonical(model), model, None)
        except (RefusalError, LoadBrokenError) as error:
            raise OurFault("model", f"{model} cannot be loaded at {backend.url}: {error}") from None
        backend.phase = Phase.READY
        if all(other.phase is Phase.READY for other in self.backends):
            self.panel.doing = None
            self.warm.set()

    def _tell(self, doing: str) -> None:
        self.panel.doing = doing
