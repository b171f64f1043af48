"""Stage directions: which nodes a case needs, what happens to them, and what its recorder observed.

`HAPPENINGS` are the events of the recorder itself; `FOLLOWS` names the observations that say in words what
the frames of the same case show. Cases that are played in their own way stand in `scripts` and `heavy`.
"""

import asyncio
import json
from dataclasses import replace

from nkn.recorded import clock, heavy, rpcplay, scripts
from nkn.recorded.stage import Stage

from relay.nkn.devnode import Times

LEAD_S = {"node_stop_and_rehoming": 30.05}
"""How long the nodes had been up when the case began, where the phase of a timer shows in it."""
TIMES = {"block_hash_push": Times(first_block_s=262.0, block_s=21.03)}
"""Clocks of the nodes where the case is about them; elsewhere they are a real node's, without blocks."""
SCRIPTS = {
    "send_pipelined_after_setclient": scripts.pipelined,
    "dm_receipt_ack_reply_replay": scripts.receipt,
    "receipt_oddities": scripts.receipt_oddities,
    "outbound_variants": scripts.outbound_variants,
    "client_vanishes": scripts.client_vanishes,
    "protocol_errors": scripts.protocol_errors,
    "slow_upload_one_frame": heavy.slow_upload_one_frame,
    "slow_upload_fragments": heavy.slow_upload_fragments,
    "size_limits": heavy.size_limits,
    "write_stall_zombie": heavy.write_stall,
    "wrong_node": scripts.wrong_node,
    "node_stop_and_rehoming": scripts.rehoming,
    "block_hash_updates_ring": scripts.blocks_in_a_ring,
}

FOLLOWS = {
    "same_address_twice": {
        "first_got_close_or_notice_on_second_connect",
        "after_failed_second_setClient",
        "after_second_closed_first_got",
    },
    "setclient_again_same_socket": {"old_address_still_delivered", "new_address_delivered", "src_after"},
    "send_before_setclient": {"delivered", "after_setClient_delivered"},
    "multi_dest": {"uncompressed_two_payloads", "zlib_one_payload", "same_dest_twice_copies", "to_self"},
    "offline_hold_0": {"got"},
    "offline_hold_60": {
        "received_within_1s",
        "redelivered_within_17s_while_connected_and_reading",
        "on_second_connect",
    },
    "offline_hold_expiry": {"received_after_13s"},
    "hold_60_online_client_vanishes": {"first", "again_after_reconnect", "copies_later"},
    "hold_60_online_young_session": {"copies_in_24s_young_session", "copies_in_13s_old_session"},
    "hold_20_online_client_leaves_for_good": {"first", "still_delivered_27s_after_the_send_with_hold_20"},
    "silence_registered": {"closed_after_last_client_frame_s"},
    "silence_unregistered": {"closed_after_upgrade_s"},
    "never_registers_but_pongs": {"open_after_26s"},
    "client_pings_only": {"closed_after_s"},
    "text_only_no_pong": {"open_after_26s"},
    "unsolicited_pong_only": {"open_after_26s"},
    "ping_cadence": {"node_ping_t_ms"},
    "slow_upload_one_frame": {"closed_after_s"},
    "text_garbage_and_actions": {"still_open"},
    "protocol_errors": {"text_invalid_utf8"},
    "size_limits": {
        "frame_bytes", "4194304", "4194305", "zlib_under", "zlib_over", "text_over",
        "fragmented_1MiB", "fragments_over_4MiB",
    },
    "node_stopped_by_SIGINT": {
        "closed_after_s", "ends", "held_message_survived_restart", "block_hash_after_restart_same",
    },
    "node_killed": {"closed_after_s", "end"},
    "wrong_node": {
        "dm_delivered_to_wrong_node_socket", "refused_socket_still_open_after_s", "end",
        "delivered_on_right_node",
    },
    "cross_node_dm": {"prev_hash", "block_hash_same_on_both_nodes"},
    "node_frozen": {
        "substitute_works", "old_socket_after_SIGCONT", "client_socket_state_after_s", "push_after_SIGCONT_s",
        "owner_changed_after_freeze_s",
    },
    "node_stop_and_rehoming": {
        "delivered_before", "client_saw", "ring_healed_after_s", "held_message_arrived_at_new_owner",
        "delivered_on_substitute", "wrong_node_push_after_restart_s", "getwsaddr_changed_after_s",
        "later_pushes_after_s", "old_socket_open_after_75s", "delivered_back_home",
    },
}  # fmt: skip
"""Case → observations that its frames show, present or absent, in the same order."""

