"""Ollama's API as an ASGI application: which route does what, and the errors' way out.

Bodies are read and written by the pure modules, text is made by `talk`, lists by `catalogue`, what a request
meets before its route is told by `doors`. Made by `farm.house`.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable

from farm import limits
from farm.api import words
from farm.api.words import RefusalError, Shape
from farm.asgi import BodyTooLargeError, ClientLeftError, Exchange, Headers, Message, Receive, Scope, Send
from farm.embedded import ask, doors, messages, openai, openai_voice, responses
from farm.embedded.catalogue import Catalogue
from farm.embedded.doors import Reply
from farm.embedded.embed import Embedder
from farm.embedded.messages_voice import MessagesVoice
from farm.embedded.native import NativeVoice, Voice
from farm.embedded.responses_voice import ResponsesVoice
from farm.embedded.runner import Runner
from farm.embedded.talk import Talk
from wire.errors import OurFault

Handler = Callable[[Exchange], Awaitable[None]]
Extra = Iterable[tuple[bytes, bytes]]


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
            "/api/status": {"GET": shelf.status},
            "/api/me": {"POST": shelf.account},
            "/api/tags": {"HEAD": shelf.tags, "GET": shelf.tags},
            "/api/ps": {"GET": shelf.loaded},
            "/api/show": {"POST": shelf.show},
            "/api/pull": {"POST": shelf.pull},
            "/api/delete": {"DELETE": shelf.delete},
            "/api/copy": {"POST": shelf.copy},
            "/api/create": {"POST": shelf.create},
            "/api/push": {"POST": shelf.push},
            "/api/generate": {"POST": self._generate},
            "/api/chat": {"POST": self._chat},
            "/api/embed": {"POST": embedder.embed},
            "/api/embeddings": {"POST": embedder.embeddings},
            "/v1/models": {"GET": shelf.openai_models},
            "/v1/chat/completions": {"POST": self._openai_chat},
            "/v1/completions": {"POST": self._openai_completion},
            "/v1/embeddings": {"POST": embedder.openai},
            "/v1/responses": {"POST": self._responses},
            "/v1/messages": {"POST": self._messages},
            "/_engine": {"GET": shelf.engine},
        }
        self._below: dict[str, dict[str, Handler]] = {
            "/v1/models/": {"GET": shelf.openai_model},
            "/api/blobs/": {"HEAD": shelf.blob, "POST": shelf.keep_blob},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send)
        handler, reply, readable = self._enter(scope, exchange)
        if readable:
            exchange = Exchange(scope, receive, _adding(send, readable))
        if handler is not None and reply is None:
            return await exchange.unless_left(self._answer(exchange, handler))
        return await _reply(exchange, reply or doors.no_route())

    def _enter(self, scope: Scope, exchange: Exchange) -> tuple[Handler | None, Reply | None, Headers]:
        """The route's handler or what is answered instead, and headers for every answer of this request."""
        method, path = exchange.method, exchange.path
        raw = (scope.get("raw_path") or path.encode()).decode("latin-1")
        query = scope.get("query_string", b"").decode("latin-1")
        if (unexpected := doors.unexpected(exchange.headers)) is not None:
            return None, unexpected, []
        if method != "CONNECT" and raw.startswith("/") and (clean := doors.cleaned(raw)) != raw:
            return None, doors.redirect(method, clean, query, moved=False), []
        methods = self._find(path)
        bare = path.rstrip("/")
        if methods is None and method != "CONNECT" and bare != path and self._takes(bare, method):
            return None, doors.redirect(method, bare, query, moved=True), []
        handler = (methods or {}).get(method)
        wrong = methods is not None and handler is None
        allowed: Headers = [(b"allow", ", ".join(methods or ()).encode())] if wrong else []
        reply, readable = doors.judge(method, exchange.headers, allowed)
        if reply is None and wrong:
            reply = doors.wrong_method(allowed)
        return handler, reply, readable

    def _find(self, path: str) -> dict[str, Handler] | None:
        below = (
            methods
            for start, methods in self._below.items()
            if path.startswith(start) and path != start and "/" not in path[len(start) :]
        )
        return self._routes.get(path) or next(below, None)

    def _takes(self, path: str, method: str) -> bool:
        return method in (self._find(path) or {})

    async def _answer(self, exchange: Exchange, handler: Handler) -> None:
        """Run a handler; what it raises before it has begun to answer becomes an error body."""
        shape = Shape.OPENAI if exchange.path.startswith("/v1/") else Shape.NATIVE
        shape = Shape.ANTHROPIC if exchange.path == "/v1/messages" else shape
        try:
            await handler(exchange)
        except ClientLeftError:
            return
        except RefusalError as refusal:
            await _refuse(exchange, refusal, shape)
        except BodyTooLargeError:
            why = f"the request body is larger than {limits.BODY_MAX_B} bytes"
            await _refuse(exchange, RefusalError(413, why), shape)
        except OurFault as error:
            await _refuse(exchange, RefusalError(500, error.detail), shape)

    async def _generate(self, exchange: Exchange) -> None:
        asked = ask.read_generate(await exchange.body(limits.BODY_MAX_B))
        await self._talk(exchange, asked, NativeVoice(asked))

    async def _chat(self, exchange: Exchange) -> None:
        asked = ask.read_chat(await exchange.body(limits.BODY_MAX_B))
        await self._talk(exchange, asked, NativeVoice(asked))

    async def _openai_chat(self, exchange: Exchange) -> None:
        asked, usage = openai.read_chat(await exchange.body(limits.BODY_MAX_B))
        await self._talk(exchange, asked, openai_voice.ChatVoice(asked, usage=usage, **_stamp(999)))

    async def _openai_completion(self, exchange: Exchange) -> None:
        asked, usage = openai.read_completion(await exchange.body(limits.BODY_MAX_B))
        await self._talk(exchange, asked, openai_voice.CompletionVoice(asked, usage=usage, **_stamp(999)))

    async def _responses(self, exchange: Exchange) -> None:
        asked, given = responses.read(await exchange.body(limits.BODY_MAX_B))
        item = random.randrange(999_999)  # noqa: S311 - no secret
        voice = ResponsesVoice(asked, given, item=item, **_stamp(999_999))
        await self._talk(exchange, asked, voice)

    async def _messages(self, exchange: Exchange) -> None:
        asked, estimate = messages.read(await exchange.body(limits.BODY_MAX_B))
        await self._talk(exchange, asked, MessagesVoice(asked, estimate, number=secrets.token_hex(12)))

    async def _talk(self, exchange: Exchange, asked: ask.Ask, voice: Voice) -> None:
        talk = Talk(exchange, self._runner, asked, voice)
        try:
            if asked.route == "chat":
                ask.check_chat(asked)
            await talk.answer()
        except RefusalError as refusal:
            extra = voice.stream_headers if asked.stream else ()
            streamed = asked.stream and talk.accepted
            await _refuse(exchange, refusal, voice.shape, streamed=streamed, extra=extra)


async def _reply(exchange: Exchange, reply: Reply) -> None:
    headers = list(reply.headers)
    if reply.bodied:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    if exchange.header(b"expect") is not None and reply.status != 417:
        headers.append((b"connection", b"close"))  # the body that was announced is not read
    await exchange.begin(reply.status, headers)
    await exchange.end(reply.body)


async def _refuse(
    exchange: Exchange, refusal: RefusalError, shape: Shape, *, streamed: bool = False, extra: Extra = ()
) -> None:
    number = secrets.token_hex(12)
    kind, body = words.error_answer(refusal, shape, streamed=streamed, number=number)
    if not streamed:
        return await exchange.whole(refusal.status, kind, body, *extra)
    # In the place of a stream: as a chunk, without a length.
    await exchange.begin(refusal.status, [(b"content-type", kind.encode()), *extra])
    return await exchange.end(body)


def _adding(send: Send, headers: Headers) -> Send:
    """A `send` that adds headers to an answer."""

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return adding


def _stamp(numbers: int) -> dict[str, int]:
    return {"number": random.randrange(numbers), "created": int(time.time())}  # noqa: S311 - no secret
