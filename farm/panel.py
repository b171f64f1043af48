"""The farm's own routes: whether it is ready, what it counts, who waits.

Answers from what the farm knows already, without asking a backend, so that it answers at once even when every
backend hangs. Made by `house`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from farm.backend import Backend, Phase
from farm.demand import canonical
from farm.desk import Desk
from farm.metrics import Metrics


class Panel:
    """What the farm says about itself.

    Args:
        desk: where requests wait.
        backends: whose state is told.
        models: canonical names of the models that the farm keeps warm.
        metrics: what is counted.

    Attributes:
        doing: what the farm is busy with before it is ready, for people; or None.
    """

    def __init__(
        self, desk: Desk, backends: Sequence[Backend], models: Sequence[str], metrics: Metrics
    ) -> None:
        self.doing: str | None = None
        self._desk = desk
        self._backends = backends
        self._models = models
        self._metrics = metrics

    def facts(self) -> dict[str, Any]:
        """The farm's state, in plain words."""
        first = self._backends[0]
        loaded = sorted(set().union(*(b.place.loaded for b in self._backends if b.place.up)))
        pool = self._desk.pool
        return {
            "status": self._status(),
            "doing": self.doing,
            "backend": first.url,
            "version": first.version,
            "models": loaded,
            "warm": {model: self._has(model) for model in self._models},
            "slots": pool.slots,
            "running": pool.used,
            "waiting": pool.waiting,
            "backends": [_told(backend) for backend in self._backends],
        }

    async def health(self, model: str = "") -> JSONResponse:
        """Whether requests are served: 200 or 503, and the facts.

        Args:
            model: ready only when this model is in memory.
        """
        facts = self.facts()
        ready = facts["status"] in {"ready", "degraded"}
        if model:
            ready = ready and self._has(canonical(model))
        return JSONResponse(facts, 200 if ready else 503)

    async def metrics(self) -> Response:
        """All figures for Prometheus."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def requests(self) -> dict[str, Any]:
        """Who waits and runs, and how far they are; no word of what they ask."""
        return {"requests": self._desk.book()}

    def _has(self, model: str) -> bool:
        """Whether it is in memory where requests are sent, under this name or another."""
        return any(backend.place.up and backend.loads.has(model) for backend in self._backends)

    def _status(self) -> str:
        ready = [b for b in self._backends if b.phase is Phase.READY and b.place.up and not b.hangs]
        if len(ready) == len(self._backends):
            return "ready"
        if ready:
            return "degraded"
        starting = any(backend.place.coming for backend in self._backends)
        return "starting" if starting else "down"


def _told(backend: Backend) -> dict[str, Any]:
    place = backend.place
    return {
        "url": backend.url,
        "phase": "hangs" if backend.hangs else backend.phase.value,
        "up": place.up,
        "ours": backend.service.ours,
        "version": backend.version,
        "models": sorted(place.loaded),
        "loading": place.loading,
        "slots": place.slots,
        "running": place.used,
        "restarts": backend.restarts,
        "error": backend.trouble,
    }


def make_app(panel: Panel) -> FastAPI:
    """The farm's own routes as an ASGI application."""
    app = FastAPI(title="The farm's own routes", docs_url=None, redoc_url=None, openapi_url=None)
    for path, answer in (
        ("/_health", panel.health),
        ("/health", panel.health),
        ("/metrics", panel.metrics),
        ("/_requests", panel.requests),
    ):
        app.add_api_route(path, answer, methods=["GET", "HEAD"], response_model=None)
    return app
