"""The three embedding routes: texts to tokens to vectors.

Called by `app`. One engine request carries all texts of one list.
"""

from __future__ import annotations

import time

from farm import limits
from farm.api import words
from farm.api.words import RefusalError
from farm.asgi import Exchange
from farm.embedded import options, vectors
from farm.embedded.channel import LOST, Channel
from farm.embedded.pieces import EngineError
from farm.embedded.runner import Runner
from farm.embedded.vectors import EmbedAsk


class Embedder:
    """Answers embedding requests with the engine of `runner`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def embed(self, exchange: Exchange) -> None:
        """POST /api/embed."""
        arrived_ns = time.monotonic_ns()
        asked = vectors.read_embed(await exchange.body(limits.BODY_MAX_B))
        found, tokens, loaded_ns = await self._vectors(asked)
        body = vectors.embed_body(
            asked.model,
            [vectors.normalised(vector, asked.dimensions) for vector in found],
            total_ns=time.monotonic_ns() - arrived_ns,
            load_ns=loaded_ns - arrived_ns,
            tokens=tokens,
        )
        await exchange.whole(200, words.JSON_UTF8, body)

    async def embeddings(self, exchange: Exchange) -> None:
        """POST /api/embeddings, the old route: one vector, not normalised; what goes wrong in it is 500."""
        asked = vectors.read_embeddings(await exchange.body(limits.BODY_MAX_B))
        found, _, _ = await self._vectors(asked, fault=500)
        body = vectors.embeddings_body(found[0] if found else [])
        await exchange.whole(200, words.JSON_UTF8, body)

    async def openai(self, exchange: Exchange) -> None:
        """POST /v1/embeddings."""
        asked = vectors.read_openai(await exchange.body(limits.BODY_MAX_B))
        found, tokens, _ = await self._vectors(asked)
        whole = [vectors.normalised(vector, asked.dimensions) for vector in found]
        await exchange.whole(200, words.JSON_BARE, vectors.openai_body(asked, whole, tokens))

    async def _vectors(self, asked: EmbedAsk, fault: int = 400) -> tuple[list[list[float]], int, int]:
        """Vectors, tokens read, and when the model was ready (monotonic nanoseconds).

        Raises:
            RefusalError: with the status `fault` for a text that is too long or an engine that ended.
        """
        chosen = options.parse(asked.options or {})
        window = min(chosen.window(self._runner.plan.slot_tokens), self._runner.plan.batch)
        async with self._runner.lease(asked.keep_alive) as engine:
            loaded_ns = time.monotonic_ns()
            async with self._runner.turn():
                try:
                    prompts = [
                        _fitted(await engine.tokenize(text), window, asked, fault) for text in asked.texts
                    ]
                    found = await engine.embed(prompts) if prompts else []
                except EngineError as error:
                    raise await self._refusal(engine, error, fault) from error
        return found, sum(map(len, prompts)), loaded_ns

    async def _refusal(self, engine: Channel, error: EngineError, fault: int) -> RefusalError:
        if error.status != LOST:
            return RefusalError(error.status, error.text)
        await self._runner.lost()
        return words.embedding_lost(engine.url, fault)


def _fitted(tokens: list[int], window: int, asked: EmbedAsk, fault: int) -> list[int]:
    if not tokens:
        raise RefusalError(500, "Failed to create new sequence: no input provided")
    if len(tokens) > window and not asked.truncate:
        raise words.input_too_long(fault)
    return vectors.cut_to_fit(tokens, window)
