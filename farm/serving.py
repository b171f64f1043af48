"""A request that makes a model work: read, queued, its model brought in, carried to a backend, and let go.

It is tried again, on another backend if there is one, only while nothing of its answer was sent. When its
client leaves, its connection to the backend is closed; where the backend reads a prompt to its end all the
same, the slot stays taken until then. Called by the front.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from farm import demand, limits
from farm.api.words import RefusalError, busy
from farm.asgi import ClientLeftError, Exchange, Headers
from farm.backend import Backend
from farm.bodies import Bodies, CrowdedError
from farm.courier import Answer, BrokeError, RefusedError
from farm.demand import Demand, House
from farm.desk import Desk, Full, NobodyThereError, Seat, State, Ticket
from farm.loads import LoadBrokenError
from farm.metrics import Metrics
from farm.passage import Passage
from farm.routes import Route, Work
from farm.witness import Witness

_LOG = logging.getLogger(__name__)


class Again(Exception):
    """This attempt failed before anything was sent; says why.

    Attributes:
        counts: whether the backend had the request, which may then be the cause.
    """

    def __init__(self, why: str, *, counts: bool = True) -> None:
        super().__init__(why)
        self.counts = counts


class Waiter:
    """Serves the requests that need a model.

    Args:
        desk: where they wait.
        backends: by their index in the pool.
        house: what holds for every request.
        passage: the way to the backends.
        metrics: what is counted.
    """

    def __init__(
        self, desk: Desk, backends: Sequence[Backend], house: House, passage: Passage, metrics: Metrics
    ) -> None:
        self._desk = desk
        self._backends = backends
        self._house = house
        self._passage = passage
        self._metrics = metrics
        self._bodies = Bodies()

    async def serve(self, exchange: Exchange, route: Route, extra: Headers) -> None:
        """Serve one request.

        Raises:
            RefusalError: it is answered with this error; nothing was sent yet.
            BodyTooLargeError: its body is longer than the limit.
            ClientLeftError: it will never be complete.
        """
        name = (exchange.header(b"x-request-id") or b"").decode("latin-1")[:64]
        outcome = "left"
        try:
            async with self._bodies.read(exchange) as body:
                wanted = await self._read(body, exchange.path, route)
                for option in wanted.dropped:
                    self._metrics.dropped.labels(option).inc()
                with self._desk.enter(exchange.path, wanted.asked, name, route.work) as ticket:
                    del body
                    outcome = await self._serve(_Errand(exchange, route, wanted, ticket, extra))
        except CrowdedError:
            outcome = "refused"
            raise busy() from None
        except RefusalError:
            outcome = "refused"
            raise
        finally:
            self._metrics.requests.labels(exchange.path, outcome).inc()

    async def _read(self, body: bytes, path: str, route: Route) -> Demand:
        if len(body) < limits.BIG_BODY_B:
            return demand.read(body, path, route, self._house)
        return await asyncio.to_thread(demand.read, body, path, route, self._house)

    async def _serve(self, errand: _Errand) -> str:
        avoid: frozenset[int] = frozenset()
        tries = 0
        while True:  # ends also where no backend takes it: each that refuses is down until it answers
            try:
                if errand.wanted.idle:
                    return await self._load_or_unload(errand)
                return await self._attempt(errand, avoid)
            except Again as why:
                avoid |= {errand.tried}
                tries += why.counts
                if tries == limits.TRIES:
                    raise RefusalError(502, str(why)) from None
                self._metrics.retries.inc()
                _LOG.warning("%s: %s; trying again", errand.exchange.path, why)
                await asyncio.sleep(limits.TRY_AGAIN_S)

    async def _attempt(self, errand: _Errand, avoid: frozenset[int]) -> str:
        ticket, wanted = errand.ticket, errand.wanted
        ticket.state = State.QUEUED
        try:
            async with self._desk.seat(ticket, wanted.model, avoid) as seat:
                self._metrics.queue.observe(time.monotonic() - ticket.since)
                errand.tried = seat.place
                backend = self._backends[seat.place]
                await self._bring_in(backend, errand)
                ticket.state = State.PREFILL
                return await self._carry(errand, backend, seat)
        except Full:
            raise busy() from None
        except NobodyThereError:
            raise self.nobody() from None

    async def _bring_in(self, backend: Backend, errand: _Errand) -> None:
        wanted = errand.wanted
        if not wanted.model:
            return
        if not backend.loads.has(wanted.model):
            errand.ticket.state = State.LOADING
        try:
            await backend.loads.ensure(wanted.model, wanted.asked, wanted.keep_alive)
        except LoadBrokenError as error:
            if error.refused:
                backend.refused()
            why = f"the backend at {backend.url} broke off while it loaded ({error})"
            raise Again(why, counts=not error.refused) from None

    async def _carry(self, errand: _Errand, backend: Backend, seat: Seat | None) -> str:
        with backend.waiting():
            kills = backend.kills
            answer = await self._ask(errand, backend, seat)
            if answer.status >= 500 and backend.kills != kills:
                answer.close()
                raise Again(f"the runner at {backend.url} hung and was ended")
            backend.heard()
            self._metrics.ttft.observe(time.monotonic() - errand.ticket.since)
            errand.ticket.state = State.GENERATING
            kind = answer.header(b"content-type") or b""
            witness = Witness(errand.exchange.path, errand.route.shape, answer.status, kind)
            try:
                whole = await self._passage.give(errand.exchange, answer, backend, errand.extra, witness)
            finally:
                answer.close()
                if errand.wanted.frees:
                    backend.loads.freed(errand.wanted.model)
        if answer.status == 200:
            self._metrics.count_tokens(errand.wanted.model, witness.counts)
            backend.learn(witness.counts)
        return ("done" if answer.status < 400 else "failed") if whole else "broken"

    async def _ask(self, errand: _Errand, backend: Backend, seat: Seat | None) -> Answer:
        asking = asyncio.ensure_future(self._passage.ask(errand.exchange, backend, errand.wanted.body))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            if seat is None or not self._leave(errand, backend, seat, asking):
                _drop(asking)
            raise
        except RefusedError:
            backend.refused()
            why = f"the backend at {backend.url} does not answer; GET /_health tells when it does"
            raise Again(why, counts=False) from None
        except BrokeError as error:
            raise Again(
                f"the backend at {backend.url} broke off before it answered ({error}); ask again"
            ) from None

    # -- when the client left while its prompt was read -----------------------------------

    def _leave(self, errand: _Errand, backend: Backend, seat: Seat, asking: asyncio.Future[Answer]) -> bool:
        """Keep the slot until the runner is free; True when `asking` goes on for it."""
        if not backend.service.prefill_goes_on or errand.route.work is not Work.TEXT or asking.done():
            return False
        if errand.wanted.streams:
            # The first token is the end of the prompt, and then the runner can be stopped.
            seat.keep(asyncio.create_task(_until_first(backend, asking)))
            return True
        seat.keep(asyncio.create_task(backend.rest(len(errand.wanted.body))))
        return False

    # -- requests that only load or unload ------------------------------------------------

    async def _load_or_unload(self, errand: _Errand) -> str:
        wanted = errand.wanted
        up = [backend for backend in self._backends if backend.place.up]
        if not up:
            return await self._load_or_unload_later(errand)
        nearest = min(up, key=lambda backend: backend.place.cost(wanted.model))
        if not wanted.unloads:
            await self._bring_in(nearest, errand)
            return await self._carry(errand, nearest, None)
        others = [b for b in up if b is not nearest and b.loads.has(wanted.model)]
        await asyncio.gather(*(b.loads.unload(wanted.asked) for b in others), return_exceptions=True)
        outcome = await self._carry(errand, nearest, None)
        await nearest.loads.settle()
        return outcome

    async def _load_or_unload_later(self, errand: _Errand) -> str:
        """It takes no slot, but no other way to wait for a backend that is on its way is needed."""
        try:
            async with self._desk.seat(errand.ticket, errand.wanted.model, frozenset()):
                pass
        except Full:
            raise busy() from None
        except NobodyThereError:
            raise self.nobody() from None
        return await self._load_or_unload(errand)

    def retry_after_s(self) -> int:
        """When a client that was refused should come again."""
        return self._desk.retry_after_s()

    def nobody(self) -> RefusalError:
        """What is said when no backend is there."""
        urls = ", ".join(backend.url for backend in self._backends)
        return RefusalError(
            502, f"the backend at {urls} does not answer; start it, GET /_health tells when it is there"
        )


class _Errand:
    """One request on its way.

    Attributes:
        tried: index of the backend that was tried last.
    """

    __slots__ = ("exchange", "extra", "route", "ticket", "tried", "wanted")

    def __init__(
        self, exchange: Exchange, route: Route, wanted: Demand, ticket: Ticket, extra: Headers
    ) -> None:
        self.exchange = exchange
        self.route = route
        self.wanted = wanted
        self.ticket = ticket
        self.extra = extra
        self.tried = -1


def _drop(asking: asyncio.Future[Answer]) -> None:
    """Nobody wants that answer any more, whether it has begun or not."""
    if asking.done() and not asking.cancelled() and asking.exception() is None:
        asking.result().close()
    asking.cancel()


async def _until_first(backend: Backend, asking: asyncio.Future[Answer]) -> None:
    try:
        with backend.waiting():
            async with asyncio.timeout(limits.GHOST_S):
                answer = await asking
            backend.heard()
            answer.close()
    except (RefusedError, BrokeError, TimeoutError):
        return
    finally:
        asking.cancel()


__all__ = ["ClientLeftError", "Waiter"]
