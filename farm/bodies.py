"""The request bodies that the front keeps while their requests wait and run, bounded one by one and together.

Called by the front for requests that need a model; model files are never kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from farm import limits
from farm.asgi import BodyTooLargeError, Exchange


class CrowdedError(Exception):
    """The bodies of all requests together leave no room for this one."""


class Bodies:
    """Counts what is kept.

    Args:
        each_b: the longest body; the front's limit unless given.
        all_b: bytes of all together; the front's limit unless given.

    Attributes:
        held_b: bytes kept now.
    """

    def __init__(self, each_b: int | None = None, all_b: int | None = None) -> None:
        self.held_b = 0
        self._each_b = limits.FRONT_BODY_MAX_B if each_b is None else each_b
        self._all_b = limits.BODIES_MAX_B if all_b is None else all_b

    @contextlib.asynccontextmanager
    async def read(self, exchange: Exchange) -> AsyncIterator[bytes]:
        """The body of a request, kept until the block ends.

        Raises:
            BodyTooLargeError: it is too long by itself; not read to its end.
            CrowdedError: there is no room for it now.
            ClientLeftError: it will never be complete.
        """
        announced = exchange.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > self._each_b:
            raise BodyTooLargeError
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in exchange.body_chunks():
                size += len(piece)
                self.held_b += len(piece)
                if size > self._each_b:
                    raise BodyTooLargeError
                if self.held_b > self._all_b:
                    raise CrowdedError
                pieces.append(piece)
            whole = [b"".join(pieces)]
            pieces.clear()
            yield whole.pop()  # whoever reads it may let it go before the block ends
        finally:
            self.held_b -= size
