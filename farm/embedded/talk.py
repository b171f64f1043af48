"""Carries out an `Ask`: prompt to tokens, tokens to the engine, the engine's pieces to the client.

The answer's head is sent with the first piece, never before: until then an error has a true status.
Called by `app`; holds no state of its own.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from farm.api import words
from farm.api.words import RefusalError, Shape
from farm.asgi import Exchange
from farm.embedded import options, schema, stamps
from farm.embedded.ask import Ask
from farm.embedded.channel import LOST, Channel
from farm.embedded.native import Ending, NativeVoice, Voice
from farm.embedded.options import Options
from farm.embedded.pieces import Counts, EngineError, Piece, read_event
from farm.embedded.runner import Runner
from farm.embedded.template import cut, render, shorter


def _now() -> str:
    return stamps.utc(time.time_ns())


class Talk:
    """One request for text.

    Args:
        exchange: where the answer goes.
        runner: whose engine makes it.
        ask: what is asked.
        voice: in which form it is told.
    """

    def __init__(self, exchange: Exchange, runner: Runner, ask: Ask, voice: Voice) -> None:
        self._exchange = exchange
        self._runner = runner
        self._ask = ask
        self._voice = voice
        self.accepted = False
        """Whether the model is ready and the request is no longer refused without further ado."""
        self._arrived_ns = time.monotonic_ns()
        self._load_ns = 0

    async def answer(self) -> None:
        """Answer the request.

        Raises:
            RefusalError: before anything was sent.
            OurFault: the engine does not start; before anything was sent.
        """
        ask = self._ask
        if ask.unloads:
            await self._runner.unload()
            return await self._tell_empty("unload")
        chosen = options.parse(ask.options)
        async with self._runner.lease(ask.keep_alive) as engine:
            self._load_ns = time.monotonic_ns() - self._arrived_ns
            if ask.empty:
                return await self._tell_empty("load")
            self.accepted = True
            try:
                async with self._runner.turn():
                    await self._generate(engine, chosen)
            except EngineError as error:
                raise await self._refusal(error) from error

    async def _generate(self, engine: Channel, chosen: Options) -> None:
        ask = self._ask
        window = chosen.window(self._runner.plan.slot_tokens)
        text, tokens = await self._prompt(engine, window)
        if ask.debug:
            native = NativeVoice(ask)
            await self._exchange.whole(200, words.JSON_UTF8, native.rendered(text, _now()))
            return
        answer_format = schema.parse_format(ask.format)
        chosen.check_finite()
        if len(tokens) > window and not ask.truncate:
            raise words.input_too_long()
        prompt = cut(tokens, window, chosen.keep)
        request = chosen.sampling | {
            "prompt": prompt,
            "n_predict": chosen.predict_at_most(window, len(prompt), shift=ask.shift),
            "stream": True,
            "return_tokens": True,
        }
        if answer_format is not None:
            request["json_schema"] = schema.for_engine(answer_format)
            if not await engine.compiles(request["json_schema"]):
                raise schema.invalid()
        if ask.top_logprobs is not None:
            request["n_probs"] = max(1, ask.top_logprobs)
        async with aclosing(self._events(engine, request)) as events:
            await (self._stream if ask.stream else self._whole)(engine, events, tokens)

    async def _prompt(self, engine: Channel, window: int) -> tuple[str, list[int]]:
        """The prompt's text and all its tokens; of a chat that is too long whole old messages go first."""
        ask = self._ask
        if ask.raw is not None:
            return ask.raw, await engine.tokenize(ask.raw)
        text = render(ask.turns)
        tokens = [*ask.context, *await engine.tokenize(text)]
        if len(tokens) <= window or ask.route == "generate" or not ask.truncate:
            return text, tokens
        histories = list(shorter(ask.turns))
        low, high = 0, len(histories) - 1
        while low < high:
            middle = (low + high) // 2
            if len(await engine.tokenize(render(histories[middle]))) <= window:
                high = middle
            else:
                low = middle + 1
        text = render(histories[low])
        return text, await engine.tokenize(text)

    async def _events(self, engine: Channel, request: dict[str, Any]) -> AsyncGenerator[Piece | Counts]:
        """The engine's pieces and then its counts.

        Raises:
            EngineError: also when it ends without counts.
        """
        async with aclosing(engine.complete(request)) as lines:
            async for line in lines:
                event = read_event(line, self._ask.top_logprobs)
                if isinstance(event, Piece) and not event.text and not event.logprobs:
                    continue
                if event is not None:
                    yield event
                if isinstance(event, Counts):
                    return
        raise EngineError(LOST, "no end")

    async def _stream(
        self, engine: Channel, events: AsyncIterator[Piece | Counts], prompt: list[int]
    ) -> None:
        pieces: list[Piece] = []
        try:
            async for event in events:
                if isinstance(event, Counts):
                    ending = await self._ending(engine, event, pieces, prompt)
                    await self._say(self._voice.last(ending, _now()))
                else:
                    pieces.append(event)
                    await self._say(self._voice.line(event, _now()))
        except EngineError as error:
            if not pieces:
                raise
            if error.status == LOST:
                await self._runner.lost()
            await self._say(self._voice.broken(_now()))
        await self._exchange.end()

    async def _say(self, chunks: list[bytes]) -> None:
        if not self._exchange.begun:
            kind = (b"content-type", self._voice.stream_type.encode())
            await self._exchange.begin(200, [kind, *self._voice.stream_headers])
        for chunk in chunks:
            await self._exchange.piece(chunk)

    async def _whole(self, engine: Channel, events: AsyncIterator[Piece | Counts], prompt: list[int]) -> None:
        pieces: list[Piece] = []
        try:
            async for event in events:
                if isinstance(event, Counts):
                    await self._tell(pieces, await self._ending(engine, event, pieces, prompt))
                else:
                    pieces.append(event)
        except EngineError as error:
            if pieces and error.status == LOST:
                await self._runner.lost()
                raise RefusalError(500, words.BROKEN) from error
            raise

    async def _ending(
        self, engine: Channel, counts: Counts, pieces: list[Piece], prompt: list[int]
    ) -> Ending:
        context = None
        if self._ask.route == "generate" and self._ask.raw is None and self._voice.shape is Shape.NATIVE:
            made = [token for piece in pieces for token in piece.tokens]
            if counts.tokens - len(made) not in {0, 1}:  # 1: the end mark
                # Characters of several tokens come without their first tokens: read the text once more.
                made = await engine.tokenize("".join(piece.text for piece in pieces))
            context = prompt + made
        total_ns = time.monotonic_ns() - self._arrived_ns
        return Ending(counts.reason, counts, context, total_ns, self._load_ns)

    async def _tell(self, pieces: list[Piece], ending: Ending) -> None:
        body = self._voice.whole(pieces, ending, _now())
        await self._exchange.whole(200, self._voice.whole_type, body)

    async def _tell_empty(self, reason: str) -> None:
        """Nothing was generated: one body, under /v1 in the form of a stream if one was asked for."""
        ending = Ending(reason)
        if self._voice.shape is Shape.NATIVE or not self._ask.stream:
            await self._tell([], ending)
        elif self._voice.stream_headers:
            await self._say(self._voice.last(ending, _now()))
            await self._exchange.end()
        else:
            await self._exchange.whole(
                200, self._voice.stream_type, b"".join(self._voice.last(ending, _now()))
            )

    async def _refusal(self, error: EngineError) -> RefusalError:
        if error.status != LOST:
            return RefusalError(error.status, error.text)
        await self._runner.lost()
        return words.runner_stopped()
