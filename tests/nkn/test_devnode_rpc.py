"""JSON-RPC, as recorded from a real node (nknd v2.2.1)."""

import json

import pytest

from relay.nkn.devnode import rpc
from relay.nkn.devnode.ring import Place, Ring

KEY = "46cfc45473aa0d2e8b4f849de8f2d0bdfa2bebb2f36291cf9ff6c1d7feba2d22"


class Node:
    def __init__(self, first_byte, wss="h:2"):
        self.place = Place(bytes([first_byte]) * 32, b"\x02" * 32, "h:1", wss, "h:3")

    def ring_changed(self):
        pass


@pytest.fixture
def office():
    ring, node = Ring(bytes), Node(1)
    ring.join(node)
    return rpc.Office(ring, node.place)


def ask(office, method, params=..., **more):
    asked = {"id": "x", "jsonrpc": "2.0", "method": method, "params": params, **more}
    answer = office.answer("POST", json.dumps({k: v for k, v in asked.items() if v is not ...}).encode())
    assert (answer.status, answer.headers) == (200, rpc.CORS)
    return json.loads(answer.body)


def test_where_an_address_lives(office):
    told = {"id": "01" * 32, "pubkey": "02" * 32, "rpcAddr": "h:3", "sdp": ""}
    asked = {"address": f"alice.{KEY}"}
    assert ask(office, "getwsaddr", asked) == {"id": "x", "jsonrpc": "2.0", "result": {"addr": "h:1", **told}}
    assert ask(office, "getwssaddr", asked)["result"] == {"addr": "h:2", **told}


def test_the_owner_is_named_whoever_is_asked(office):
    office.ring.join(Node(0, wss=""))
    office.ring.leave(next(iter(office.ring.members)))
    told = ask(office, "getwsaddr", {"address": KEY})["result"]
    assert told["id"] == "00" * 32
    assert ask(office, "getwssaddr", {"address": KEY})["error"] == {
        "code": -45001,
        "data": "predecessor node doesn't support WSS protocol",
        "message": "INTERNAL ERROR",
    }


@pytest.mark.parametrize(
    ("params", "code", "data"),
    [
        ([], -42002, None),
        ({}, -42002, "length of params is less than 1"),
        (None, -42002, "length of params is less than 1"),
        (..., -42002, "length of params is less than 1"),
        ({"address": 5}, -45001, "address should be a string"),
        ({"address": f"alice.zz{KEY[2:]}"}, -45001, "encoding/hex: invalid byte: U+007A 'z'"),
        ({"address": "alice"}, -45001, "encoding/hex: invalid byte: U+006C 'l'"),
    ],
)
def test_params_that_are_none(office, params, code, data):
    error = ask(office, "getwsaddr", params)["error"]
    assert (error["code"], error.get("data")) == (code, data)


@pytest.mark.parametrize("address", ["", "alice.00ff", f"ALICE.{KEY.upper()}", f"\ud800.{KEY}"])
def test_addresses_a_real_node_looks_up(office, address):
    assert ask(office, "getwsaddr", {"address": address})["result"]["addr"] == "h:1"


def test_an_empty_ring_has_no_owner(office):
    office.ring.leave(office.ring.members[0])
    assert ask(office, "getwsaddr", {"address": KEY})["error"]["data"] == "Found no predecessors"


@pytest.mark.parametrize("method", ["nosuch", 5, None, ..., ["getwsaddr"]])
def test_methods_that_are_none(office, method):
    assert ask(office, method, {})["error"] == {"code": -42001, "message": "INVALID METHOD"}


def test_state_blocks_names_and_topics(office):
    assert ask(office, "getnodestate", {})["result"]["syncState"] == "PERSIST_FINISHED"
    office.ring.chain.advance()
    assert ask(office, "getlatestblockheight", {})["result"] == 1
    assert ask(office, "getlatestblockhash", {})["result"] == {"hash": "00" * 32, "height": 1}
    assert ask(office, "getregistrant", {"name": "n"})["result"] == {"expiresAt": 0, "registrant": ""}
    assert ask(office, "getsubscribers", {"topic": "t"})["result"] == {"subscribers": []}


@pytest.mark.parametrize(
    "body", [b"this is not json", b"", b'[{"id":"x"}]', b"\xef\xbb\xbf{}", b"[" * 100_000, b"\xff"]
)
def test_bodies_that_are_none(office, body):
    answer = json.loads(office.answer("POST", body).body)
    assert answer == {"error": {"code": -42004, "message": "INVALID JSON"}, "id": "", "jsonrpc": "2.0"}


def test_ids_that_are_no_text(office):
    assert ask(office, "getlatestblockheight", {}, id=7)["id"] == "1"
    assert json.loads(office.answer("POST", b"null").body)["id"] == "1"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_other_methods_get_headers_only(office, method):
    assert office.answer(method, b"whatever") == rpc.Answer(200, b"", rpc.CORS)


def test_failures():
    assert rpc.failure("429") == rpc.Answer(429, b"", ())
    broken, error, garbage = (rpc.failure(kind) for kind in ("500", "error", "garbage"))
    assert (broken.status, broken.headers) == (500, rpc.CORS)
    assert json.loads(error.body)["error"]["code"] == -45001
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(garbage.body)
