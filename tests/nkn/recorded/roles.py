"""Which roles of the recorded cases our client plays, and those that are played in their own way.

`ROLES` has the cases that have a part for a client; what the others are about, no good client ever does.
A case in `SCRIPTS` is played by its script, which returns what else there is to say.
"""

import asyncio
import contextlib
import itertools

from nkn.recorded import clock, fakenet, labels, recording, sent
from nkn.recorded.part import Part
from nkn.recorded.role import Role

from wire import limits

ALICE, BOB, CAROL, DAVE = (recording.ADDRESSES[name] for name in ("alice", "bob", "carol", "dave"))
FRANK, GINA, HUGO, JACK = (recording.ADDRESSES[name] for name in ("frank", "gina", "hugo", "jack"))
SDK_ALICE, SDK_BOB, SDK_CAROL, SDK_DAVE = (
    recording.ADDRESSES[f"sdk-{name}"] for name in ("alice", "bob", "carol", "dave")
)


def _ring(name, digit):
    identifier, _, key = recording.ADDRESSES[f"ring-{name}"].partition(".")
    return f"{identifier}{digit}.{key}"


REFUSED = (
    "no_Addr", "Addr_number", "Addr_empty", "Addr_short_pubkey", "Addr_not_hex", "Addr_33_byte_pubkey",
    "signature_null", "signature_not_hex", "signature_short", "Hash_member_number", "extra_members_ok",
)  # fmt: skip
"""Connections whose setClient was refused, and one whose was accepted, at which ours stays."""
CLOSED = ("code_1000", "no_code", "code_1001_reason", "code_4001", "code_1005_invalid")
BROKEN = ("unmasked_frame", "rsv1_set", "opcode_3", "ping_126_bytes", "continuation_first", "raw_tls_bytes")
ODD_FORMS = (
    "two payloads without zlib: also accepted", "one payload with zlib: also accepted", "same dest twice",
)  # fmt: skip
"""What a node accepts and our client never sends."""

ROLES = {
    "connect_auth_setclient_ping_close": (Part(conns=("c",), addr=ALICE, compared=True, closes=True),),
    "setclient_unsigned": (Part(conns=("c",), addr=ALICE),),
    "setclient_bad_signature": (Part(conns=("c",), addr=ALICE, returns=True),),
    "setclient_field_variants": (Part(conns=REFUSED, addr=ALICE),),
    "same_address_twice": (Part(conns=("first",), addr=ALICE),),
    "setclient_again_same_socket": (Part(conns=("c",), addr=ALICE, skips=("292fa5019a70c071",)),),
    "send_before_setclient": (Part(conns=("b",), addr=BOB),),
    "dm_receipt_ack_reply_replay": (
        Part(conns=("alice",), addr=ALICE, compared=True, skips=("the very same frame sent again (replay)",)),
        Part(conns=("bob",), addr=BOB, compared=True),
    ),
    "receipt_oddities": (Part(conns=("bob",), addr=BOB),),
    "multi_dest": (
        Part(conns=("alice",), addr=ALICE, compared=True, skips=ODD_FORMS),
        Part(conns=("bob",), addr=BOB),
        Part(conns=("carol",), addr=CAROL, options={"accept_unencrypted": True}),
    ),
    "outbound_no_signature": (
        Part(conns=("alice",), addr=ALICE, skips=("one dest, no signature at all",), returns=True),
    ),
    "offline_hold_60": (Part(conns=("dave",), addr=DAVE),),
    "offline_hold_expiry": (Part(conns=("frank",), addr=FRANK),),
    "hold_60_online_client_vanishes": (Part(conns=("gina", "gina2"), addr=GINA),),
    "hold_60_online_young_session": (Part(conns=("hugo",), addr=HUGO),),
    "hold_20_online_client_leaves_for_good": (Part(conns=("jack", "jack2"), addr=JACK),),
    "write_stall_zombie": (Part(conns=("slow",), addr=ALICE),),
    "size_limits": (
        Part(conns=("alice", "alice2", "alice3"), addr=ALICE, skips=("binary", "text"), returns=True),
        Part(conns=("bob",), addr=BOB, options={"accept_unencrypted": True}),
    ),
    "silence_registered": (Part(conns=("no_pong",), addr=ALICE, skips=("tcp_fin",)),),
    "unsolicited_pong_only": (Part(conns=("unsolicited_pong_only",), addr=ALICE),),
    "ping_cadence": (Part(conns=("c",), addr=ALICE),),
    "slow_upload_fragments": (Part(conns=("alice",), addr=ALICE),),
    "text_garbage_and_actions": (Part(conns=("c",), addr=ALICE),),
    "client_close_codes": (Part(conns=CLOSED, addr=ALICE, registers=True, returns=True),),
    "protocol_errors": (Part(conns=BROKEN, addr=ALICE, registers=True, returns=True),),
    "node_stopped_by_SIGINT": (Part(conns=("alice",), addr=ALICE, returns=True),),
    "node_killed": (Part(conns=("alice",), addr=ALICE, returns=True),),
    "block_hash_push": (Part(conns=("registered",), addr=ALICE),),
    "sdk_dm": (
        Part(conns=("ws1",), addr=SDK_BOB, compared=True, closes=True),
        Part(conns=("ws2",), addr=SDK_ALICE, compared=True, silent=("168be30358f6b4bd",), closes=True),
    ),
    "sdk_multidest": (
        Part(conns=("ws1",), addr=SDK_ALICE, compared=True),
        Part(conns=("ws2",), addr=SDK_BOB, compared=True),
        Part(conns=("ws3",), addr=SDK_CAROL, compared=True),
    ),
    "sdk_multiclient": (
        Part(conns=("ws1", "ws2"), addr=SDK_ALICE, compared=True, parts=2, closes=True),
        Part(conns=("ws3", "ws5", "ws4"), addr=SDK_BOB, compared=True, parts=2, original=True, closes=True),
    ),
    "sdk_hold": (
        Part(conns=("ws1",), addr=SDK_ALICE, compared=True),
        Part(conns=("ws2",), addr=SDK_DAVE, compared=True),
    ),
    "wrong_node": (
        Part(conns=("c", "c2"), addr=_ring("alice", 3), skips=("outbound from the refused socket",)),
    ),
    "cross_node_dm": (
        Part(conns=("alice:30002",), addr=_ring("alice", 2)),
        Part(conns=("bob:30027",), addr=_ring("bob", 0)),
    ),
    "sdk_wrong_node": (
        Part(conns=("ws1:30002", "ws2:30047"), addr=SDK_ALICE, compared=True),
        Part(conns=("ws3:30047",), addr=SDK_BOB, compared=True),
    ),
    "node_frozen": (Part(conns=("alice@30027", "alice@30002"), addr=_ring("alice", 3)),),
    "node_stop_and_rehoming": (
        Part(
            conns=("alice@30027", "alice@30002", "alice@30027b"),
            addr=_ring("alice", 3),
            skips=(29.9479, 51.6557),  # on the old socket, which ours has left by then
        ),
    ),
    "sdk_rehome": (
        Part(conns=("ws1:30047", "ws4:30027", "ws6:30047"), addr=SDK_ALICE, compared=True),
        Part(conns=("ws2:30047", "ws3:30027", "ws5:30047"), addr=SDK_BOB, compared=True),
    ),
}
"""Case → the roles that our client plays."""


