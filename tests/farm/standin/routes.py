"""Which route does what with a request that was let in. Called by the stand-in for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping

from standin import catalogue
from standin.asks import ASKS, Bad
from standin.embeds import Embeds, texts_of
from standin.exchange import Exchange
from standin.gojson import Unread, read, written
from standin.models import Model, full_name
from standin.scheduler import Scheduler
from standin.store import BLOBS, Store
from standin.voices import BARE_JSON, JSON, OpenAI
from standin.waiting import Gone, unless
from standin.wire import Answer, Request


class Routes:
    """`models` are there, `registry` has what can be pulled, in `pull_steps` steps of `pull_s` together."""

    def __init__(
        self,
        scheduler: Scheduler,
        models: MutableMapping[str, Model],
        registry: Mapping[str, Model],
        *,
        context_length: int,
        version: str,
        pull_s: float,
        pull_steps: int,
    ) -> None:
        self.scheduler, self.models, self.registry = scheduler, models, registry
        self.context_length, self.version = context_length, version
        self.pull_s, self.pull_steps = pull_s, pull_steps
        self.store = Store(models)

    async def answer(self, request: Request, answer: Answer, left: asyncio.Event) -> None:
        path = request.path
        try:
            if path in ASKS:
                await self._model(request, answer, left)
            elif "embed" in path:
                asked = texts_of(path, _body(request))
                await Embeds(self.scheduler, self.known, self.context_length).answer(asked, answer, left)
            elif path.startswith(BLOBS):
                await self.store.blob(request, answer)
            elif path == "/api/create":
                await self.store.create(_body(request), answer)
            elif path == "/api/pull":
                await self._pull(request, answer, left)
            else:
                await self._plain(request, answer)
        except Unread as unread:
            await _unread(path, str(unread), answer)

    async def _model(self, request: Request, answer: Answer, left: asyncio.Event) -> None:
        reader, voice = ASKS[request.path]
        try:
            ask = reader(_body(request))
        except Bad as bad:
            body = (voice.error(bad.status, bad.text) + voice.tail).encode()
            await answer.whole(bad.status, [("Content-Type", voice.json_type)], body)
            return
        await Exchange(self.scheduler, self.known, self.context_length).answer(ask, answer, left)

    def known(self, name: str) -> tuple[str, Model] | None:
        wanted = full_name(name).lower()
        return next(
            ((key, told) for key, told in self.models.items() if full_name(key).lower() == wanted), None
        )

    async def _pull(self, request: Request, answer: Answer, left: asyncio.Event) -> None:
        asked = read(_body(request), "api.PullRequest", {"stream": bool})
        name = str(asked.get("model") or asked.get("name") or "")
        if not name or " " in name:
            raise Unread("invalid model name")
        model = self.registry.get(name, self.models.get(name))
        lines = catalogue.pull_lines(name, model, self.pull_steps)
        if asked.get("stream") is False:
            told = lines[-1][:-1].encode()
            await answer.whole(200 if model else 500, [("Content-Type", BARE_JSON)], told)
        else:
            await answer.head(200, [("Content-Type", "application/x-ndjson")])
            for line in lines[:-1] if model else lines:
                await answer.chunk(line.encode())
                try:
                    await unless(left, asyncio.sleep(self.pull_s / self.pull_steps * ("completed" in line)))
                except Gone:
                    return
        if model:
            self.models[name] = model
            if asked.get("stream") is not False:
                await answer.chunk(lines[-1].encode())
        if asked.get("stream") is not False:
            await answer.end()

    async def _plain(self, request: Request, answer: Answer) -> None:
        path = request.path
        texts = {
            "/": "Ollama is running", "/api/version": written({"version": self.version}),
            "/api/status": written({"cloud": {"disabled": False, "source": "none"}}),
        }  # fmt: skip
        if path in texts:
            kind = JSON if path != "/" else "text/plain; charset=utf-8"
            await answer.whole(200, [("Content-Type", kind)], texts[path].encode())
        elif path == "/api/tags":
            await answer.whole(200, [("Content-Type", JSON)], catalogue.tags(self.models).encode())
        elif path == "/api/ps":
            told = catalogue.ps(self.scheduler.loaded.values()).encode()
            await answer.whole(200, [("Content-Type", JSON)], told)
        elif path.startswith("/v1/models"):
            await self._openai_models(path, answer)
        else:
            await self._named(request, answer)

    async def _openai_models(self, path: str, answer: Answer) -> None:
        name = path.removeprefix("/v1/models").removeprefix("/")
        if not name:
            told = catalogue.openai_models(self.models)
        elif self.known(name) is None:
            told = OpenAI("", chat=True, usage=False).error(404, f"model '{name}' not found")
        else:
            told = written(catalogue.openai_model(name))
        status = 404 if name and self.known(name) is None else 200
        await answer.whole(status, [("Content-Type", BARE_JSON)], (told + "\n").encode())

    async def _named(self, request: Request, answer: Answer) -> None:
        """show, delete, copy."""
        asked = read(_body(request), "api.ShowRequest", {})
        copy = request.path == "/api/copy"
        name = str(asked.get("source" if copy else "model") or asked.get("name") or "")
        known = self.known(name)
        if not name:
            raise Unread("model is required")
        if known is None:
            quoted = f'"{name}"' if copy else f"'{name}'"
            told = written({"error": f"model {quoted} not found"}).encode()
            await answer.whole(404, [("Content-Type", JSON)], told)
        elif request.path == "/api/show":
            await answer.whole(
                200, [("Content-Type", JSON)], catalogue.show(full_name(known[0]), known[1]).encode()
            )
        else:
            if copy:
                self.models[str(asked["destination"])] = known[1]
            else:
                del self.models[known[0]]
            await answer.whole(200, [], b"")


def _body(request: Request) -> bytes:
    """Its body; one that was cut short is no JSON, as a rule."""
    if request.cut:
        raise Unread("unexpected EOF")
    return request.body


async def _unread(path: str, text: str, answer: Answer) -> None:
    if path.startswith("/v1/"):
        voice = ASKS.get(path, ASKS["/v1/completions"])[1]
        body = voice.error(400, text)
    else:
        body = written({"error": "missing request body" if text == "EOF" else text})
    await answer.whole(400, [("Content-Type", JSON)], body.encode())
