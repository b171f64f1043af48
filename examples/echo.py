"""An echo on NKN: `echo.py RPC_URL [ADDRESS …]` says back what comes, and hello to each ADDRESS."""

import asyncio
import sys

from relay.nkn import Client


async def main(rpc: str, *friends: str) -> None:
    """Print the own address, then what the friends say back."""
    async with Client(identifier="echo", rpc_server_addr=[rpc]) as client:
        client.on_message(lambda message: message.payload)
        await client.wait_connected()
        print(client.addr, flush=True)
        for friend in friends:
            print(await client.send(friend, "hello from Python"), flush=True)
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
