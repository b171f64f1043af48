"""/api/embed, /api/embeddings, /v1/embeddings: each text takes a slot of its own, one after the other."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from dataclasses import dataclass
from typing import Any

from standin.catalogue import vector
from standin.exchange import CANCELED, ENDED, Clock, Failed, Find
from standin.gojson import Unread, read, written
from standin.models import keep_alive_of, runner_options
from standin.scheduler import Loaded, Pending, Refused, Scheduler
from standin.voices import BARE_JSON, JSON, OpenAI
from standin.waiting import Gone, unless
from standin.wire import Answer
from standin.words import wish_of

WIDTH = 576


@dataclass(frozen=True, slots=True)
class Texts:
    """What is to be embedded, and in which route's form."""

    path: str
    model: str
    texts: list[str]
    options: dict[str, Any]
    keep_alive: float | None
    dimensions: int
    base64: bool


def texts_of(path: str, body: bytes) -> Texts:
    """Unread has Ollama's words."""
    asked = read(body, "api.EmbedRequest", {})
    told = asked.get("prompt" if path == "/api/embeddings" else "input", [])
    if path == "/v1/embeddings" and not told:
        raise Unread("invalid input")
    if not isinstance(told, str | list):
        raise Unread("invalid input type")
    if path == "/v1/embeddings":  # it cannot say how the model is loaded and how long it stays
        asked = {name: value for name, value in asked.items() if name not in {"keep_alive", "options"}}
    try:
        keep_alive = keep_alive_of(asked.get("keep_alive"))
    except ValueError as error:
        raise Unread(str(error)) from None
    texts = [told] if isinstance(told, str) and told else list(told)
    return Texts(
        path, str(asked.get("model", "")), texts, asked.get("options", {}), keep_alive,
        asked.get("dimensions", 0) or WIDTH, asked.get("encoding_format") == "base64",
    )  # fmt: skip


class Embeds:
    """As `Exchange`, for texts."""

    def __init__(self, scheduler: Scheduler, find: Find, context_length: int) -> None:
        self._scheduler, self._find, self._context_length = scheduler, find, context_length

    async def answer(self, asked: Texts, answer: Answer, left: asyncio.Event) -> None:
        """Answer it, whatever comes."""
        clock = Clock()
        v1 = asked.path.startswith("/v1/")
        kind = [("Content-Type", BARE_JSON if v1 else JSON)]
        try:
            count = await self._counted(asked, clock, left)
        except (Refused, Failed) as error:
            openai = OpenAI("", chat=True, usage=False).error(error.status, error.text) + "\n"
            told = openai if v1 else written({"error": error.text})
            broken = asked.path == "/api/embeddings" and error.text != "model is required"
            status = 500 if broken and error.status == 400 else error.status
            await answer.whole(status, kind, told.encode())
        else:
            await answer.whole(200, kind, _body(asked, count, clock).encode())

    async def _counted(self, asked: Texts, clock: Clock, left: asyncio.Event) -> int:
        found = self._find(asked.model)
        if found is None and not asked.model:
            old = asked.path == "/api/embeddings"
            raise Failed("model is required", 400) if old else Failed("model '' not found", 404)
        if found is None:
            raise Failed(f'model "{asked.model}" not found, try pulling it first', 404)
        name, model = found
        options = runner_options(model, asked.options, self._context_length)
        used = await self._scheduler.take(Pending(name, model, options, asked.keep_alive, left))
        clock.loaded = time.monotonic_ns()
        try:
            return sum(await asyncio.gather(*(_one(used, text, left) for text in asked.texts)))
        finally:
            self._scheduler.give(used)


async def _one(used: Loaded, text: str, left: asyncio.Event) -> int:
    """One text's turn; its count of tokens."""
    try:
        await unless(left, used.runner.places.take())
    except Gone:
        raise Failed(CANCELED, 400) from None
    try:
        if not text:
            raise Failed("Failed to create new sequence: no input provided")
        if used.runner.process.gone.is_set():
            raise Failed(ENDED.strip(), 400)
        return await _run(used, text, left)
    finally:
        used.runner.places.give()


async def _run(used: Loaded, text: str, left: asyncio.Event) -> int:
    post = f'do embedding request: Post "http://127.0.0.1:{used.runner.process.port}/embedding"'
    sequence = used.runner.begin(wish_of(text), [])
    try:
        done = await unless(left, sequence.out.get())
    except Gone:
        raise Failed(f"{post}: {CANCELED}", 400) from None
    finally:
        sequence.left.set()
    if done is not None:
        raise Failed(f"{post}: EOF", 400)
    return len(text.split())


def _body(asked: Texts, count: int, clock: Clock) -> str:
    vectors = [vector(text, asked.dimensions) for text in asked.texts]
    if asked.path == "/api/embeddings":
        return written({"embedding": vectors[0] if vectors else []})
    if asked.path == "/v1/embeddings":
        packed = [_packed(one) if asked.base64 else one for one in vectors]
        data = [{"object": "embedding", "embedding": one, "index": at} for at, one in enumerate(packed)]
        usage = {"prompt_tokens": count, "total_tokens": count}
        return written({"object": "list", "data": data, "model": asked.model, "usage": usage}) + "\n"
    end = clock.ending("", count, 0, context=None)
    times = {
        "total_duration": end.total_ns, "load_duration": end.load_ns, "prompt_eval_count": count,
    }  # fmt: skip
    return written({"model": asked.model, "embeddings": vectors, **(times if vectors else {})})


def _packed(one: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode()
