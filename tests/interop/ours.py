"""Our client as the interop tests see it, and the shapes both sides come in."""

import asyncio
from typing import Any, Self

from relay.nkn import Client, Message, MultiClient

SHAPES: dict[str, dict[str, Any]] = {
    "client": {},
    **{f"multi{n}": {"num_sub_clients": n} for n in (1, 2, 4)},
    **{f"multi{n}+original": {"num_sub_clients": n, "original_client": True} for n in (1, 2, 4)},
}
"""Name → options of our client; none is a plain Client."""
RECONNECT = {"reconnect_interval_min": 0.02, "reconnect_interval_max": 0.05}
_SDK_NAMES = {"num_sub_clients": "numSubClients", "original_client": "originalClient"}


def sdk(shape: str) -> dict[str, Any]:
    """The same shape in the SDK's words."""
    return {_SDK_NAMES[name]: value for name, value in SHAPES[shape].items()}


def parts(shape: str) -> set[int]:
    """Its parts; −1 is the address without prefix."""
    options = SHAPES[shape]
    plain = not options or options.get("original_client", False)
    return {*range(options.get("num_sub_clients", 0)), *({-1} if plain else ())}


class Ours:
    """One of our clients: what came, and what it answers.

    Attributes:
        answer: what its handler returns; "echo" is the message itself.
        got: the messages that came.
    """

    def __init__(self, rpc: str | list[str], shape: str = "client", **options: Any) -> None:
        make = MultiClient if SHAPES[shape] else Client
        seeds = [rpc] if isinstance(rpc, str) else rpc
        self.client = make(rpc_server_addr=seeds, **{**RECONNECT, **SHAPES[shape], **options})
        self.answer: Any = None
        self.got: list[Message] = []
        self.failures: list[str] = []
        self.losses: list[str] = []
        self.client.on_message(self._take)
        self.client.on_connect_failed(self.failures.append)
        self.client.on_disconnect(self.losses.append)

    @property
    def addr(self) -> str:
        return self.client.addr

    @property
    def data(self) -> list[str | bytes]:
        return [message.payload for message in self.got]

    @property
    def counts(self) -> dict[str, Any]:
        return self.client.statistics()

    @property
    def parts(self) -> list[dict[str, Any]]:
        return list(self.counts["parts"].values())

    async def __aenter__(self) -> Self:
        """Connected, with every part."""
        self.client.start()
        async with asyncio.timeout(10):
            while not all(part["ready"] for part in self.parts):
                await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    def _take(self, message: Message) -> Any:
        self.got.append(message)
        return message.payload if self.answer == "echo" else self.answer

    async def send(self, *args: Any, **options: Any) -> str | bytes | None:
        return await self.client.send(*args, **options)
