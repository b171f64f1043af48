"""The farm's front: who may come in, and which way a request goes.

Everything under /api and /v1, and GET and HEAD of /, goes to a backend and back byte for byte. What makes a
model work goes by `serving`, everything else straight through; /_health, /metrics and /_requests are the
farm's own, in `panel`. Speaks only HTTP to the backends. Made by `rooms`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Sequence

from farm import gate, limits, memory, routes
from farm.api.words import JSON_UTF8, RefusalError, error_answer
from farm.asgi import (
    App,
    BodyTooLargeError,
    BodyTooSlowError,
    ClientLeftError,
    Exchange,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
)
from farm.backend import Backend
from farm.courier import BrokeError, RefusedError
from farm.passage import Passage
from farm.ports import is_loopback
from farm.serving import Waiter

_LOG = logging.getLogger(__name__)
_SAFE = frozenset({"GET", "HEAD"})
NOT_FOUND = RefusalError(404, "404 page not found")
_ABOUT = "the request body is larger than {} bytes"


class Front:
    """The farm's face. An ASGI application.

    Args:
        panel: answers the farm's own routes.
        waiter: serves requests that need a model.
        passage: the way to the backends.
        backends: in the order of their choice.
        loopback: whether the front listens only on this machine.
        admin: whether other machines may change this one: pull, delete and the like.
    """

    def __init__(
        self,
        panel: App,
        waiter: Waiter,
        passage: Passage,
        backends: Sequence[Backend],
        *,
        loopback: bool,
        admin: bool,
    ) -> None:
        self._panel = panel
        self._waiter = waiter
        self._passage = passage
        self._backends = backends
        self._loopback = loopback
        self._admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send)
        verdict = gate.judge_headers(exchange.headers, loopback=self._loopback)
        if verdict is gate.Verdict.FOREIGN:
            await exchange.begin(403, [(b"content-length", b"0")])
            return await exchange.end()
        origin = exchange.header(b"origin") if verdict is gate.Verdict.ALLOWED else None
        if origin and exchange.method == "OPTIONS":
            await exchange.begin(204, gate.preflight_headers(origin))
            return await exchange.end()
        readable = gate.cors_headers(origin) if origin else []
        refusal = self._refused(exchange, scope)
        if refusal is not None:
            return await self._refuse(exchange, refusal, [*readable, (b"connection", b"close")])
        if routes.is_own(exchange.path):
            return await self._panel(scope, receive, _adding(readable, send))
        return await exchange.unless_left(self._answer(exchange, readable))

    def _refused(self, exchange: Exchange, scope: Scope) -> RefusalError | None:
        """What is said to a request that goes no further than here."""
        path = exchange.path
        if not routes.is_own(path) and not routes.is_backend_s(path):
            return NOT_FOUND
        if routes.changes(path) and not self._open_to(scope):
            why = f"{path} changes this machine: for programs on it alone, unless --allow-admin is given"
            return RefusalError(403, why)
        return None

    def _open_to(self, scope: Scope) -> bool:
        """Whether this client may change the machine."""
        client = scope.get("client")
        return self._admin or self._loopback or (client is not None and is_loopback(client[0]))

    async def _answer(self, exchange: Exchange, extra: Headers) -> None:
        route = routes.find(exchange.method, exchange.path)
        close: Headers = []
        try:
            if not exchange.bodied:
                await exchange.body(0)  # only its end comes; the watch for a leaving client begins there
            if route is None:
                if (exchange.method, exchange.path) == ("GET", memory.PATH) and len(self._backends) > 1:
                    return await self._memory(exchange, extra)
                return await self._pass(exchange, extra)
            return await self._waiter.serve(exchange, route, extra)
        except BodyTooSlowError:
            refusal = RefusalError(408, "the request body comes too slowly")
            close = [(b"connection", b"close")]
        except ClientLeftError:
            return None
        except BodyTooLargeError:
            refusal = RefusalError(413, _ABOUT.format(limits.FRONT_BODY_MAX_B))
            close = [(b"connection", b"close")]
        except RefusalError as found:
            refusal = found
        return await self._refuse(exchange, refusal, extra + close)

    async def _pass(self, exchange: Exchange, extra: Headers) -> None:
        """A request that needs no runner: straight through, its body as it comes."""
        for backend in self._in_turn():
            upload = _Upload(exchange)
            try:
                answer = await self._passage.ask(exchange, backend, upload.content())
            except RefusedError:
                backend.refused()
                if exchange.bodied:
                    break
                continue
            except BrokeError as error:
                if upload.too_large:
                    raise BodyTooLargeError from None
                if exchange.method in _SAFE and not exchange.bodied:  # a body was read and is gone
                    continue
                what = f"broke off before it answered ({error}); ask again"
                raise RefusalError(502, f"the backend at {backend.url} {what}") from None
            try:
                await self._passage.give(exchange, answer, backend, extra, None)
            finally:
                answer.close()
            return
        raise self._waiter.nobody()

    async def _memory(self, exchange: Exchange, extra: Headers) -> None:
        found = await memory.shown(exchange, self._passage, [b for b in self._backends if b.place.up])
        if found is None:
            raise self._waiter.nobody()
        await exchange.whole(200, JSON_UTF8, found, *extra)

    def _in_turn(self) -> list[Backend]:
        """Those that are up first; the others may be up again before the farm has noticed."""
        return sorted(self._backends, key=lambda backend: not backend.place.up)

    async def _refuse(self, exchange: Exchange, refusal: RefusalError, extra: Headers) -> None:
        if exchange.begun:
            return
        if refusal is NOT_FOUND:
            await exchange.whole(404, "text/plain", b"404 page not found", *extra)
            return
        shape = routes.shape_of(exchange.path)
        kind, body = error_answer(refusal, shape, number=secrets.token_hex(12))
        headers = list(extra)
        if refusal.status == 503:
            headers.append((b"retry-after", str(self._waiter.retry_after_s()).encode()))
        await exchange.whole(refusal.status, kind, body, *headers)


def _adding(headers: Headers, send: Send) -> Send:
    """`send`, with more headers on the answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return sending if headers else send


class _Upload:
    """The body of a request that goes through as it comes, bounded but for model files."""

    def __init__(self, exchange: Exchange) -> None:
        self.too_large = False
        self._exchange = exchange
        endless = exchange.path.startswith(routes.UPLOADS)
        self._left_b = float("inf") if endless else limits.FRONT_BODY_MAX_B

    def content(self) -> AsyncIterator[bytes] | None:
        """What is sent on; None when the request has no body."""
        announced = self._exchange.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > self._left_b:
            raise BodyTooLargeError
        return self._pieces() if self._exchange.bodied else None

    async def _pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._exchange.body_chunks():
            self._left_b -= len(piece)
            if self._left_b < 0:
                self.too_large = True
                raise BodyTooLargeError
            yield piece
