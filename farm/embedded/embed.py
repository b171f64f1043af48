"""The three embedding routes: texts to tokens to vectors.

Called by `app`. One engine request carries all texts of one list.
"""

from __future__ import annotations

import time

from farm import limits
from farm.asgi import Exchange
from farm.embedded import options, vectors, words
from farm.embedded.channel import LOST, Channel
from farm.embedded.pieces import EngineError
from farm.embedded.runner import Runner
from farm.embedded.vectors import EmbedAsk
from farm.embedded.words import RefusalError


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
        """POST /api/embeddings, the old route: one vector, not normalised; too long is 500 here."""
        asked = vectors.read_embeddings(await exchange.body(limits.BODY_MAX_B))
        try:
            found, _, _ = await self._vectors(asked)
        except RefusalError as error:
            raise RefusalError(500, error.text) from error
        body = vectors.embeddings_body(found[0] if found else [])
        await exchange.whole(200, words.JSON_UTF8, body)

    async def openai(self, exchange: Exchange) -> None:
        """POST /v1/embeddings."""
        asked = vectors.read_openai(await exchange.body(limits.BODY_MAX_B))
        found, tokens, _ = await self._vectors(asked)
        whole = [vectors.normalised(vector, asked.dimensions) for vector in found]
        await exchange.whole(200, words.JSON_BARE, vectors.openai_body(asked, whole, tokens))

    async def _vectors(self, asked: EmbedAsk) -> tuple[list[list[float]], int, int]:
        """Vectors, tokens read, and when the model was ready (monotonic nanoseconds)."""
        chosen = options.parse(asked.options or {})
        window = min(chosen.window(self._runner.plan.slot_tokens), self._runner.plan.batch)
        async with self._runner.lease(asked.keep_alive) as engine, self._runner.turn():
            loaded_ns = time.monotonic_ns()
            try:
                prompts = [await _prompt(engine, text, window, asked) for text in asked.texts]
                found = await engine.embed(prompts) if prompts else []
            except EngineError as error:
                if error.status == LOST:
                    await self._runner.lost()
                text = words.BROKEN if error.status == LOST else error.text
                raise RefusalError(error.status or 500, text) from error
        return found, sum(map(len, prompts)), loaded_ns


async def _prompt(engine: Channel, text: str, window: int, asked: EmbedAsk) -> list[int]:
    tokens = await engine.tokenize(text)
    if not tokens:
        raise RefusalError(500, "Failed to create new sequence: no input provided")
    if len(tokens) > window and not asked.truncate:
        raise words.input_too_long()
    return tokens[:window]
