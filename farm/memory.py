"""`GET /api/ps` of several backends as one list. Of a single one it passes as it is. Called by the front."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from farm import limits
from farm.api import gojson
from farm.asgi import Exchange
from farm.backend import Backend
from farm.courier import Answer, BrokeError, RefusedError
from farm.passage import Passage

PATH = "/api/ps"


async def shown(exchange: Exchange, passage: Passage, backends: Sequence[Backend]) -> bytes | None:
    """The models in memory of those that answer, each as its backend writes it; None when none answers."""
    lists = await asyncio.gather(*(_models(exchange, passage, backend) for backend in backends))
    answered = [models for models in lists if models is not None]
    return gojson.encode({"models": [model for models in answered for model in models]}) if answered else None


async def _models(exchange: Exchange, passage: Passage, backend: Backend) -> list[Any] | None:
    try:
        async with asyncio.timeout(limits.HEALTH_S):
            answer = await passage.ask(exchange, backend, None)
            try:
                told = gojson.decode(await _whole(answer))
            finally:
                answer.close()
    except RefusedError:
        backend.refused()
        return None
    except (BrokeError, TimeoutError, gojson.JsonError):
        return None
    models = told.get("models") if isinstance(told, dict) else None
    return models if isinstance(models, list) else None


async def _whole(answer: Answer) -> bytes:
    pieces: list[bytes] = []
    while more := await answer.more():
        pieces += more
    return b"".join(pieces)
