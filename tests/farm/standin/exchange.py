"""One request to a model: its runner, its slot, its tokens, and every way in which that ends.

Status and headers go out with the first token. Before it an error has a status of its own; after it native
streams end with an error line, those of /v1 as their voices tell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from standin.asks import Ask
from standin.models import Model, full_name, runner_options
from standin.runner import Sequence
from standin.scheduler import Loaded, Pending, Refused, Scheduler
from standin.voices import Ending, Token
from standin.waiting import Gone, unless
from standin.wire import Answer
from standin.words import REPEATS_MAX, Wish, size_of, wish_of

ENDED = "llama runner process no longer running: -1 "
STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)
BROKEN = "an error was encountered while running the model: unexpected EOF"
CRASHED = "an error was encountered while running the model: signal arrived during cgo execution"
CANCELED = "context canceled"
LEFT = "error reading llm response: context canceled"
REGISTRY = "registry.ollama.ai"


Find = Callable[[str], tuple[str, Model] | None]
"""A model by the name in a request: the name it has here, and itself."""


class Failed(Exception):
    """No (further) token: status and words."""

    def __init__(self, text: str, status: int = 500) -> None:
        super().__init__(text)
        self.status, self.text = status, text


@dataclass(slots=True)
class Clock:
    """When what began, in ns; the durations of the last line."""

    arrived: int = field(default_factory=time.monotonic_ns)
    loaded: int = 0
    sent: int = 0
    first: int = 0

    def ending(self, reason: str, prompt: int, tokens: int, *, context: tuple[int, ...] | None) -> Ending:
        now = time.monotonic_ns()
        first = self.first or now
        return Ending(
            reason, prompt, tokens, now - self.arrived, max(self.loaded - self.arrived, 1),
            max(first - self.sent, 1), max(now - first, 1) if tokens > 1 else 0, context,
        )  # fmt: skip


class Exchange:
    """`models` is looked up once; `crash` says why a runner died, if the stand-in knows."""

    def __init__(self, scheduler: Scheduler, find: Find, context_length: int) -> None:
        self._scheduler, self._find, self._context_length = scheduler, find, context_length

    async def answer(self, ask: Ask, answer: Answer, left: asyncio.Event) -> None:
        """Answer it, whatever comes."""
        clock = Clock()
        try:
            name, model = self._known(ask)
            if ask.empty and ask.keep_alive == 0:
                self._scheduler.let_go(model.gguf or name)
                await self._whole(ask, answer, [], Ending("unload"))
                return
            self._check(ask, model)
            used = await self._scheduler.take(self._pending(ask, name, model, left))
        except (Refused, Failed) as error:
            await self._error(ask, answer, error.status, error.text)
            return
        clock.loaded = time.monotonic_ns()
        try:
            if ask.empty:
                await self._loaded(ask, answer)
            else:
                await self._generate(ask, answer, left, used, clock)
        finally:
            self._scheduler.give(used)

    def _known(self, ask: Ask) -> tuple[str, Model]:
        found = self._find(ask.model)
        if found is None:
            raise Failed(f"model '{ask.model}' not found", 404)
        return found

    def _check(self, ask: Ask, model: Model) -> None:
        if ask.tools and "tools" not in model.capabilities:
            raise Failed(f"{REGISTRY}/library/{full_name(ask.model)} does not support tools", 400)
        if ask.think and "thinking" not in model.capabilities:
            raise Failed(f'"{ask.model}" does not support thinking', 400)
        told = ask.options.get("num_predict", 0)
        if not isinstance(told, int):
            raise Failed('option "num_predict" must be of type integer')

    def _pending(self, ask: Ask, name: str, model: Model, left: asyncio.Event) -> Pending:
        options = runner_options(model, ask.options, self._context_length)
        return Pending(name, model, options, ask.keep_alive, left)

    async def _generate(
        self, ask: Ask, answer: Answer, left: asyncio.Event, used: Loaded, clock: Clock
    ) -> None:
        wish = wish_of(ask.prompt)
        texts, reason = wish.texts(ask.num_predict)
        tokens: list[Token] = []
        told = 0
        try:
            async for text in self._tokens(ask, used, left, wish, texts):
                clock.first = clock.first or time.monotonic_ns()
                told += 1
                token = _token(wish, told, len(texts), text)
                if token is None:
                    continue
                if told - 1 == wish.cut_at:
                    answer.cut()
                    return
                tokens.append(token)
                if ask.stream:
                    await self._line(ask, answer, token)
            ending: Ending | None = self._ending(ask, used, clock, told, reason, called=bool(wish.call))
        except Failed as error:
            await self._failed(ask, answer, error)
            return
        if _repeats(texts):
            ending = None
        await self._finish(ask, answer, tokens, ending)

    async def _tokens(
        self, ask: Ask, used: Loaded, left: asyncio.Event, wish: Wish, texts: list[str]
    ) -> AsyncIterator[str]:
        """The tokens up to the end, or to the repetition at which Ollama gives up."""
        if ask.bad_schema:
            raise Failed(ask.bad_schema)
        places = used.runner.places
        try:
            await unless(left, places.take())
        except Gone:
            raise Failed(CANCELED) from None
        try:
            await self._ready(used, left)
            if ask.deadly:
                used.runner.crash = True
                used.runner.process.kill()
            sequence = used.runner.begin(wish, texts)
            try:
                async for text in self._sequence(used, sequence, left, _cut(texts)):
                    yield text
            finally:
                sequence.left.set()
        finally:
            places.give()

    async def _ready(self, used: Loaded, left: asyncio.Event) -> None:
        try:
            await unless(left, used.runner.process.step(0))
        except Gone:
            raise Failed(CANCELED if left.is_set() else ENDED) from None

    async def _sequence(
        self, used: Loaded, sequence: Sequence, left: asyncio.Event, limit: int
    ) -> AsyncIterator[str]:
        got = 0
        while got < limit or limit == len(sequence.texts):
            try:
                text = await unless(left, sequence.out.get())
            except Gone:
                url = f"http://127.0.0.1:{used.runner.process.port}/completion"
                raise Failed(LEFT if got else f'Post "{url}": {CANCELED}') from None
            if text is None:
                return
            if not isinstance(text, str):
                raise Failed((CRASHED if used.runner.crash else BROKEN) if got else STOPPED)
            got += 1
            yield text

    def _ending(
        self, ask: Ask, used: Loaded, clock: Clock, told: int, reason: str, *, called: bool
    ) -> Ending:
        prompt = size_of(ask.prompt, raw=ask.raw)
        context = (4093,) * (prompt + told) if ask.context else None
        seen = min(prompt, used.options["num_ctx"], used.model.trained_ctx)
        clock.sent = clock.sent or clock.loaded
        return replace(clock.ending(reason, seen, told, context=context), called=called)

    # -- out -----------------------------------------------------------------------------------------

    async def _line(self, ask: Ask, answer: Answer, token: Token) -> None:
        if not answer.begun:
            await answer.head(200, ask.voice.stream_type)
            for chunk in ask.voice.head():
                await answer.chunk(chunk)
        for chunk in ask.voice.line(token):
            await answer.chunk(chunk)

    async def _finish(self, ask: Ask, answer: Answer, tokens: list[Token], ending: Ending | None) -> None:
        if not ask.stream:
            await self._whole(ask, answer, tokens, ending)
            return
        if not answer.begun:
            await answer.head(200, ask.voice.stream_type)
        for chunk in [] if ending is None else ask.voice.last(ending):
            await answer.chunk(chunk)
        await answer.end()

    async def _loaded(self, ask: Ask, answer: Answer) -> None:
        events = ask.voice.loaded() if ask.stream else []
        if not events:
            await self._whole(ask, answer, [], Ending("load"))
        elif len(events) == 1:
            await answer.whole(200, ask.voice.stream_type, events[0])
        else:
            await answer.head(200, ask.voice.stream_type)
            for event in events:
                await answer.chunk(event)
            await answer.end()

    async def _failed(self, ask: Ask, answer: Answer, error: Failed) -> None:
        if not answer.begun:
            await self._error(ask, answer, error.status, error.text, late=ask.stream)
            return
        for chunk in ask.voice.broken(error.text):
            await answer.chunk(chunk)
        await answer.end()

    async def _whole(self, ask: Ask, answer: Answer, tokens: list[Token], ending: Ending | None) -> None:
        await answer.whole(200, [("Content-Type", ask.voice.json_type)], ask.voice.whole(tokens, ending))

    async def _error(self, ask: Ask, answer: Answer, status: int, text: str, *, late: bool = False) -> None:
        kind = "application/json" if late else ask.voice.json_type
        body = f"{ask.voice.error(status, text)}{ask.voice.tail}".encode()
        more = ask.voice.stream_type[1:] if ask.stream else ()
        await answer.whole(status, [("Content-Type", kind), *more], body, chunked=late)


def _token(wish: Wish, told: int, of: int, text: str) -> Token | None:
    """What of an answer a token is; the tokens of a call are held back until it is complete."""
    if told <= wish.think:
        return Token(thought=text)
    if wish.call:
        return Token(call=wish.call) if told == of else None
    return Token(text)


def _repeats(texts: list[str]) -> bool:
    return _cut(texts) < len(texts)


def _cut(texts: list[str]) -> int:
    """How many tokens are told before Ollama gives up on equal ones."""
    last, count = "", 0
    for at, text in enumerate(texts):
        last, count = text.strip(), count + 1 if text.strip() == last else 0
        if count > REPEATS_MAX:
            return at
    return len(texts)
