"""One request of the load and its answer, with the moment of everything.

Called by `load` through `run`. Never raises for what a server does: that is an answer with a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from farm.bench import answer, limits, session
from farm.bench.answer import Answer, Failure
from farm.bench.asking import Asking
from farm.bench.reading import Reading
from farm.bench.said import error_words
from wire import jsontext, redact


@dataclass(frozen=True, slots=True)
class Caller:
    """Sends requests to one endpoint.

    Attributes:
        http: the run's session.
        url: base URL, without a slash at its end.
        asking: how a request asks.
        timeout_s: from sending to end mark.
        key: the bearer key; a server may repeat it in an error, so it is struck out of all words.
        clock: seconds, monotonic.
    """

    http: aiohttp.ClientSession
    url: str
    asking: Asking
    timeout_s: float
    key: str | None
    clock: Callable[[], float]

    async def ask(self, prompt: str, seed: int, due: float) -> Answer:
        """Send one request now; `due` is when it should have left."""
        sent = self.clock()
        reading = Reading(self.asking.api)
        head: list[float] = []
        failure = await self._failure(self.asking.body(prompt, seed), reading, head)
        return Answer(
            due=due,
            sent=sent,
            end=self.clock() if reading.ended is None else reading.ended,
            head=head[0] if head else None,
            first=reading.first,
            last=reading.last,
            gaps=array("d", reading.gaps),
            chunks=reading.chunks,
            tokens=reading.tokens,
            spent=reading.spent,
            failure=None if failure is None else Failure(failure.kind, self._clean(failure.words)),
        )

    async def _failure(self, body: bytes, reading: Reading, head: list[float]) -> Failure | None:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._converse(body, reading, head)
        except TimeoutError:
            return Failure(answer.TIMEOUT, f"no end mark within {self.timeout_s:g} s")
        except aiohttp.ClientConnectorError as error:
            return Failure(answer.REFUSED, session.why_not_reached(error))
        except aiohttp.ClientResponseError as error:
            return Failure(answer.MALFORMED, f"the answer is not HTTP: {error.message}")
        except (aiohttp.ClientError, OSError) as error:
            return Failure(answer.BROKEN, session.why_cut(error))

    async def _converse(self, body: bytes, reading: Reading, head: list[float]) -> Failure | None:
        request = self.http.post(
            self.url + self.asking.path,
            data=body,
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
        )
        async with request as reply:
            head.append(self.clock())
            if reply.status != 200:
                return await _refusal(reply)
            async for data in reply.content.iter_any():
                reading.feed(data, self.clock())
                if reading.over:
                    break
            else:
                reading.finish(self.clock())
            if reading.failure is None:
                await _drain(reply)
        return reading.failure

    def _clean(self, words: str) -> str:
        if self.key:
            words = words.replace(self.key, "…")
        return redact.printable(words, limits.WORDS_MAX)


async def _refusal(reply: aiohttp.ClientResponse) -> Failure:
    """The status, the server's words, and when it says to come again."""
    text = b""
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(limits.ERROR_BODY_S):
            text = await session.read_up_to(reply, limits.ERROR_BODY_B)
    try:
        words = error_words(jsontext.loads(text))
    except jsontext.JsonError:
        words = text.decode(errors="replace").strip() or reply.reason or "without a word"
    later = reply.headers.get("Retry-After")
    return Failure(answer.status(reply.status), f"{words} (Retry-After {later})" if later else words)


async def _drain(reply: aiohttp.ClientResponse) -> None:
    """Read HTTP to its end, so that the connection can be used again; one that lingers is closed."""
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(limits.DRAIN_S):
            while await reply.content.readany():
                pass