NO_PROCESS = {
    "node_stopped_by_SIGINT": {"process_exit_after_s", "exit_code"},
    "node_stop_and_rehoming": {"node_exit_after_SIGINT_s"},
}
"""Observations of the node's process; a development node in a test is none."""


CHANCE = {"receipt_oddities": {"messages_until_one_with_prev_hash"}}
"""Observations that are chance at a real node: which messages ask for a receipt is a lottery."""


async def play(case, *, strict=False):
    """Replay a case; return the differences, and which observations the script made itself."""
    times = TIMES.get(case.name, Times().every(0))
    async with Stage(case, times, HAPPENINGS, strict=strict) as stage:
        await stage.until(LEAD_S.get(case.name, 0))
        stage.began = clock.now()
        seen = await SCRIPTS.get(case.name, Stage.play)(stage) or {}
        for name, ours in seen.items():
            stage.like.values(f"observed {name}", case.observed[name], ours)
        return stage.like.differences, set(seen)


async def _stopped(stage, event):
    await stage.until(event.t)
    await stage.nodes[stage.node_named(event.conn)].down()


async def _restarted(stage, event):
    await stage.until(event.t)
    await stage.nodes[stage.node_named(event.conn)].up()


async def _frozen(stage, event):
    await stage.until(event.t)
    node = stage.nodes[stage.node_named(event.conn)]
    node.faults = replace(node.faults, frozen=event.op == "SIGSTOP")


async def _noted(stage, event):
    """The recorder asked for the newest block."""
    await stage.until(event.t)
    told = event.rest["latest"]
    answer = await stage.rpc(stage.names[0], rpcplay.standard("getlatestblockhash", {}).encode())
    stage.like.values("latest block", told, rpcplay.result_of(answer))


async def _owners(stage, event):
    """Which node is named for the case's first address, asked until the time of the event."""
    name = next(one.rest["addr"] for one in stage.case.events if one.op == "registered")
    via = stage.node_named(str(event.rest["via"]))
    question = rpcplay.standard("getwsaddr", {"address": name}).encode()
    began, history = clock.now(), []
    while True:
        answer = rpcplay.result_of(await stage.rpc(via, question))
        told = answer["addr"] if "addr" in answer else json.dumps(answer)
        if not history or history[-1][1] != told:
            history.append([round(clock.now() - began, 1), told])
        late_s = clock.now() - stage.began - event.t
        if late_s >= 0 and (len(history) == len(event.rest["history_s"]) or late_s > LATE_S):
            break
        await asyncio.sleep(0.02)
    recorded = [
        [at, f"127.0.0.1:{told}" if told.isdecimal() else told] for at, told in event.rest["history_s"]
    ]
    for one, other in zip(recorded, history, strict=False):
        other[0] = one[0] if abs(one[0] - other[0]) < 0.5 else other[0]
    stage.like.values(event.rest["what"], recorded, history)


LATE_S = 6.0
"""How much longer than recorded an answer is waited for: one question may take 5 s."""


async def _nothing(stage, event):
    """A line of the SDK's program, or what a script does."""


HAPPENINGS = {
    "SIGINT": _stopped,
    "SIGKILL": _stopped,
    "restarted": _restarted,
    "SIGSTOP": _frozen,
    "SIGCONT": _frozen,
    "note": _noted,
    "getwsaddr_answers": _owners,
    "log": _nothing,
}
"""Events of the recorder itself."""