@contextlib.asynccontextmanager
async def played(case, part):
    """A role that was played and is not closed yet, and what its script has to add."""
    async with Role(case, part) as role:
        yield role, await SCRIPTS.get(case.name, Role.play)(role) or ""


async def _zombie(role):
    """The node goes on reading and never writes again."""
    await role.step(role.events[0])
    role.clients["slow"].alive = False
    began = clock.now()
    await role.registered("again", role.network.owner)
    await asyncio.sleep(0.1)
    return f"leaves after {_left(role, 'slow') - began:.0f} s without a byte"


def _left(role, conn):
    return next(got.at for got in role.clients[conn].frames if got.op.startswith("tcp_"))


async def _frozen(role):
    """The node says nothing more; the others learn of it after 20.4 s, as RPC tells."""
    began = clock.now()
    await role.step(role.events[0])
    role.clients["alice@30027"].alive = False
    asked = role.case.events[2].rest["history_s"]
    wait_s, refusal, healed_s = asked[0][0], asked[0][1], asked[1][0]

    async def answer(question):
        if clock.now() - began >= healed_s:
            return role.network.rpc(question)
        await asyncio.sleep(wait_s)
        return fakenet.http('{"error":' + refusal + ',"id":"relay","jsonrpc":"2.0"}')

    role.seed.answer = answer
    for event in role.events:
        if event.conn == "alice@30002":
            await role.step(event)
    await asyncio.sleep(1)
    return f"leaves after {_left(role, 'alice@30027') - began:.0f} s without a byte"


async def _pushes(role):
    """A message after each push is signed with the block hash that was pushed."""
    signed = []
    for event in role.events:
        await role.step(event)
        await asyncio.sleep(0.1)
        role.client.send_nowait(BOB, "which block?")
        await asyncio.sleep(0.1)
        body = event.rest.get("json") or labels.accepted(event.rest)
        told = body["Result"] if isinstance(body["Result"], str) else body["Result"]["sigChainBlockHash"]
        (*_, last) = sent.messages(role)
        signed.append(last.frame.block_hash.hex() == told)
    return f"signs with the hash that was pushed {sum(signed)}"


async def _slow_upload(role):
    """The node reads 50 kB/s; what comes must come in small frames, with a pong never 10 s away."""
    await role.step(role.events[0])
    one = role.clients["alice"]
    one.wire.piece_b = 5_000
    role.client.send_nowait(BOB, bytes(role.case.events[1].rest["len"] - 300))
    whole = await one.until(lambda got: got.op == "binary")
    pongs = [at for at in one.pongs if at <= whole.at]
    longest = max(b - a for a, b in itertools.pairwise(pongs))
    assert longest < limits.NODE_PONG_TIMEOUT_S / 2
    return f"uploads in fragments of {one.largest_b} bytes with a pong behind each"


SCRIPTS = {
    "write_stall_zombie": _zombie,
    "node_frozen": _frozen,
    "block_hash_push": _pushes,
    "slow_upload_fragments": _slow_upload,
}
"""Roles that are played in their own way."""
