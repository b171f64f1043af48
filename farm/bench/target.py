"""Whom the run asks, found out: the language, the version, the model.

Asks what needs no model. Called by `run` before any load; every refusal is one sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp

from farm.bench import limits, session
from farm.bench.plan import Api, Endpoint, Target
from farm.bench.record import Asked
from farm.bench.said import error_words
from wire import jsontext, redact
from wire.errors import OurFault

_DEFAULT_ENDPOINT = {Api.NATIVE: Endpoint.GENERATE, Api.OPENAI: Endpoint.CHAT}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a question: status, and the JSON in it or None."""

    status: int
    value: Any

    def names(self, list_name: str, field: str) -> list[str] | None:
        """The models it lists, None if it is no such list."""
        if self.status != 200 or not isinstance(self.value, dict) or list_name not in self.value:
            return None
        items = self.value[list_name] or []  # Ollama without models says null
        found = [item.get(field) for item in items if isinstance(item, dict)]
        return [name for name in found if isinstance(name, str)]


async def find(http: aiohttp.ClientSession, target: Target) -> Asked:
    """What the target is.

    Raises:
        OurFault: "target": a sentence that names it and what is wrong.
    """
    questions = Questions(http, target.url)
    api, version = await questions.language(target.api)
    choose = questions.native_model if api is Api.NATIVE else questions.openai_model
    model = await choose(target.model)
    return Asked(target.url, api, target.endpoint or _DEFAULT_ENDPOINT[api], version, model)


class Questions:
    """Asks one server.

    Args:
        http: the run's session.
        url: base URL, without a slash at its end.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def language(self, wanted: Api | None) -> tuple[Api, str | None]:
        """The language it speaks, and its version where it has one; `wanted` if it does speak that."""
        if wanted is not Api.OPENAI:
            told = await self._ask("GET", "/api/version")
            version = told.value.get("version") if isinstance(told.value, dict) else None
            if told.status == 200 and isinstance(version, str):
                return Api.NATIVE, version
            if wanted is Api.NATIVE:
                raise self._fault(
                    f"is no Ollama: GET /api/version answers {told.status}; for OpenAI's API say --api openai"
                )
        listed = await self._ask("GET", "/v1/models")
        if listed.names("data", "id") is None and wanted is None:
            raise self._fault(
                f"is neither an Ollama (GET /api/version answers {told.status}) nor an OpenAI endpoint "
                f"(GET /v1/models answers {listed.status})"
            )
        # A server without a list of models may still answer; the warm-up will tell.
        return Api.OPENAI, None

    async def native_model(self, wanted: str | None) -> str:
        """The model to ask an Ollama for: the wanted, the loaded, or the only one."""
        if wanted is None:
            loaded = (await self._ask("GET", "/api/ps")).names("models", "name") or []
            return loaded[0] if len(loaded) == 1 else self._only(await self._tags())
        shown = await self._ask("POST", "/api/show", {"model": wanted})
        if shown.status == 404:
            raise self._fault(f"has no model {wanted!r}; {_list(await self._tags())}")
        if shown.status != 200:
            words = redact.printable(error_words(shown.value), limits.WORDS_MAX)
            raise self._fault(f"answers {shown.status} when asked for model {wanted!r}: {words}")
        return wanted

    async def openai_model(self, wanted: str | None) -> str:
        """The model to ask an OpenAI endpoint for: the wanted as it is, or the only one."""
        if wanted is not None:
            return wanted
        return self._only((await self._ask("GET", "/v1/models")).names("data", "id") or [])

    async def _tags(self) -> list[str]:
        return (await self._ask("GET", "/api/tags")).names("models", "name") or []

    def _only(self, names: list[str]) -> str:
        if len(names) != 1:
            raise self._fault(f"needs --model; {_list(names)}")
        return names[0]

    async def _ask(self, method: str, path: str, body: Any = None) -> Reply:
        try:
            async with (
                asyncio.timeout(limits.ASK_S),
                self._http.request(method, self._url + path, json=body, allow_redirects=False) as answer,
            ):
                status, text = answer.status, await session.read_up_to(answer, limits.RESULT_MAX_B)
        except aiohttp.ClientConnectorError as error:
            raise self._fault(f"cannot be reached: {session.why_not_reached(error)}") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._fault(f"does not answer in HTTP ({method} {path})") from error
        except TimeoutError as error:
            raise self._fault(f"does not answer {path} within {limits.ASK_S:g} s") from error
        if status in {401, 403}:
            raise self._fault(f"refuses {path} with {status}: does it want a key? FARM_BENCH_KEY takes one")
        return Reply(status, _json(text))

    def _fault(self, words: str) -> OurFault:
        return OurFault("target", f"{self._url} {words}")


def _json(text: bytes) -> Any:
    try:
        return jsontext.loads(text)
    except jsontext.JsonError:
        return None


def _list(names: Iterable[str]) -> str:
    shown = [redact.printable(name) for name in names]
    if not shown:
        return "it lists none"
    more = ", …" if len(shown) > limits.LISTED_MAX else ""
    return f"it has {', '.join(shown[: limits.LISTED_MAX])}{more}"
