"""Cases that are played in their own way: what only the recorder's program knew is done here instead.

A script plays one case on its stage and returns what it observed, by the names of the recording.
Called by `directions`.
"""

import asyncio
import json

from nkn.recorded import clock, recording
from nkn.recorded.words import Content

from relay.nkn import envelope

TLS_HELLO = bytes.fromhex("160301020001")
"""How every TLS client begins."""
ALICE, BOB = (recording.ADDRESSES[name] for name in ("alice", "bob"))


def arrivals(hand):
    """Take all messages that came to a connection."""
    came = [got for got in hand.wire.inbox if got.op == "binary"]
    for got in came:
        hand.wire.inbox.remove(got)
    return came


async def pipelined(stage):
    """Bob is there although the recording shows only what alice sent him."""
    bob = await stage.resident(BOB)
    await stage.play()
    return {"delivered": len(arrivals(bob)) == 1}


async def receipt(stage):
    """The receiver of the first message is asked for a receipt."""
    await stage.play()
    return {"prev_hash_present": bool(stage.hands["bob"].asked)}


async def receipt_oddities(stage):
    """Messages are sent until one asks; how many that takes is chance at a real node."""
    events = stage.case.events
    at = next(number for number, event in enumerate(events) if event.way == "n>c")
    await stage.follow(events[:at])
    bob, sent = stage.hands["bob"], 0
    while not bob.asked and sent < 8:
        sent += 1
        content = (
            events[at].said.contents[0]
            if sent == 1
            else Content("TEXT", True, f"p{sent}", "00" * 7 + f"{sent:02x}")
        )
        await stage.supply(ALICE, BOB, content)
        got = await bob.wire.next(clock.now() + 1)
        bob.asked = envelope.read(got.data).prev_hash
    stage.like.values("a message asks after the receipt for none", True, bool(bob.asked))
    stage.like.bind(recording.read(events[at]).prev_hash.hex(), bob.asked.hex())
    await stage.follow(events[at + 1 :])
    await stage.finish()
    alive = [hand.wire.ended is None for hand in (await stage.resident(ALICE), bob)]
    return {"sockets_open": alive}


async def outbound_variants(stage):
    """What arrives of each frame; where it asks for a receipt is chance."""
    seen, events = {}, stage.case.events
    for number, event in enumerate(events):
        await stage.step(number, event)
        if "note" not in event.rest:
            continue
        last = event.rest["note"] == "fewer_signatures_than_dests"
        if last:
            seen["sender_still_open"] = stage.hands["alice"].wire.ended is None
        await stage.until(max(event.t, events[number + 1].t - 0.0002))
        came = {name: bool(arrivals(stage.hands[name])) for name in ("bob", "carol")}
        told = stage.case.observed[event.rest["note"]]
        seen[event.rest["note"]] = {name: came[name] for name in told if name in came}
    ended = stage.hands["alice"].wire.ended
    seen["fewer_signatures_than_dests"]["sender_socket"] = "eof" if ended else None
    await stage.finish()
    return seen


async def client_vanishes(stage):
    """A second client counts the sessions."""
    watcher = await stage.hand("beside")
    seen = {}
    for name in ("tcp_fin", "tcp_rst"):
        mine = [event for event in stage.case.events if event.conn == name]
        before = await _sessions(watcher)
        await stage.until(mine[0].t - 0.001)
        await stage.hand(name)
        within = await _sessions(watcher)
        await stage.follow(mine)
        began = clock.now()
        while await _sessions(watcher) != before and clock.now() < began + 1:
            await asyncio.sleep(0.005)
        told = stage.case.observed[name]["node_forgot_after_s"]
        after = told if clock.now() - began <= 0.02 else clock.now() - began
        seen[name] = {"sessions_before": before, "with_client": within, "node_forgot_after_s": after}
    await stage.finish()
    return seen


