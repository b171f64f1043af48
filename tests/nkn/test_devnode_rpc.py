"""JSON-RPC, as recorded from a real node (nknd v2.2.1)."""

import json

import pytest

from relay.nkn.devnode import rpc, upgrade
from relay.nkn.devnode.answer import TOO_MANY, Answer, Asked, malformed
from relay.nkn.devnode.ring import Place, Ring

KEY = "46cfc45473aa0d2e8b4f849de8f2d0bdfa2bebb2f36291cf9ff6c1d7feba2d22"


class Node:
    def __init__(self, first_byte, wss="h:2"):
        self.place = Place(bytes([first_byte]) * 32, b"\x02" * 32, "h:1", wss, "h:3")
        self.frozen = False

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
    state = ask(office, "getnodestate", {})["result"]
    assert state.keys() == {
        "addr", "currTimeStamp", "height", "id", "jsonRpcPort", "proposalSubmitted", "protocolVersion",
        "publicKey", "relayMessageCount", "syncState", "tlsJsonRpcPort", "tlsWebsocketPort", "uptime",
        "version", "websocketPort",
    }  # fmt: skip
    idle = ("proposalSubmitted", "relayMessageCount", "tlsJsonRpcPort")
    assert [state[name] for name in idle] == [0, 0, 0]
    assert (state["addr"], state["version"]) == ("tcp://h:1", "devnode")
    assert (state["syncState"], state["publicKey"], state["tlsWebsocketPort"]) == (
        "PERSIST_FINISHED",
        "02" * 32,
        2,
    )
    assert len(state) == 15
    office.ring.chain.advance()
    assert ask(office, "getlatestblockheight", {})["result"] == 1
    assert ask(office, "getneighbor", {})["result"] == []
    assert ask(office, "getmyextip", {"RemoteAddr": ""})["result"] == {"RemoteAddr": "127.0.0.1"}
    assert ask(office, "getnoncebyaddr", {"address": "NKN"})["result"] == {
        "currentHeight": 1,
        "nonce": 0,
        "nonceInTxPool": 0,
    }
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
    assert rpc.failure("429") == TOO_MANY
    broken, error, garbage = (rpc.failure(kind) for kind in ("500", "error", "garbage"))
    assert (broken.status, broken.headers) == (500, rpc.CORS)
    assert json.loads(error.body)["error"]["code"] == -45001
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(garbage.body)


def test_a_node_without_tls_has_no_port_for_it(office):
    assert (
        ask(rpc.Office(office.ring, Node(1, wss="").place), "getnodestate", {})["result"]["tlsWebsocketPort"]
        == 0
    )


@pytest.mark.parametrize(
    ("offer", "data"),
    [
        ("eHh4", "invalid character 'x' looking for beginning of value"),
        ("", "unexpected end of JSON input"),
        ("???", "illegal base64 data at input byte 0"),
        ("e30=", "the development node has no WebRTC"),
    ],
)
def test_there_is_no_webrtc(office, offer, data):
    error = ask(office, "getpeeraddr", {"address": KEY, "offer": offer})["error"]
    assert error == {"code": -45001, "data": data, "message": "INTERNAL ERROR"}


def test_a_call_without_an_offer_makes_the_node_fall_over(office):
    body = json.dumps({"id": "x", "method": "getpeeraddr", "params": {"address": KEY}}).encode()
    answer = office.answer("POST", body)
    assert (answer.status, answer.headers) == (500, rpc.CORS)
    assert answer.body == b'{"error":{"code":-45001,"message":"INTERNAL ERROR"},"id":"1","jsonrpc":"2.0"}'


def test_ids_of_other_nodes_are_unknown(office):
    assert ask(office, "getid", {"publickey": "02" * 32})["result"]["id"] == "01" * 32
    error = ask(office, "getid", {"publickey": KEY})["error"]
    assert (error["code"], error["data"]) == (-45022, None)


@pytest.mark.parametrize("method", ["getwsaddr", "getnodestate"])
def test_a_node_that_joins_has_no_place_yet(office, method):
    body = {"id": "x", "method": method, "params": {"address": KEY}}
    error = json.loads(office.answer("POST", json.dumps(body).encode(), joining=True).body)["error"]
    assert (error["code"], error["publicKey"]) == (-45022, "02" * 32)
    assert error["message"].startswith("No ID in this account")
    height = json.dumps({"id": "x", "method": "getlatestblockheight"}).encode()
    assert json.loads(office.answer("POST", height, joining=True).body)["result"] == 0


def test_a_lying_seed_sends_everybody_elsewhere(office):
    liar = rpc.Office(office.ring, office.place, "nowhere:1")
    told = ask(liar, "getwsaddr", {"address": KEY})["result"]
    assert (told["addr"], told["pubkey"]) == ("nowhere:1", "02" * 32)


def test_a_frozen_owner_does_not_reply(office):
    office.ring.leave(office.ring.members[0])
    frozen = Node(2)
    frozen.frozen = True
    office.ring.join(frozen)
    body = json.dumps({"id": "x", "method": "getwsaddr", "params": {"address": KEY}}).encode()
    answer = office.answer("POST", body)
    assert json.loads(answer.body)["error"]["data"] == "Wait for reply timeout"
    assert answer.after_s == 5.0


# -- HTTP ------------------------------------------------------------------------------------

PLAIN = "Content-Type: text/plain; charset=utf-8"
REFUSAL = (
    f"HTTP/1.1 400 Bad Request\r\n{PLAIN}\r\nSec-Websocket-Version: 13\r\nX-Content-Type-Options: nosniff"
)


@pytest.mark.parametrize(
    ("asked", "answer", "close", "raw"),
    [
        (
            Asked("POST"),
            Answer(200, b"{}", (("A", "b"),)),
            True,
            "HTTP/1.1 200 OK\r\nA: b\r\nDate: now\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        (Asked("HEAD"), Answer(200, headers=()), False, "HTTP/1.1 200 OK\r\nDate: now\r\n\r\n"),
        (
            Asked("GET", version="1.0"),
            TOO_MANY,
            True,
            "HTTP/1.0 429 Too Many Requests\r\nDate: now\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            Asked("GET"),
            malformed(": why"),
            True,
            f"HTTP/1.1 400 Bad Request: why\r\n{PLAIN}\r\nConnection: close\r\n\r\n400 Bad Request: why",
        ),
        (
            Asked("GET"),
            upgrade.REFUSED,
            False,
            f"{REFUSAL}\r\nDate: now\r\nContent-Length: 12\r\n\r\nBad Request\n",
        ),
    ],
)
def test_answers_are_written_as_a_real_node_writes_them(asked, answer, close, raw):
    assert answer.encode(asked, "now", close=close) == raw.encode()


WANTED = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "WebSocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-extensions": "permessage-deflate",
    "origin": "https://example.org",
}


def test_the_answer_to_an_upgrade_has_three_headers():
    assert upgrade.accepted(Asked("GET", "/any?x=1", headers=WANTED)) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"connection": "close"},
        {"upgrade": "h2c"},
        {"sec-websocket-version": "8"},
        {"sec-websocket-key": ""},
        {"sec-websocket-key": "dGhlIHNhbXBsZQ=="},
        {"sec-websocket-key": "?"},
        {"sec-websocket-key": "\u00ff"},
    ],
)
def test_what_asks_for_no_websocket(changes):
    assert upgrade.accepted(Asked("GET", headers={**WANTED, **changes})) is None


def test_only_get_is_upgraded():
    assert upgrade.accepted(Asked("POST", headers=WANTED)) is None
