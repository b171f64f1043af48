"""Dialogues with a node: what it says and what the clock says go in, steps come out, in order."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn import identity, sigchain
from relay.nkn.identity import Identity
from relay.nkn.session import Dead, Moved, NodeInfo, NodeSession, Ping, Pong, Ready, Refused, Say, State
from wire import limits

ALICE = Identity(b"\1" * 32)
ADDRESS = f"__0__.alicé.{ALICE.public_key.hex()}"
RPC_KEY, NODE_KEY = b"r" * 32, b"n" * 32
HASH, LATER_HASH = b"\xaa" * 32, b"\xbb" * 32
CHALLENGE, SALT = b"c" * 32, b"s" * 32
T0 = 1000.0

NODE = {
    "addr": "10.0.0.1:30002",
    "pubkey": NODE_KEY.hex(),
    "rpcAddr": "10.0.0.1:30003",
    "id": "00",
    "sdp": "",
}
OTHER = NodeInfo("10.0.0.1:30002", NODE_KEY, "10.0.0.1:30003")


def frame(action, result=None, error=0, **more):
    return json.dumps(
        {"Action": action, "Desc": "SOMETHING", "Error": error, "Result": result, "Version": 1, **more}
    )


GREETING_FRAME = frame("authChallenge", "", Challenge=CHALLENGE.hex())
ACCEPTED = frame("setClient", {"node": NODE, "sigChainBlockHash": HASH.hex()})
WRONG_NODE = frame("setClient", NODE, 48001)
WRONG_NODE_PUSH = frame("", NODE, 48001)
REFUSED = frame("setClient", None, 42003)
NEW_HASH = frame("updateSigChainBlockHash", LATER_HASH.hex())


def session(state=State.GREETING):
    one = NodeSession(ALICE, ADDRESS, RPC_KEY, lambda n: (SALT * 2)[:n], T0)
    one.opened(T0)
    if state is not State.GREETING:
        one.feed(GREETING_FRAME, T0)
    if state is State.READY:
        assert one.feed(ACCEPTED, T0) == [Ready()]
    assert one.state is state
    return one


def said(steps):
    """The JSON of the only step, which says something."""
    (step,) = steps
    assert isinstance(step, Say)
    return json.loads(step.text)


# -- the table, cell by cell ------------------------------------------------------------


def assert_signed(answer):
    assert answer["Action"] == "setClient"
    assert answer["Addr"] == ADDRESS
    assert bytes.fromhex(answer["ClientSalt"]) == SALT
    digest = sigchain.challenge_digest(CHALLENGE, bytes.fromhex(answer["ClientSalt"]))
    assert identity.verify(ALICE.public_key, digest, bytes.fromhex(answer["Signature"]))


def test_greeting_challenge_registers_with_a_signature():
    one = session()
    assert_signed(said(one.feed(GREETING_FRAME, T0)))
    assert one.state is State.REGISTERING


def test_registering_challenge_is_answered_again():
    one = session(State.REGISTERING)
    assert_signed(said(one.feed(GREETING_FRAME, T0)))
    assert one.state is State.REGISTERING


def test_ready_challenge_is_passed_over():
    one = session(State.READY)
    assert one.feed(GREETING_FRAME, T0) == []
    assert one.state is State.READY


def test_greeting_setclient_ok_is_no_registration():
    one = session()
    assert one.feed(ACCEPTED, T0) == []
    assert one.state is State.GREETING


def test_registering_setclient_ok_is_ready_with_the_nodes_own_key():
    one = session(State.REGISTERING)
    assert one.feed(ACCEPTED, T0) == [Ready()]
    assert one.state is State.READY
    assert (one.state, one.block_hash, one.node_key) == (State.READY, HASH, NODE_KEY)


def test_ready_setclient_ok_changes_nothing():
    one = session(State.READY)
    other = frame("setClient", {"node": {**NODE, "pubkey": "00" * 32}, "sigChainBlockHash": LATER_HASH.hex()})
    assert one.feed(other, T0) == []
    assert (one.block_hash, one.node_key) == (HASH, NODE_KEY)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("text", [WRONG_NODE, WRONG_NODE_PUSH], ids=["answer", "push"])
def test_wrong_node_names_the_other_one_in_every_state(state, text):
    one = session(state)
    assert one.feed(text, T0) == [Moved(OTHER)]
    assert one.state is state


@pytest.mark.parametrize("state", State)
def test_wrong_node_without_a_usable_node_says_so(state):
    assert session(state).feed(frame("", {"addr": "nowhere"}, 48001), T0) == [Moved(None)]


@pytest.mark.parametrize("state", [State.GREETING, State.REGISTERING])
def test_a_refusal_before_ready_ends_the_session(state):
    (step,) = session(state).feed(REFUSED, T0)
    assert (step.code, step.reason) == (42003, "SOMETHING")


def test_ready_refusal_is_passed_over():
    one = session(State.READY)
    assert one.feed(REFUSED, T0) == []
    assert one.state is State.READY


@pytest.mark.parametrize("state", State)
def test_a_block_hash_is_kept_in_every_state(state):
    one = session(state)
    assert one.feed(NEW_HASH, T0) == []
    assert one.block_hash == LATER_HASH
    assert one.state is state


def test_greeting_registers_unsigned_when_no_challenge_comes_in_time():
    one = session()
    assert one.due_at() == T0 + limits.CHALLENGE_WAIT_S
    assert one.advance(T0 + limits.CHALLENGE_WAIT_S - 0.01) == []
    (step,) = one.advance(T0 + limits.CHALLENGE_WAIT_S)
    assert said([step]) == {"Action": "setClient", "Addr": ADDRESS}
    assert "alicé" in step.text
    assert one.due_at() == T0 + limits.CHALLENGE_WAIT_S + limits.REGISTER_WAIT_S
    assert one.state is State.REGISTERING
    assert one.feed(ACCEPTED, T0 + 6) == [Ready()]


def test_registering_is_dead_when_the_node_does_not_answer():
    one = session(State.REGISTERING)
    assert one.due_at() == T0 + limits.REGISTER_WAIT_S
    assert one.advance(T0 + limits.REGISTER_WAIT_S - 0.01) == []
    (step,) = one.advance(T0 + limits.REGISTER_WAIT_S)
    assert isinstance(step, Dead)
    assert "setClient" in step.reason


def test_a_node_that_only_repeats_its_challenge_is_given_up_in_time():
    one = session(State.REGISTERING)
    one.feed(GREETING_FRAME, T0 + limits.REGISTER_WAIT_S - 1)
    (step,) = one.advance(T0 + limits.REGISTER_WAIT_S)
    assert isinstance(step, Dead)


def test_ready_pongs_often_and_pings_now_and_then():
    one = session(State.READY)
    steps = []
    now = T0
    for _ in range(8):
        one.heard(now)
        now = one.due_at()
        steps += [(now - T0, step) for step in one.advance(now)]
    assert steps[:6] == [
        (4.0, Pong()),
        (8.0, Pong()),
        (8.0, Ping()),
        (12.0, Pong()),
        (16.0, Pong()),
        (16.0, Ping()),
    ]


def test_ready_has_nothing_to_do_before_it_is_due():
    assert session(State.READY).advance(T0 + limits.PONG_S - 0.01) == []


def test_ready_is_dead_when_nothing_came_for_too_long():
    one = session(State.READY)
    one.advance(T0 + 4)
    one.advance(T0 + 8)
    one.advance(T0 + 12)
    one.advance(T0 + 16)
    assert one.due_at() == T0 + limits.SILENCE_S
    (step,) = one.advance(T0 + limits.SILENCE_S)
    assert isinstance(step, Dead)
    assert "18 s" in step.reason


@pytest.mark.parametrize("life", [lambda s, now: s.heard(now), lambda s, now: s.feed("no json", now)])
def test_any_byte_of_the_node_is_life(life):
    one = session(State.READY)
    life(one, T0 + 10)
    assert not any(isinstance(step, Dead) for step in one.advance(T0 + limits.SILENCE_S))
    assert any(isinstance(step, Dead) for step in one.advance(T0 + 10 + limits.SILENCE_S))


def test_the_time_it_took_to_dial_does_not_count():
    one = NodeSession(ALICE, ADDRESS, RPC_KEY, lambda n: (SALT * 2)[:n], T0)
    one.opened(T0 + 9)
    assert one.advance(T0 + 9.1) == []
    assert one.due_at() == T0 + 9 + limits.CHALLENGE_WAIT_S


# -- what a node may get wrong ------------------------------------------------------------


def test_a_challenge_that_is_not_hexadecimal_is_refused():
    for challenge in ("xyz", None, 5.5):
        assert session().feed(frame("authChallenge", "", Challenge=challenge), T0) == [
            Refused(0, "the node's challenge is not hexadecimal")
        ]


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        {},
        {"node": NODE},
        {"node": NODE, "sigChainBlockHash": ""},
        {"node": NODE, "sigChainBlockHash": "aa" * 31},
        {"node": NODE, "sigChainBlockHash": "zz" * 32},
        {"node": NODE, "sigChainBlockHash": 5},
    ],
)
def test_an_answer_without_a_usable_block_hash_is_no_registration(result):
    # A message signed without 32 bytes of hash would be dropped by the first node, silently.
    one = session(State.REGISTERING)
    assert one.feed(frame("setClient", result), T0) == [
        Refused(0, "the node's answer lacks its key or a block hash")
    ]
    assert one.state is not State.READY


def test_a_block_hash_that_came_earlier_will_do():
    one = session(State.REGISTERING)
    one.feed(NEW_HASH, T0)
    assert one.feed(frame("setClient", {"node": NODE}), T0) == [Ready()]
    assert one.block_hash == LATER_HASH


@pytest.mark.parametrize("node", [None, {**NODE, "pubkey": ""}, {**NODE, "addr": 5}])
def test_a_node_that_does_not_tell_its_key_has_the_one_that_rpc_told(node):
    one = session(State.REGISTERING)
    assert one.feed(frame("setClient", {"node": node, "sigChainBlockHash": HASH.hex()}), T0) == [Ready()]
    assert one.node_key == RPC_KEY


def test_without_any_key_of_the_node_nothing_can_be_signed():
    one = NodeSession(ALICE, ADDRESS, b"", lambda n: (SALT * 2)[:n], T0)
    one.feed(GREETING_FRAME, T0)
    (step,) = one.feed(frame("setClient", {"sigChainBlockHash": HASH.hex()}), T0)
    assert isinstance(step, Refused)


@pytest.mark.parametrize("result", ["aa" * 31, "zz" * 32, "", None, 5, []])
def test_a_bad_block_hash_does_not_replace_a_good_one(result):
    one = session(State.READY)
    one.feed(frame("updateSigChainBlockHash", result), T0)
    assert one.block_hash == HASH


@pytest.mark.parametrize("error", [1, [], {}, "0"])
def test_a_block_hash_with_an_error_is_not_kept(error):
    one = session(State.READY)
    assert one.feed(frame("updateSigChainBlockHash", LATER_HASH.hex(), error), T0) == []
    assert one.block_hash == HASH


def test_a_block_hash_without_error_field_is_kept():
    one = session(State.READY)
    one.feed(json.dumps({"Action": "updateSigChainBlockHash", "Result": LATER_HASH.hex()}), T0)
    assert one.block_hash == LATER_HASH


@pytest.mark.parametrize("desc", [None, "", "x" * 500])
def test_a_refusal_has_a_bounded_reason_whatever_the_node_says(desc):
    text = json.dumps({"Action": "setClient", "Error": "broken", "Desc": desc})
    (step,) = session(State.REGISTERING).feed(text, T0)
    assert step.code == 0
    assert 0 < len(step.reason) <= 121


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "Action": st.sampled_from(["authChallenge", "setClient", "updateSigChainBlockHash", "", "heartbeat"])
        | JSONS,
        "Error": st.sampled_from([0, 48001]) | JSONS,
        "Desc": JSONS,
        "Result": st.fixed_dictionaries(
            {}, optional={"node": st.just(NODE) | JSONS, "sigChainBlockHash": JSONS}
        )
        | JSONS,
        "Challenge": st.just(CHALLENGE.hex()) | JSONS,
    },
)


@given(st.sampled_from(State), st.one_of(FRAMES, JSONS).map(json.dumps) | st.text())
def test_nothing_a_node_says_makes_it_raise(state, text):
    one = session(state)
    for step in one.feed(text, T0):
        assert isinstance(step, Say | Ready | Moved | Refused)
    assert one.due_at() >= T0


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "null", "{}", "[" * 100_000, '{"Action":"heartbeat","Error":0}']
)
def test_frames_that_are_not_understood_are_passed_over(text):
    assert session().feed(text, T0) == []


# -- NodeInfo -----------------------------------------------------------------------------


def test_a_node_is_read_from_its_description():
    assert NodeInfo.parse(NODE) == OTHER
    assert NodeInfo.parse({"addr": "node.example:443"}) == NodeInfo("node.example:443")
    for addr in ("[::1]:80", "host:1", "host:65535"):
        assert NodeInfo.parse({"addr": addr}) == NodeInfo(addr)


@pytest.mark.parametrize("rpc", [5, None, "http://x/", "x", "x:0"])
def test_a_useless_rpc_address_is_left_out(rpc):
    assert NodeInfo.parse({**NODE, "rpcAddr": rpc}) == NodeInfo(OTHER.addr, NODE_KEY)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        "10.0.0.1:30002",
        {},
        {"addr": 5},
        {**NODE, "pubkey": 5},
        {**NODE, "pubkey": "zz"},
        {**NODE, "pubkey": "aa"},
    ],
)
def test_what_does_not_describe_a_node_is_none(raw):
    assert NodeInfo.parse(raw) is None


@pytest.mark.parametrize(
    "addr",
    ["", "host", "host:", ":80", "host:0", "host:65536", "host:123456", "host:x", "ws://host:80",
     "host:80/path", "user@host:80", "ho st:80", "host:80\r\n", "host?:80", "host#:80"],
)  # fmt: skip
def test_an_address_that_is_more_or_less_than_host_and_port_is_no_node(addr):
    assert NodeInfo.parse({**NODE, "addr": addr}) is None


@given(JSONS | st.fixed_dictionaries({}, optional={"addr": JSONS, "pubkey": JSONS, "rpcAddr": JSONS}))
def test_any_json_is_a_node_or_none(raw):
    node = NodeInfo.parse(raw)
    assert node is None or (":" in node.addr and len(node.pubkey) in {0, 32})


def test_before_its_websocket_stands_its_time_begins_with_itself():
    one = NodeSession(ALICE, ADDRESS, RPC_KEY, lambda n: SALT[:n], T0)
    assert one.due_at() == T0 + limits.CHALLENGE_WAIT_S


@pytest.mark.parametrize(
    ("rpc", "kept"), [("10.0.0.1:30003", "10.0.0.1:30003"), ("x", ""), (None, ""), (5, "")]
)
def test_a_node_without_rpc_is_a_node(rpc, kept):
    raw = {"addr": "10.0.0.1:30002", "pubkey": NODE_KEY.hex(), "rpcAddr": rpc}
    assert NodeInfo.parse(raw) == NodeInfo("10.0.0.1:30002", NODE_KEY, kept)
    del raw["rpcAddr"]
    assert NodeInfo.parse(raw) == NodeInfo("10.0.0.1:30002", NODE_KEY, "")
