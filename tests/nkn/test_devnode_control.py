"""Text frames, word for word as recorded from a real node (nknd v2.2.1)."""

import json

import pytest

from relay.nkn import sigchain
from relay.nkn.devnode import control
from relay.nkn.identity import Identity

ALICE = Identity(b"a" * 32)
KEY = ALICE.public_key.hex()
CHALLENGE, SALT = b"\x07" * 32, b"\x08" * 32


def signed(**changes):
    signature = ALICE.sign(sigchain.challenge_digest(CHALLENGE, SALT)).hex()
    return {
        "Action": "setClient",
        "Addr": f"a.{KEY}",
        "ClientSalt": SALT.hex(),
        "Signature": signature,
        **changes,
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", 41003),
        ("", 41003),
        ("[]", 41003),
        ("5", 41003),
        ("[" * 100_000, 41003),
        ('{"Action":"heartbeat"} trailing', 41003),
        ("null", 42001),
        ('{"a":1}', 42001),
        ('{"Action":5}', 42001),
        ('{"Action":["setClient"]}', 42001),
        ('{"Action":"SetClient"}', 42001),
        ('{"Action":"getwsaddr","address":"x"}', 42001),
        ('{"Action":"heartbeat","Addr":7}', 42002),
        ('{"Action":"setClient","Addr":"a","Hash":5}', 42002),
    ],
)
def test_what_is_no_request_is_refused_without_an_action(text, code):
    desc = {41003: "ILLEGAL DATAFORMAT", 42001: "INVALID METHOD", 42002: "INVALID PARAMS"}[code]
    told = control.read(text)
    assert told == f'{{"Action":"","Desc":"{desc}","Error":{code},"Result":"","Version":1}}'


def test_requests_are_read():
    assert control.read('{"Action":"heartbeat","more":1}') == {"Action": "heartbeat", "more": 1}


@pytest.mark.parametrize(
    ("action", "code", "result"),
    [
        ("heartbeat", 0, "me"),
        ("getsessioncount", 0, 3),
        ("gettxhashmap", 0, 0),
        ("sendrawtransaction", 42002, "tx should be a hex string"),
    ],
)
def test_other_actions(action, code, result):
    told = json.loads(control.answer(action, "me", 3))
    assert (told["Action"], told["Error"], told["Result"]) == (action, code, result)


def test_frames_of_the_node():
    node = {"addr": "127.0.0.1:30002", "id": "00"}
    assert control.challenge(b"\x01" * 32) == (
        f'{{"Action":"authChallenge","Challenge":"{"01" * 32}",'
        '"Desc":"SUCCESS","Error":0,"Result":"","Version":1}'
    )
    assert control.new_block(b"\x02" * 32) == (
        '{"Action":"updateSigChainBlockHash","Desc":"SUCCESS",'
        f'"Error":0,"Result":"{"02" * 32}","Version":1}}'
    )
    assert json.loads(control.accepted(node, b"\x03" * 32))["Result"] == {
        "node": node,
        "sigChainBlockHash": "03" * 32,
    }
    answered, pushed = (json.loads(control.wrong_node(node, pushed=pushed)) for pushed in (False, True))
    assert answered == {
        "Action": "setClient",
        "Desc": "WRONG NODE TO CONNECT",
        "Error": 48001,
        "Result": node,
        "Version": 1,
    }
    assert pushed == {**answered, "Action": ""}


@pytest.mark.parametrize(
    ("address", "source"),
    [
        (f"alice.{KEY}", f"alice.{KEY}"),
        (KEY, KEY),
        (f"a.b.{KEY}", f"a.b.{KEY}"),
        (f".{KEY}", KEY),
        (f"Ünï.{KEY.upper()}", f"Ünï.{KEY}"),
    ],
)
def test_addresses_as_real_nodes_read_them(address, source):
    claim = control.claim({"Addr": address})
    assert claim == control.Claim(address, source, ALICE.public_key)


@pytest.mark.parametrize(
    "address", ["", "alice.00ff", "alice", f"alice.{KEY}00", f"alice.zz{KEY[2:]}", f"\ud800.{KEY}"]
)
def test_addresses_that_are_none(address):
    refusal = control.claim({"Addr": address})
    assert isinstance(refusal, control.Refusal)
    assert (refusal.code, refusal.result, refusal.closes) == (42002, None, False)
    assert json.loads(refusal.frame())["Desc"] == "INVALID PARAMS"


def test_an_address_must_be_there():
    assert isinstance(control.claim({}), control.Refusal)


def test_a_good_signature_is_accepted():
    assert control.proof(signed(), ALICE.public_key, CHALLENGE, required=True) is None


@pytest.mark.parametrize("missing", ["ClientSalt", "Signature"])
def test_without_both_fields_it_is_unsigned(missing):
    body = {name: value for name, value in signed().items() if name != missing}
    assert control.proof(body, ALICE.public_key, CHALLENGE, required=False) is None
    refusal = control.proof(body, ALICE.public_key, CHALLENGE, required=True)
    assert (refusal.code, refusal.result, refusal.closes) == (42003, None, True)


@pytest.mark.parametrize(
    ("changes", "code", "result", "closes"),
    [
        ({"Signature": None}, 42002, {}, False),
        ({"ClientSalt": 5}, 42002, {}, False),
        ({"Signature": "zz"}, 41003, "encoding/hex: invalid byte: U+007A 'z'", False),
        ({"ClientSalt": "abc"}, 41003, "encoding/hex: odd length hex string", False),
        ({"Signature": "00ff"}, 42003, None, True),
        ({"ClientSalt": "00" * 32}, 42003, None, True),
        ({"Signature": "é"}, 41003, "encoding/hex: invalid byte: U+00C3 'Ã'", False),
    ],
)
def test_bad_signatures(changes, code, result, closes):
    refusal = control.proof(signed(**changes), ALICE.public_key, CHALLENGE, required=True)
    assert (refusal.code, refusal.result, refusal.closes) == (code, result, closes)
