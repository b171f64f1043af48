"""HTTP to the engine child: one connection per request, closing it is cancelling.

Called by `runner`, `talk` and `app`. Knows the engine's routes, nothing of Ollama's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx

from farm import limits
from farm.client import plain_client
from farm.embedded.pieces import EngineError
from wire.ndjson import LineSplitter

LOST = 0
"""Status of an EngineError when the engine did not answer at all, or broke off."""


class Channel:
    """The way to one engine.

    Args:
        url: where it listens.
        key: what it wants to see.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._client = plain_client()
        # The engine closes kept connections when it likes.
        self._headers = {"Authorization": f"Bearer {key}", "Connection": "close"}

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
            answer = await self._client.get(f"{self._url}/slots", headers=self._headers)
        except httpx.TransportError as error:
            raise EngineError(LOST, type(error).__name__) from error
        return sum(bool(slot["is_processing"]) for slot in answer.json())

    async def complete(self, request: dict[str, Any]) -> AsyncGenerator[bytes]:
        """The lines of the engine's event stream for one completion.

        Raises:
            EngineError: the engine refused (its status) or is gone (LOST).
        """
        splitter = LineSplitter(limits.BODY_MAX_B)
        url = f"{self._url}/completion"
        try:
            async with self._client.stream("POST", url, json=request, headers=self._headers) as answer:
                if answer.status_code != 200:
                    raise _refused(answer.status_code, await answer.aread())
                async for data in answer.aiter_raw():
                    for line in splitter.feed(data):
                        yield line
        except httpx.TransportError as error:
            raise EngineError(LOST, type(error).__name__) from error

    async def _post(self, path: str, request: dict[str, Any]) -> Any:
        try:
            answer = await self._client.post(self._url + path, json=request, headers=self._headers)
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