async def _sessions(watcher):
    await watcher.wire.send("text", b'{"Action":"getsessioncount"}')
    return json.loads((await watcher.wire.next(clock.now() + 1)).data)["Result"]


async def protocol_errors(stage):
    """One connection speaks TLS after its upgrade."""
    events = stage.case.events
    tls = [event for event in events if event.conn == "raw_tls_bytes"]
    await stage.follow([event for event in events if event not in tls])
    await stage.until(tls[0].t - 0.001)
    await (await stage.hand("raw_tls_bytes")).wire.raw(TLS_HELLO)
    await stage.follow(tls)
    await stage.finish()


async def wrong_node(stage):
    """A message for the refused client does not come to it, and its own goes nowhere."""
    bob = await stage.resident(stage.case.events[5].said.who[0])
    mine = stage.case.events[1].rest["json"]["Addr"]
    await bob.say(mine, Content("TEXT", True, "to the wrong node", "77" * 8))
    await stage.play()
    return {"outbound_relayed": bool(arrivals(bob))}


async def blocks_in_a_ring(stage):
    """Blocks when the network made them; when which node told its clients."""
    told = stage.case.observed["update_t_ms"]
    clients = {name: await stage.hand(name) for name in told}
    await clients["c:30002"].register(_at_home(stage, "N6"))
    await clients["c:30027"].register(_at_home(stage, "N5"))
    for when in told["c:30002"]:
        await stage.until(when / 1000)
        next(iter(stage.nodes.values())).ring.make_block()
    await asyncio.sleep(1)
    seen = {name: _updates(stage, told[name], hand) for name, hand in clients.items()}
    return {"update_t_ms": seen}


def _at_home(stage, node):
    """An address that belongs to a node."""
    tries = (recording.ADDRESSES[name] for name in recording.ADDRESSES)
    return next(one for one in tries if stage.home(one) == node)


def _updates(stage, told, hand):
    """When block hashes came, in the recording's milliseconds where they are the same."""
    times = [1000 * (got.at - stage.began) for got in hand.wire.inbox if b"updateSigChain" in got.data]
    hand.wire.inbox.clear()
    close = {round(time / 250): time for time in told}
    return [close.get(round(time / 250), round(time, 1)) for time in times]


async def rehoming(stage):
    """The receivers whom the recording does not show, and what reached them by the old node."""
    events, ring = stage.case.events, next(iter(stage.nodes.values())).ring
    for _ in range(2):
        ring.make_block()  # the recorded chain was no new one
    bob, carol = [await stage.resident(one.said.who[0]) for one in events[11:13]]
    held = next(event for event in events if event.said and "gone" in str(event.said.contents[0].data))
    gone = next(event for event in events if event.op == "SIGINT")
    await stage.follow(events[: events.index(gone) + 1])
    await stage.until(gone.t + 0.05)
    await stage.supply(held.said.who[0], events[0].rest["addr"], held.said.contents[0], 60)
    for event in events[events.index(gone) + 1 :]:
        if event.rest.get("json", {}).get("Action") == "updateSigChainBlockHash":
            await stage.until(event.t)
            ring.make_block()
        await stage.follow([event])
    await stage.finish()
    pairs = list(zip(_heard(bob, "another"), _heard(carol, "own client"), strict=True))
    shown = [event for event in events if event.way == "c>n"]
    assert len(shown) == 2 * len(pairs)
    return {
        "old_node_still_relays_outbound[to_other_node,to_same_node]": [list(pair) for pair in pairs],
        "delivered_on_old_node_after_push": bool(arrivals(stage.hands["alice@30002"])),
        "also_on_old_socket": bool(arrivals(stage.hands["alice@30002"])),
    }


def _heard(hand, words):
    me = recording.owner(hand.address)
    texts = [envelope.read(got.data) for got in arrivals(hand)]
    told = [recording.opened(one.payload, me, one.src)[0].data for one in texts]
    return [words in text for text in told]
