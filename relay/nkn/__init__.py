"""An NKN client for Python (asyncio), usable alone.

    from relay.nkn import MultiClient

    async with MultiClient(identifier="alice", num_sub_clients=2) as client:
        client.on_message(lambda message: print(message.src, message.payload))
        await client.wait_connected(30)
        reply = await client.send("bob.8139770e…", "hello")

Names and defaults follow the official SDKs; docs/nkn-client.md has the differences.
"""

from relay.nkn.address import AddressError
from relay.nkn.client import Client
from relay.nkn.delivery import Message
from relay.nkn.dispatch import MessageTooLargeError
from relay.nkn.identity import Identity, KeyFault
from relay.nkn.messenger import NknTimeoutError
from relay.nkn.multiclient import MultiClient
from relay.nkn.outbox import OutboxFull
from relay.nkn.rpc import DEFAULT_SEEDS

__all__ = [
    "DEFAULT_SEEDS",
    "AddressError",
    "Client",
    "Identity",
    "KeyFault",
    "Message",
    "MessageTooLargeError",
    "MultiClient",
    "NknTimeoutError",
    "OutboxFull",
]
