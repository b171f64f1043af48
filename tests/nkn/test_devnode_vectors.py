"""The node against frames that the official SDK made (nkn-sdk 1.3.6), and against each of them changed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from relay.nkn import envelope
from relay.nkn.devnode import control, verification

VECTORS = json.loads((Path(__file__).parent / "nkn-vectors.json").read_text())
SENT = {name: case for name, case in VECTORS["outbound"].items() if "src_utf8" in case}
ALICE = bytes.fromhex(VECTORS["identities"]["alice"]["ed25519_public"])
BOB = bytes.fromhex(VECTORS["identities"]["bob"]["ed25519_public"])


def judge(case, sent, known=lambda _: True):
    verification.relayable(sent)
    verification.strict(sent, case["src_utf8"], bytes.fromhex(case["node_pubkey"]), known)


@pytest.mark.parametrize("name", SENT)
def test_what_the_sdk_signs_is_right(name):
    case = SENT[name]
    sent = envelope.read(bytes.fromhex(case["client_message"]))
    judge(case, sent, {bytes.fromhex(case["block_hash"])}.__contains__)


@pytest.mark.parametrize("name", SENT)
def test_nothing_signed_may_change(name):
    case = SENT[name]
    sent = envelope.read(bytes.fromhex(case["client_message"]))
    last = bytearray(sent.signatures[-1])
    last[10] ^= 1
    changed = [
        replace(sent, nonce=sent.nonce + 1),
        replace(sent, block_hash=b"\xac" * 32),
        replace(sent, signatures=(*sent.signatures[:-1], bytes(last))),
        replace(sent, signatures=(*sent.signatures[:-1], sent.signatures[-1] + b"\0")),
        replace(sent, signatures=(*sent.signatures[:-1], b"")),
        replace(sent, dests=(*sent.dests[:-1], f"x.{sent.dests[-1]}")),
    ]
    for one in changed:
        with pytest.raises(verification.Violation) as raised:
            judge(case, one)
        assert raised.value.reason == "signature"
    for other in ({"src_utf8": f"x.{case['src_utf8']}"}, {"node_pubkey": "ab" * 32}):
        with pytest.raises(verification.Violation):
            judge({**case, **other}, sent)


def test_a_frame_without_block_hash_is_dropped_as_real_nodes_drop_it():
    frame = bytes.fromhex(VECTORS["outbound"]["single_no_block_hash"]["client_message"])
    with pytest.raises(verification.Violation) as raised:
        verification.relayable(envelope.read(frame))
    assert raised.value.reason == "block_hash_length"


def test_the_sdks_registration_and_receipt_are_right():
    told = VECTORS["auth_challenge"]
    body = control.read(told["setClient_frame_json"])
    challenge = bytes.fromhex(told["challenge"])
    assert control.proof(body, ALICE, challenge, required=True) is None
    assert control.challenge(challenge) == told["authChallenge_frame_json"]
    given = envelope.read(bytes.fromhex(VECTORS["receipt"]["client_message"]))
    verification.receipt(given, BOB)
    with pytest.raises(verification.Violation):
        verification.receipt(given, ALICE)
