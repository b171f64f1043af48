"""The farm's front: everything under /api and /v1 goes to the backend and back byte for byte.

Every chunk of the backend is sent on when it comes. A client that leaves closes the backend's
connection at once, which frees its slot; a backend that breaks off mid-answer has the client's connection
cut, so that nobody takes half an answer for a whole one. `/_health` tells whether the backend is ready.
Speaks only HTTP to the backend: an adapter or an unmodified Ollama. Made by `farm.house`.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.routing import Route

from farm import gate, limits
from farm.asgi import Exchange, Headers, Receive, Scope, Send
from wire.headers import end_to_end

_LOG = logging.getLogger(__name__)
_JSON = "application/json; charset=utf-8"


class Forwarder:
    """Hands requests to one backend. An ASGI application.

    Args:
        backend: base URL such as http://127.0.0.1:11435.
        client: see `farm.client.plain_client`.
        loopback: whether the front listens only on this machine.
    """

    def __init__(self, backend: str, client: httpx.AsyncClient, *, loopback: bool) -> None:
        self._backend = httpx.URL(backend)
        self._client = client
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send)
        verdict = gate.judge_headers(exchange.headers, loopback=self._loopback)
        framed_twice = {b"content-length", b"transfer-encoding"} <= {name for name, _ in exchange.headers}
        if verdict is gate.Verdict.FOREIGN:
            await exchange.begin(403, [(b"content-length", b"0")])
            await exchange.end()
        elif framed_twice:
            # Two servers in a row that disagree on where a request ends can be made to see different ones.
            why = "a request has either Content-Length or Transfer-Encoding, not both"
            await _refuse(exchange, 400, why, (b"connection", b"close"))
        else:
            origin = exchange.header(b"origin") if verdict is gate.Verdict.ALLOWED else None
            if origin and exchange.method == "OPTIONS":
                await exchange.begin(204, gate.preflight_headers(origin))
                await exchange.end()
            else:
                readable = gate.cors_headers(origin) if origin else []
                await exchange.unless_left(self._forward(exchange, _target(scope), readable))

    async def _forward(self, exchange: Exchange, target: bytes, extra: Headers) -> None:
        bodied = any(exchange.header(name) is not None for name in (b"content-length", b"transfer-encoding"))
        if not bodied:
            await exchange.body(0)  # only its end comes; the watch for a leaving client begins there
        request = httpx.Request(
            exchange.method,
            self._backend,
            headers=_to_backend(exchange.headers),
            content=exchange.body_chunks() if bodied else None,
            # The target as the client wrote it: a URL class would write some of its characters anew.
            extensions={"target": target, "timeout": self._client.timeout.as_dict()},
        )
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.ConnectError:
            remedy = "does not answer; start it, GET /_health tells when it is there"
            return await _refuse(exchange, 502, f"the backend at {self._backend} {remedy}")
        except httpx.TransportError as error:
            what = f"broke off before it answered ({type(error).__name__}); ask again"
            return await _refuse(exchange, 502, f"the backend at {self._backend} {what}")
        try:
            await _relay(exchange, answer, extra)
        finally:
            await answer.aclose()


async def _relay(exchange: Exchange, answer: httpx.Response, extra: Headers) -> None:
    headers = _end_to_end(answer.headers.raw) + extra
    if answer.headers.get("content-length") is None:
        headers.append((b"x-accel-buffering", b"no"))  # a web server in front of us shall not gather chunks
    await exchange.begin(answer.status_code, headers)
    try:
        async for chunk in answer.aiter_raw():
            await exchange.piece(chunk)
    except httpx.TransportError:
        # No end is sent: the server then cuts the connection, and the client knows the answer is not whole.
        _LOG.warning("the backend broke off in the middle of %s %s", exchange.method, exchange.path)
        return
    await exchange.end()


def _to_backend(headers: Headers) -> Headers:
    """A client's headers without those about its connection, its Host and its Origin.

    httpx names the backend's host; the origin was judged here, by the same rule.
    """
    return [pair for pair in _end_to_end(headers) if pair[0].lower() not in {b"host", b"origin", b"expect"}]


def _end_to_end(headers: Headers) -> Headers:
    text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in end_to_end(text)]


def _target(scope: Scope) -> bytes:
    path: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path


async def _refuse(exchange: Exchange, status: int, why: str, *extra: tuple[bytes, bytes]) -> None:
    await exchange.whole(status, _JSON, json.dumps({"error": why}).encode(), *extra)


async def health(backend: str, client: httpx.AsyncClient) -> JSONResponse:
    """Whether the backend is ready: 200 when it answers, 503 when not, and what it has loaded."""
    facts: dict[str, Any] = {"status": "down", "backend": backend, "version": None, "models": []}
    try:
        version = await client.get(f"{backend}/api/version", timeout=limits.HEALTH_S)
        loaded = await client.get(f"{backend}/api/ps", timeout=limits.HEALTH_S)
        facts["version"] = version.json()["version"]
        facts["models"] = [entry["name"] for entry in loaded.json()["models"]]
        facts["status"] = "ready"
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        facts["error"] = f"{type(error).__name__}: {error}"
    return JSONResponse(facts, 200 if facts["status"] == "ready" else 503)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await Exchange(scope, receive, send).whole(404, "text/plain", b"404 page not found")


def make_app(backend: str, client: httpx.AsyncClient, *, loopback: bool) -> FastAPI:
    """The front as an ASGI application.

    Args:
        backend: base URL of the backend.
        client: see `farm.client.plain_client`; closed by the caller.
        loopback: whether the front listens only on this machine.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    forward = Forwarder(backend, client, loopback=loopback)

    async def answer_health() -> JSONResponse:
        return await health(backend, client)

    app.add_api_route("/_health", answer_health, methods=["GET", "HEAD"])
    # Routes of raw ASGI take every method; FastAPI's own would buffer the body and pick methods.
    app.router.routes += [Route(path, forward) for path in ("/", "/api/{rest:path}", "/v1/{rest:path}")]
    app.router.default = _not_found
    return app
