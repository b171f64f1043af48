"""`MultiClient`: several addresses of one identity at several nodes, used as one.

Every message takes all paths and the first copy wins: latency is that of the fastest path, loss the
product of all. With `original_client` the plain address is registered too, so that plain clients reach
it. asyncio; all of it on one loop.
"""

from __future__ import annotations

from typing import Any

from relay.nkn.client import Client
from relay.nkn.multi import ORIGINAL


class MultiClient(Client):
    """Parts `__0__` … `__n-1__` of one address, and maybe the address itself.

    Args:
        num_sub_clients: how many parts with a prefix.
        original_client: register the address without prefix as well.
        options: those of `Client`.
    """

    def __init__(self, *, num_sub_clients: int = 4, original_client: bool = False, **options: Any) -> None:
        indices = [*range(num_sub_clients), *([ORIGINAL] if original_client else [])]
        if not indices:
            raise ValueError("a MultiClient needs at least one sub-client or the original client")
        super().__init__(indices=indices, **options)
