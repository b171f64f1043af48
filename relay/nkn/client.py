"""`Client`: one address at one node, with the names and defaults of the official SDKs.

    async with Client(seed=seed, identifier="alice") as client:
        await client.wait_connected(30)
        reply = await client.send(dest, "hello")

asyncio; all of it on one loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relay.nkn.link import LinkOptions
from relay.nkn.messenger import Messenger
from relay.nkn.multi import ORIGINAL
from relay.nkn.rpc import DEFAULT_SEEDS
from wire import limits


class Client(Messenger):
    """One address at one node.

    Args:
        seed: 32 bytes or 64 hex digits; random if None.
        identifier: what stands before the key in the address, may be empty.
        rpc_server_addr: URLs of RPC servers, tried in turn; or a single one.
        seed_ws_addr: `ws://` or `wss://host:port` nodes tried before any RPC.
        tls: connect to nodes by wss; `ssl` is an SSLContext for it.
        reconnect_interval_min: seconds of the first pause between attempts; doubled up to the maximum.
        response_timeout: seconds `send` waits for an answer.
        msg_holding_seconds: how long nodes hold messages for absent destinations.
        encrypt: seal what is sent.
        accept_unencrypted: let unsealed messages through to the handlers.
    """

    def __init__(
        self,
        *,
        seed: bytes | str | None = None,
        identifier: str = "",
        rpc_server_addr: str | Sequence[str] = DEFAULT_SEEDS,
        seed_ws_addr: str | Sequence[str] = (),
        tls: bool = False,
        ssl: Any = None,
        reconnect_interval_min: float = limits.RECONNECT_MIN_S,
        reconnect_interval_max: float = limits.RECONNECT_MAX_S,
        response_timeout: float = limits.RESPONSE_TIMEOUT_S,
        msg_holding_seconds: int = 0,
        encrypt: bool = True,
        accept_unencrypted: bool = False,
        indices: Sequence[int] = (ORIGINAL,),
    ) -> None:
        options = LinkOptions(
            rpc_server_addr=_list(rpc_server_addr),
            seed_ws_addr=_list(seed_ws_addr),
            tls=tls,
            ssl=ssl,
            reconnect_interval_min=reconnect_interval_min,
            reconnect_interval_max=reconnect_interval_max,
        )
        super().__init__(
            seed,
            identifier,
            indices,
            options,
            response_timeout=response_timeout,
            msg_holding_seconds=msg_holding_seconds,
            encrypt=encrypt,
            accept_unencrypted=accept_unencrypted,
        )


def _list(given: str | Sequence[str]) -> Sequence[str]:
    """A text alone is one address, not its letters."""
    return (given,) if isinstance(given, str) else given
