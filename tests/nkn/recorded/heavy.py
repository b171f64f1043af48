"""Cases about much: frames of four megabytes, slow lines, a client that does not read.

Played as those of `scripts`; the file kept lengths only, the filling is our own.
"""

import asyncio
import contextlib

from nkn.recorded import clock, labels
from nkn.recorded.rawsocket import PIECE_S, encode
from nkn.recorded.scripts import ALICE, BOB, arrivals

PIECE_B = 5_000
"""Ten times a second: 50 kB/s, as the recorder uploaded."""
INFLATES_B, INFLATES_TOO_FAR_B = 4_194_091, 4_194_400
"""Frames that are just under and just over 4 MiB once they are inflated."""


async def slow_upload_one_frame(stage):
    """One frame in small pieces, until the node has enough of it; nothing can go between them."""
    await stage.follow(stage.case.events[:1])
    bob = await stage.resident(BOB)
    alice = stage.hands["alice"]
    frame = alice.sized(BOB, stage.case.events[1].rest["len"])
    uploading = asyncio.create_task(_upload(alice, encode(2, frame, mask=alice.wire.mask)))
    await stage.follow(stage.case.events[2:])
    sent = await uploading
    told = stage.case.observed["bytes_sent"]
    await stage.finish()
    return {
        "bytes_sent": told if abs(told - sent) <= 2 * PIECE_B else sent,
        "delivered": bool(arrivals(bob)),
    }


async def _upload(hand, raw):
    for start in range(0, len(raw), PIECE_B):
        if hand.wire.ended is not None:
            return start
        with contextlib.suppress(OSError):
            await hand.wire.raw(raw[start : start + PIECE_B])
        await asyncio.sleep(PIECE_S)
    return len(raw)


async def slow_upload_fragments(stage):
    """The same in fragments, pings answered between them."""
    await stage.follow(stage.case.events[:1])
    bob = await stage.resident(BOB)
    alice = stage.hands["alice"]
    alice.wire.pongs = True
    frame, began = alice.sized(BOB, stage.case.events[1].rest["len"]), clock.now()
    for start in range(0, len(frame), PIECE_B):
        last = start + PIECE_B >= len(frame)
        piece = frame[start : start + PIECE_B]
        await alice.wire.send("continuation" if start else "binary", piece, fin=last)
        await asyncio.sleep(PIECE_S)
    took, told = clock.now() - began, stage.case.observed["took_s"]
    for event, at in zip(stage.case.of("alice")[2::2], alice.wire.pinged_at, strict=True):
        stage.like.values("ping", round(event.t), round(at - stage.began))
    await stage.finish()
    return {
        "took_s": told if abs(told - took) < 0.3 else took,
        "delivered": len(arrivals(bob)) == 1,
        "end": alice.wire.ended,
    }


async def size_limits(stage):
    """Frames of the recorded lengths, with our own filling."""
    whole = b""
    for event in stage.case.events:
        hand = stage.hands.get(event.conn)
        if event.way != "c>n":
            await stage.follow([event])
            continue
        await stage.until(event.t)
        note, size, more = event.rest.get("note", ""), event.rest["len"], not event.rest.get("fin", True)
        if event.op == "text":
            frame = b"x" * size
        elif note.startswith("zlib"):
            frame = hand.sized(BOB, INFLATES_B if "under" in note else INFLATES_TOO_FAR_B, inflated=True)
        elif note.startswith("fragment"):
            whole = whole or hand.sized(BOB, 2 * size)
            frame, whole = whole[:size], whole[size:]
        else:
            frame = hand.sized(BOB, size)
        await hand.wire.send(event.op, frame, fin=not more)
    await stage.finish()


async def write_stall(stage):
    """A client that stops reading; how much the kernel keeps for it is the machine's."""
    events, told = stage.case.events, stage.case.observed
    beats = [event for event in events if event.op == "text"]
    resumes = next(event.t for event in events if event.op == "resumes_reading")
    await stage.follow(events[:1])
    slow, bob = stage.hands["slow"], await stage.resident(BOB)
    slow.wire.pongs = True
    slow.wire.reading.clear()
    for _ in range(200):
        await bob.wire.send("binary", bob.sized(ALICE, 65_182))
    await stage.follow([event for event in beats if event.t < resumes])
    await stage.until(resumes)
    slow.wire.pinged_at.clear()
    slow.wire.reading.set()
    await stage.follow([event for event in beats if event.t > resumes])
    await stage.until(told["socket_open_after_s"][0])
    frames = len(arrivals(slow))
    seen = {
        "frames_received_of_200": told["frames_received_of_200"] if 0 < frames < 200 else frames,
        "replies_to_6_heartbeats_after_resume": sum(got.op == "text" for got in slow.wire.inbox),
        "pings_after_resume": len(slow.wire.pinged_at),
        "socket_open_after_s": [
            told["socket_open_after_s"][0],
            slow.wire.ended and labels.of_got(slow.wire.ended),
        ],
    }
    await slow.say(BOB, events[-3].said.contents[0])
    seen["its_own_sends_still_delivered"] = (await bob.wire.next(clock.now() + 0.5)) is not None
    await slow.frame(events[-2])
    await stage.expect(events[-1])
    partial = len(slow.wire.ended.data) if slow.wire.ended else 0
    seen["partial_frame_bytes_at_end"] = told["partial_frame_bytes_at_end"] if partial else [partial]
    await stage.finish()
    return seen
