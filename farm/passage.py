"""One request handed to one backend, and its answer handed back, byte for byte and chunk for chunk.

Called by the front. Knows nothing of slots and models.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterable

from farm import courier
from farm.asgi import Exchange, Headers
from farm.backend import Backend
from farm.courier import Answer, BrokeError
from farm.metrics import Metrics
from farm.witness import Witness
from wire.headers import end_to_end

_LOG = logging.getLogger(__name__)
_NOT_PASSED = frozenset({b"host", b"origin", b"expect", b"content-length"})
"""The host is the backend's, the origin was judged by the front, the length is that of what is sent on."""


class Passage:
    """The way to the backends and back.

    Args:
        metrics: what is counted on the way.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def ask(
        self, exchange: Exchange, backend: Backend, content: bytes | AsyncIterable[bytes] | None
    ) -> Answer:
        """Send a request on; see `courier.ask`.

        Args:
            exchange: whose method, target and headers are sent on.
            backend: to whom.
            content: the body, whole or as it comes; None for none.
        """
        # The target as the client wrote it: a URL class would write some of its characters anew.
        told = exchange.header(b"content-length")
        return await courier.ask(
            backend.url,
            exchange.method,
            exchange.target,
            to_backend(exchange.headers),
            content,
            length=int(told) if told is not None and told.isdigit() else None,
            spares=backend.spares,
        )

    async def give(
        self, exchange: Exchange, answer: Answer, backend: Backend, extra: Headers, witness: Witness | None
    ) -> bool:
        """Hand an answer on; whether it came to its end."""
        await exchange.begin(answer.status, _answer_headers(answer) + extra)
        try:
            await self._pieces(exchange, answer, backend, witness)
        except BrokeError:
            # No end is sent: the server then cuts the connection, and the client knows it is not whole.
            _LOG.warning("the backend broke off in the middle of %s %r", exchange.method, exchange.path)
            if witness is not None and witness.silent_end:
                await self._mend(exchange, witness)
            return False
        if witness is not None and witness.silent_end:
            _LOG.warning("%s ended without its end mark", exchange.path)
            if not await self._mend(exchange, witness):
                return False
        await exchange.end()
        return witness is None or witness.whole

    async def _pieces(
        self, exchange: Exchange, answer: Answer, backend: Backend, witness: Witness | None
    ) -> None:
        sent_b, last = 0, time.monotonic()
        try:
            while pieces := await answer.more():
                if witness is not None:
                    backend.heard()  # lists are answered even while a runner hangs
                await exchange.pieces(pieces)
                data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                sent_b += len(data)
                if witness is not None:
                    witness.see(data)
                    now = time.monotonic()
                    self._metrics.gap.observe(now - last)
                    last = now
        finally:
            self._metrics.sent_b.inc(sent_b)

    async def _mend(self, exchange: Exchange, witness: Witness) -> bool:
        self._metrics.unfinished.inc()
        words = witness.mend()
        if words is None:
            return False
        await exchange.piece(words)
        return True


def to_backend(headers: Headers) -> Headers:
    """A client's headers without those about its connection, and without its Host and Origin."""
    return _end_to_end([pair for pair in headers if pair[0].lower() not in _NOT_PASSED])


def _end_to_end(headers: Headers) -> Headers:
    text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in end_to_end(text)]


def _answer_headers(answer: Answer) -> Headers:
    headers = _end_to_end(answer.headers)
    if answer.header(b"content-length") is None:
        headers.append((b"x-accel-buffering", b"no"))  # a web server in front of us shall not gather chunks
    return headers
