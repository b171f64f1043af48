"""HTTP to the engine child: one connection per request, closing it is cancelling.

Called by `runner`, `talk` and `app`. Knows the engine's routes, nothing of Ollama's.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx

from farm import limits
from farm.client import plain_client
from farm.embedded.pieces import EngineError
from wire.ndjson import LineSplitter

_NO_JSON = "W"
"""A token that stands at the beginning of no JSON value."""
LOST = 0
"""Status of an EngineError when the engine did not answer at all, or broke off."""


class Channel:
    """The way to one engine.

    Args:
        url: where it listens.
        key: what it wants to see.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._client = plain_client()
        # The engine closes kept connections when it likes.
        self._headers = {"Authorization": f"Bearer {key}", "Connection": "close"}
        self._compiled: dict[str, bool] = {}

    async def close(self) -> None:
        """Let go of the client."""
        await self._client.aclose()

    async def tokenize(self, text: str) -> list[int]:
        """Token numbers of a text; its special tokens are read as such.

        Raises:
            EngineError: the engine refused or is gone.
        """
        told = await self._post("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        return list(told["tokens"])

    async def embed(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """One vector per prompt of tokens, not normalised.

        Raises:
            EngineError: the engine refused or is gone.
        """
        told = await self._post("/embeddings", {"input": list(prompts), "embd_normalize": -1})
        return [entry["embedding"][0] for entry in sorted(told, key=lambda entry: int(entry["index"]))]

    async def busy(self) -> int:
        """Slots that are at work.

        Raises:
            EngineError: the engine is gone.
        """
        try:
            answer = await self._client.get(f"{self.url}/slots", headers=self._headers)
        except httpx.TransportError as error:
            raise EngineError(LOST, type(error).__name__) from error
        return sum(bool(slot["is_processing"]) for slot in answer.json())

    async def complete(self, request: dict[str, Any]) -> AsyncGenerator[bytes]:
        """The lines of the engine's event stream for one completion.

        Raises:
            EngineError: the engine refused (its status) or is gone (LOST).
        """
        splitter = LineSplitter(limits.BODY_MAX_B)
        url = f"{self.url}/completion"
        try:
            async with self._client.stream("POST", url, json=request, headers=self._headers) as answer:
                if answer.status_code != 200:
                    raise _refused(answer.status_code, await answer.aread())
                async for data in answer.aiter_raw():
                    for line in splitter.feed(data):
                        yield line
        except httpx.TransportError as error:
            raise EngineError(LOST, type(error).__name__) from error

    async def compiles(self, schema: dict[str, Any]) -> bool:
        """Whether the engine holds an answer to a schema: with one that it cannot compile it answers freely.

        Raises:
            EngineError: the engine refused or is gone.
        """
        key = json.dumps(schema)
        if key not in self._compiled:
            while len(self._compiled) >= limits.SCHEMAS_KEPT:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[key] = await self._holds(schema)
        return self._compiled[key]

    async def _holds(self, schema: dict[str, Any]) -> bool:
        """One token, drawn towards what the schema cannot allow."""
        request = {
            "prompt": "a",
            "n_predict": 1,
            "temperature": 0,
            "json_schema": schema,
            "cache_prompt": False,
        }
        told = await self._post("/completion", request | {"logit_bias": [[_NO_JSON, 100.0]]})
        return not str(told["content"]).startswith(_NO_JSON)

    async def _post(self, path: str, request: dict[str, Any]) -> Any:
        try:
            answer = await self._client.post(self.url + path, json=request, headers=self._headers)
        except httpx.TransportError as error:
            raise EngineError(LOST, type(error).__name__) from error
        if answer.status_code != 200:
            raise _refused(answer.status_code, answer.content)
        return answer.json()


def _refused(status: int, body: bytes) -> EngineError:
    try:
        return EngineError(status, str(httpx.Response(status, content=body).json()["error"]["message"]))
    except (ValueError, LookupError, TypeError):
        return EngineError(status, "the engine refused the request")
