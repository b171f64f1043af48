"""Ollama's API as an ASGI application: which route does what, and the errors' way out.

Bodies are read and written by the pure modules, text is made by `talk`, lists by `catalogue`.
Made by `farm.house`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable

from farm import gate, limits
from farm.asgi import BodyTooLargeError, ClientLeftError, Exchange, Receive, Scope, Send
from farm.embedded import ask, openai, openai_voice, words
from farm.embedded.catalogue import Catalogue
from farm.embedded.embed import Embedder
from farm.embedded.native import NativeVoice, Voice
from farm.embedded.runner import Runner
from farm.embedded.talk import Talk
from farm.embedded.words import RefusalError
from wire.errors import OurFault

Handler = Callable[[Exchange], Awaitable[None]]
_PLAIN = "text/plain"


class OllamaApp:
    """The adapter. An ASGI application.

    Args:
        runner: the engine's keeper.
        modified_ns: when the model file came, Unix nanoseconds.
    """

    def __init__(self, runner: Runner, modified_ns: int) -> None:
        self._runner = runner
        shelf = Catalogue(runner, modified_ns)
        embedder = Embedder(runner)
        self._routes: dict[str, dict[str, Handler]] = {
            "/": {"HEAD": shelf.alive, "GET": shelf.alive},
            "/api/version": {"HEAD": shelf.version, "GET": shelf.version},
            "/api/tags": {"HEAD": shelf.tags, "GET": shelf.tags},
            "/api/ps": {"GET": shelf.loaded},
            "/api/show": {"POST": shelf.show},
            "/api/pull": {"POST": shelf.pull},
            "/api/delete": {"DELETE": shelf.unchangeable},
            "/api/copy": {"POST": shelf.unchangeable},
            "/api/create": {"POST": shelf.unchangeable},
            "/api/push": {"POST": shelf.unchangeable},
            "/api/generate": {"POST": self._generate},
            "/api/chat": {"POST": self._chat},
            "/api/embed": {"POST": embedder.embed},
            "/api/embeddings": {"POST": embedder.embeddings},
            "/v1/models": {"GET": shelf.openai_models},
            "/v1/chat/completions": {"POST": self._openai_chat},
            "/v1/completions": {"POST": self._openai_completion},
            "/v1/embeddings": {"POST": embedder.openai},
            "/_engine": {"GET": shelf.engine},
        }
        self._below: dict[str, dict[str, Handler]] = {
            "/v1/models/": {"GET": shelf.openai_model},
            "/api/blobs/": {"HEAD": shelf.blob, "POST": shelf.unchangeable},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send)
        if gate.judge_headers(exchange.headers, loopback=True) is gate.Verdict.FOREIGN:
            return await exchange.whole(403, _PLAIN, b"")
        methods = self._find(exchange.path)
        if methods is None:
            return await self._no_route(exchange)
        handler = methods.get(exchange.method)
        if handler is None:
            allowed = ", ".join(methods).encode()
            return await exchange.whole(405, _PLAIN, b"405 method not allowed", (b"allow", allowed))
        await exchange.unless_left(self._answer(exchange, handler))
        return None

    def _find(self, path: str) -> dict[str, Handler] | None:
        below = (
            methods for start, methods in self._below.items() if path.startswith(start) and path != start
        )
        return self._routes.get(path) or next(below, None)

    async def _no_route(self, exchange: Exchange) -> None:
        bare = exchange.path.rstrip("/")
        if bare == exchange.path or self._find(bare) is None:
            return await exchange.whole(404, _PLAIN, b"404 page not found")
        location = (b"location", bare.encode())
        if exchange.method != "GET":
            return await exchange.whole(307, _PLAIN, b"", location)
        page = f'<a href="{bare}">Moved Permanently</a>.\n\n'.encode()
        return await exchange.whole(301, "text/html; charset=utf-8", page, location)

    async def _answer(self, exchange: Exchange, handler: Handler) -> None:
        """Run a handler; what it raises before it has begun to answer becomes an error body."""
        try:
            await handler(exchange)
        except ClientLeftError:
            return
        except RefusalError as error:
            refusal = error
        except BodyTooLargeError:
            refusal = RefusalError(413, f"the request body is larger than {limits.BODY_MAX_B} bytes")
        except OurFault as error:
            refusal = RefusalError(500, error.detail)
        else:
            return
        kind, body = words.error_answer(refusal, openai=exchange.path.startswith("/v1/"))
        await exchange.whole(refusal.status, kind, body)

    async def _generate(self, exchange: Exchange) -> None:
        asked = ask.read_generate(await exchange.body(limits.BODY_MAX_B))
        await self._talk(exchange, asked, NativeVoice(asked))

    async def _chat(self, exchange: Exchange) -> None:
        asked = ask.read_chat(await exchange.body(limits.BODY_MAX_B))
        await self._talk(exchange, asked, NativeVoice(asked))

    async def _openai_chat(self, exchange: Exchange) -> None:
        asked, usage = openai.read_chat(await exchange.body(limits.BODY_MAX_B))
        await self._talk(exchange, asked, openai_voice.ChatVoice(asked, usage=usage, **_stamp()))

    async def _openai_completion(self, exchange: Exchange) -> None:
        asked, usage = openai.read_completion(await exchange.body(limits.BODY_MAX_B))
        await self._talk(exchange, asked, openai_voice.CompletionVoice(asked, usage=usage, **_stamp()))

    async def _talk(self, exchange: Exchange, asked: ask.Ask, voice: Voice) -> None:
        try:
            await Talk(exchange, self._runner, asked, voice).answer()
        except RefusalError as refusal:
            if not asked.stream:
                raise
            kind, body = words.error_answer(refusal, openai=voice.openai, streamed=True)
            await exchange.whole(refusal.status, kind, body)


def _stamp() -> dict[str, int]:
    return {"number": random.randrange(999), "created": int(time.time())}  # noqa: S311 - an id, not a secret
