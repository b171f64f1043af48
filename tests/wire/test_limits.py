"""Numbers that only make sense together: each rule here was the reason for one of them."""

import os

from relay.nkn import payload, seal
from relay.nkn.dispatch import Dispatch
from wire import limits

LONGEST_IDENTIFIER_B = 64


def test_a_full_frame_still_is_one_direct_message():
    text = payload.Payload(payload.TEXT, "x" * limits.FRAME_MAX_B, message_id=bytes(8)).encode()
    sealed = seal.seal(text, os.urandom(32), os.urandom(24))
    dest = "i" * LONGEST_IDENTIFIER_B + "." + "0" * 64
    assert Dispatch((dest,), (sealed,)).size <= limits.DM_MAX_B


def test_a_direct_message_still_is_one_frame_for_the_node():
    assert limits.DM_MAX_B + 64 * 1024 <= limits.NODE_FRAME_MAX_B


def test_the_largest_configurable_body_fits_a_frame_as_base64():
    assert (limits.MAX_BODY_LIMIT_B + 2) // 3 * 4 <= limits.LINE_MAX_B <= limits.FRAME_MAX_B
    assert limits.MAX_BODY_B <= limits.MAX_BODY_LIMIT_B


def test_one_lost_pong_does_not_cost_the_session():
    assert 2 * limits.PONG_S < limits.NODE_PONG_TIMEOUT_S


def test_silence_is_longer_than_two_pings_of_the_node():
    assert limits.SILENCE_S > 2 * limits.NODE_PING_S


def test_a_fragment_on_the_slowest_path_we_serve_arrives_before_the_node_cuts_it():
    slowest_b_per_s = 2_000
    assert limits.FRAGMENT_B / slowest_b_per_s < limits.NODE_PONG_TIMEOUT_S
    assert limits.FRAGMENT_B < limits.FRAGMENT_OVER_B


def test_a_batch_with_its_seal_goes_out_in_one_piece():
    assert limits.FRAME_TARGET_B + 4 * 1024 <= limits.FRAGMENT_OVER_B


def test_a_chunk_as_base64_fits_a_batch():
    assert (limits.CHUNK_B + 2) // 3 * 4 < limits.FRAME_TARGET_B


def test_the_outbox_holds_several_of_the_largest_messages():
    assert limits.OUTBOX_MAX_B >= 4 * limits.DM_MAX_B


def test_reading_on_begins_well_below_where_it_stopped():
    assert limits.UNSENT_LOW_B * 2 <= limits.UNSENT_HIGH_B <= limits.OUTBOX_MAX_B


def test_defaults_lie_within_their_bounds():
    assert limits.WORKERS <= limits.WORKERS_MAX
    assert limits.QUEUE <= limits.QUEUE_MAX
    assert limits.TIMEOUT_MS <= limits.TIMEOUT_MAX_MS
    assert limits.RECONNECT_MIN_S <= limits.RECONNECT_MAX_S
