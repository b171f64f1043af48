"""Plays every recorded answer of JSON-RPC to our client, byte for byte: what it makes of it, in words.

Used by the tests of the client.
"""

import asyncio
import re

from nkn.recorded import fakenet, recording, rpcplay
from nkn.recorded.likeness import Likeness

from relay.nkn.rpc import RpcError, SeedRpc


async def play(case):
    """(what the client makes of a recorded answer, how its question differs from the recorded one)."""
    raw, silent_s = answer_of(case), case.get("ms", 0) / 1000

    async def answer(_):
        await asyncio.sleep(silent_s)
        return raw

    seed = fakenet.Seed(answer)
    try:
        node = await SeedRpc([seed.url]).locate(recording.ADDRESSES["alice"])
    except RpcError as error:
        made = "next seed: " + re.sub(r"\s+", " ", str(error).removeprefix(f"{seed.url}: "))
    else:
        told = recording.FILE["nodes"][0]
        made = "finds its node" if (node.addr, len(node.pubkey)) == (told["addr"], 32) else "is misled"
    finally:
        await seed.close()
    return made, _question(case, seed) if case["case"] == "getwsaddr" else []


def answer_of(case):
    """The recorded bytes; what the recorder noted in their place is left out."""
    return rpcplay.response_of(case).removesuffix("<no fin within 3 s>").encode()


def _question(case, seed):
    like = Likeness()
    like.texts("", case["request"].partition("\r\n\r\n")[2], recording.compact(seed.questions[0]))
    return like.differences
