"""The node on paper: dialogues of frames in and steps out."""

import itertools
import json
import os
import zlib

import pytest

from relay.nkn import address, envelope, seal, sigchain
from relay.nkn import messages_pb2 as pb
from relay.nkn.devnode import control, limits
from relay.nkn.devnode.core import NodeCore
from relay.nkn.devnode.faults import Faults
from relay.nkn.devnode.ring import Place, Ring
from relay.nkn.devnode.steps import Cut, Deliver, Forward, Report, Write
from relay.nkn.identity import Identity

ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
A, B = f"alice.{ALICE.public_key.hex()}", f"__1__.bob.{BOB.public_key.hex()}"


class Node:
    """One node; the ring's other end of its core."""

    def __init__(self, ring, first_byte=0, *, strict=True, faults=None, **options):
        self.place = Place(
            bytes([first_byte]) * 32, Identity(bytes([first_byte]) * 32).public_key, "h:1", "h:2", "h:3"
        )
        self.ring = ring
        self.frozen = False
        self.core = NodeCore(self, ring, entropy=ring.entropy, strict=strict, **options)
        self.core.renew(faults or Faults())
        self.steps = []
        ring.join(self)

    def take(self, parcel):
        self.steps += self.core.take(parcel, 0.0)

    def ring_changed(self):
        self.steps += self.core.rehome()

    def block_made(self):
        self.steps += self.core.announce_block()

    def connect(self, *, tls=False):
        session, _ = self.core.open(tls=tls)
        return session

    def register(self, identity, addr, *, tls=False):
        session = self.connect(tls=tls)
        steps = self.core.text(session, claim(session, identity, addr))
        assert (json.loads(steps[0].text)["Action"], json.loads(steps[0].text)["Error"]) == ("setClient", 0)
        assert {step.session for step in steps} == {session}
        return session

    def send(self, session, frame):
        """What the frame leads to at its destinations, and the reports."""
        self.steps = []
        for step in self.core.binary(session, frame):
            if isinstance(step, Forward):
                step.owner.take(step.parcel)
            else:
                self.steps.append(step)
        return self.steps


@pytest.fixture
def ring():
    numbers = itertools.count(1)

    def entropy(size):
        return next(numbers).to_bytes(size)

    made = Ring(entropy)
    made.entropy = entropy
    return made


@pytest.fixture
def node(ring):
    return Node(ring)


def claim(session, identity, addr, **changes):
    salt = b"\x05" * 32
    signature = identity.sign(sigchain.challenge_digest(session.challenge, salt))
    body = {
        "Action": "setClient",
        "Addr": addr,
        "ClientSalt": salt.hex(),
        "Signature": signature.hex(),
        **changes,
    }
    return json.dumps({name: value for name, value in body.items() if value is not None})


def sealed(text=b"hi", to=BOB):
    return seal.seal(text, ALICE.shared_key(to.public_key), os.urandom(24))


def outbound(
    node, dests=(B,), payloads=None, *, nonce=7, block_hash=None, source=A, signer=ALICE, hold=0, key=None
):
    head = sigchain.Head(
        nonce,
        node.ring.chain.latest if block_hash is None else block_hash,
        source,
        key or node.place.public_key,
    )
    return envelope.outbound(signer, head, dests, payloads or [sealed()], hold)


def only(steps):
    assert len(steps) == 1
    return steps[0]


def reason(node):
    return [name.removeprefix("dropped_") for name in node.core.counts if name.startswith("dropped_")]


# -- registering ---------------------------------------------------------------------------


def test_the_challenge_comes_first(node):
    session, steps = node.core.open(tls=False)
    assert json.loads(only(steps).text)["Challenge"] == session.challenge.hex()
    assert len(session.challenge) == 32


def test_without_a_challenge_clients_may_register_unsigned(ring):
    node = Node(ring, faults=Faults(no_challenge=True))
    session, steps = node.core.open(tls=False)
    assert (session.challenge, steps) == (b"", [])
    answer = only(node.core.text(session, json.dumps({"Action": "setClient", "Addr": A})))
    assert json.loads(answer.text)["Error"] == 0


def test_a_signed_claim_is_answered_with_node_and_block_hash(node):
    session = node.connect(tls=True)
    answer = only(node.core.text(session, claim(session, ALICE, A)))
    assert json.loads(answer.text)["Result"] == {
        "node": node.place.described(tls=True),
        "sigChainBlockHash": node.ring.chain.latest.hex(),
    }
    assert (session.address, session.source) == (A, A)


@pytest.mark.parametrize(
    ("changes", "code", "closes"),
    [
        ({"Addr": "alice"}, 42002, False),
        ({"Signature": None}, 42003, True),
        ({"Signature": "00" * 64}, 42003, True),
        ({"Signature": "zz"}, 41003, False),
    ],
)
def test_bad_claims_are_refused_and_reported(node, changes, code, closes):
    session = node.connect()
    answer, report, *more = node.core.text(session, claim(session, ALICE, A, **changes))
    assert json.loads(answer.text)["Error"] == code
    assert str(code) in report.line
    assert more == ([Cut(session, limits.REFUSED_CLOSE_S)] if closes else [])
    assert session.address == ""


def test_a_lenient_node_takes_unsigned_claims(ring):
    node = Node(ring, strict=False)
    session = node.connect()
    node.core.text(session, claim(session, ALICE, A, Signature=None))
    assert session.address == A


def test_the_refuse_fault_refuses_all(node):
    node.core.renew(Faults(refuse=True))
    session = node.connect()
    steps = node.core.text(session, claim(session, ALICE, A))
    assert json.loads(steps[0].text)["Error"] == control.BAD_SIGNATURE
    assert steps[-1] == Cut(session, limits.REFUSED_CLOSE_S)


def test_garbage_and_other_actions_are_answered(node):
    session = node.connect()
    answer, report = node.core.text(session, "garbage")
    assert json.loads(answer.text)["Error"] == control.ILLEGAL_FORMAT
    assert report == Report("refused a text frame that is no request (socket 1, not registered)")
    assert answer.session is session
    assert json.loads(only(node.core.text(session, '{"Action":"getsessioncount"}')).text)["Result"] == 1


def test_registering_again_on_the_same_socket(node):
    session = node.register(ALICE, A)
    assert json.loads(only(node.core.text(session, claim(session, ALICE, A))).text)["Error"] == 0
    second = node.register(ALICE, A)
    answer, _ = node.core.text(session, claim(session, ALICE, A))
    assert json.loads(answer.text)["Error"] == control.INTERNAL
    other = f"other.{ALICE.public_key.hex()}"
    node.core.text(second, claim(second, ALICE, other))
    assert node.core.registry.at(address.client_id(A)) == [session]
    assert node.core.registry.at(address.client_id(other)) == [second]
    node.core.close(session)
    assert node.core.registry.at(address.client_id(A)) == []


# -- wrong node ------------------------------------------------------------------------------


def test_an_address_of_another_node_is_sent_there(ring):
    low, high = Node(ring, 0x00), Node(ring, 0x80)
    addr = next(a for a in (f"{n}.{A}" for n in itertools.count()) if address.client_id(a)[0] >= 0x80)
    session = low.connect()
    step = only(low.core.text(session, claim(session, ALICE, addr)))
    told = json.loads(step.text)
    assert step.session is session
    assert (told["Action"], told["Error"]) == ("setClient", control.WRONG_NODE)
    assert told["Result"] == high.place.described(tls=False)
    assert session.address == ""


def test_clients_are_pushed_when_their_address_changes_hands(ring):
    low = Node(ring, 0x00)
    low.register(ALICE, A)
    addr = next(a for a in (f"{n}.{A}" for n in itertools.count()) if address.client_id(a)[0] >= 0x80)
    session = low.register(ALICE, addr)
    high = Node(ring, 0x80)
    homes = {True: high, False: low}
    pushed = [step for step in low.steps if step.session is session]
    told = json.loads(only(pushed).text)
    assert (told["Action"], told["Error"]) == ("", control.WRONG_NODE)
    assert told["Result"] == high.place.described(tls=False)
    assert len(low.steps) == 1 + (homes[address.client_id(A)[0] >= 0x80] is high)


def test_staged_wrong_node_answers_end(node):
    node.core.renew(Faults(wrong_node=2, wrong_node_addr="nowhere:1"))
    session = node.connect()
    errors = [json.loads(node.core.text(session, claim(session, ALICE, A))[0].text) for _ in range(3)]
    assert [told["Error"] for told in errors] == [control.WRONG_NODE, control.WRONG_NODE, 0]
    assert errors[0]["Result"] == {**node.place.described(tls=False), "addr": "nowhere:1"}
    node.core.renew(Faults(wrong_node=1))
    told = json.loads(node.core.text(session, claim(session, ALICE, A))[0].text)
    assert told["Result"] == node.place.described(tls=False)


def test_staged_pushes_reach_registered_clients(node):
    node.connect()
    session = node.register(ALICE, A)
    step = only(node.core.push(node.core.registry.registered()))
    assert step.session is session
    assert json.loads(step.text)["Result"] == node.place.described(tls=False)


def test_a_usurper_keeps_what_belongs_elsewhere(ring):
    low, high = Node(ring, 0x00), Node(ring, 0x80)
    bob = next(b for b in (f"{n}.{B}" for n in itertools.count()) if address.client_id(b)[0] >= 0x80)
    high.register(BOB, bob)
    alice = low.register(ALICE, next(a for a in (f"{n}.{A}" for n in itertools.count()) if is_low(a)))
    low.core.renew(Faults(usurp=True))
    low.send(alice, outbound(low, [bob], source=alice.address))
    assert (high.steps, low.core.counts["nobody_there"]) == ([], 1)
    session = low.connect()
    assert json.loads(low.core.text(session, claim(session, BOB, bob))[0].text)["Error"] == 0
    low.core.renew(Faults())
    assert low.core.view.owner(session.client_id) is high


def is_low(addr):
    return address.client_id(addr)[0] < 0x80


# -- routing ---------------------------------------------------------------------------------


def test_a_message_reaches_all_sockets_of_its_destination(node):
    alice, first, second = node.register(ALICE, A), node.register(BOB, B), node.register(BOB, B)
    payload = sealed()
    delivered = node.send(alice, outbound(node, payloads=[payload]))
    assert [(step.session, step.path) for step in delivered] == [(first, 1), (second, 1)]
    inbound = envelope.read(delivered[0].frame)
    assert (inbound.src, inbound.payload, len(inbound.prev_hash)) == (A, payload, 32)


def test_the_source_is_lower_case_and_the_destination_taken_by_the_letter(node):
    upper = f"Alice.{ALICE.public_key.hex().upper()}"
    sender, receiver = node.register(ALICE, upper), node.register(BOB, B)
    delivered = only(node.send(sender, outbound(node, source=upper)))
    assert envelope.read(delivered.frame).src == f"Alice.{ALICE.public_key.hex()}"
    assert delivered.session is receiver
    assert node.send(sender, outbound(node, [B.upper()], source=upper)) == []
    assert node.core.counts["nobody_there"] == 1


def test_several_destinations_share_a_payload_or_have_their_own(node):
    alice, bob = node.register(ALICE, A), node.register(BOB, B)
    shared = seal.plain(b"for all")
    one, two = node.send(alice, outbound(node, [A, B], [shared]))
    assert {envelope.read(step.frame).payload for step in (one, two)} == {shared}
    mine, theirs = sealed(to=ALICE), sealed(to=BOB)
    one, two = node.send(alice, outbound(node, [A, B], [mine, theirs]))
    assert (one.session, envelope.read(one.frame).payload) == (alice, mine)
    assert (two.session, envelope.read(two.frame).payload) == (bob, theirs)


def test_any_of_the_last_block_hashes_will_do(node):
    alice = node.register(ALICE, A)
    node.register(BOB, B)
    old = node.ring.chain.latest
    for _ in range(limits.HASHES_KEPT):
        node.ring.make_block()
    only(node.send(alice, outbound(node, block_hash=old)))
    node.ring.make_block()
    assert isinstance(only(node.send(alice, outbound(node, block_hash=old))), Report)


def test_a_new_block_is_told_to_every_socket(node):
    node.connect()
    node.register(ALICE, A)
    node.ring.make_block()
    assert node.steps == [
        Write(session, control.new_block(node.ring.chain.latest)) for session in node.core.registry
    ]


def test_receipts_are_asked_for_until_one_came(node):
    alice, bob = node.register(ALICE, A), node.register(BOB, B)
    prev_hash = envelope.read(only(node.send(alice, outbound(node))).frame).prev_hash
    assert node.send(bob, envelope.receipt(BOB, prev_hash)) == []
    assert node.core.counts["receipts"] == 1
    assert node.ring.chain.receipted
    assert envelope.read(only(node.send(alice, outbound(node))).frame).prev_hash == b""
    node.ring.make_block()
    node.core.renew(Faults(no_receipts=True))
    assert envelope.read(only(node.send(alice, outbound(node))).frame).prev_hash == b""


# -- holding ---------------------------------------------------------------------------------


def test_messages_wait_for_an_absent_client_if_they_may(node):
    alice = node.register(ALICE, A)
    payload = sealed()
    assert node.send(alice, outbound(node, payloads=[payload], hold=60)) == []
    assert node.send(alice, outbound(node)) == []
    session = node.connect()
    answer, held = node.core.text(session, claim(session, BOB, B))
    assert isinstance(answer, Write)
    assert (held.session, held.path) == (session, 1)
    assert envelope.read(held.frame) == envelope.Inbound(A, payload)
    assert (node.core.counts["held"], node.core.counts["nobody_there"]) == (1, 1)


def test_held_messages_may_come_before_the_answer(node):
    alice = node.register(ALICE, A)
    node.send(alice, outbound(node, hold=60))
    node.core.renew(Faults(held_first=True))
    session = node.connect()
    held, answer = node.core.text(session, claim(session, BOB, B))
    assert isinstance(held, Deliver)
    assert isinstance(answer, Write)


def test_chance_decides_whether_held_messages_come_first(ring):
    rolls = iter([1.0, 0.3, 0.7])
    node = Node(ring, faults=Faults(held_first=0.5), chance=lambda: next(rolls))
    alice, firsts = node.register(ALICE, A), []
    for _ in range(2):
        node.send(alice, outbound(node, hold=60))
        session = node.connect()
        firsts.append(type(node.core.text(session, claim(session, BOB, B))[0]))
        node.core.close(session)
    assert firsts == [Deliver, Write]


def test_a_delivered_message_is_looked_at_again(node):
    alice, bob = node.register(ALICE, A), node.register(BOB, B)
    node.send(alice, outbound(node, hold=60))
    assert node.core.advance(limits.REDELIVER_S) == []
    assert len(node.core.holding) == 0
    node.send(alice, outbound(node, hold=60))
    node.core.close(bob)
    again = node.register(BOB, B)
    step = only(node.core.advance(limits.REDELIVER_S))
    assert step.session is again
    assert envelope.read(step.frame).prev_hash == b""
    assert node.core.advance(1000.0) == []
    assert node.core.counts["redelivered"] == 1


def test_a_delivered_message_is_held_if_its_client_is_gone(node):
    alice, bob = node.register(ALICE, A), node.register(BOB, B)
    node.send(alice, outbound(node, hold=20))
    node.core.close(bob)
    assert node.core.advance(limits.REDELIVER_S) == []
    assert node.core.holding.purge(limits.REDELIVER_S + 19.0) == (0, 0)
    session = node.connect()
    _, held = node.core.text(session, claim(session, BOB, B))
    assert held.session is session


def test_what_may_not_be_held_is_not_looked_at_again(node):
    alice, bob = node.register(ALICE, A), node.register(BOB, B)
    node.send(alice, outbound(node, hold=10))
    node.core.close(bob)
    assert node.core.advance(limits.REDELIVER_S) == []
    assert node.core.counts["held"] == 0


def test_held_messages_expire(node):
    alice = node.register(ALICE, A)
    assert node.core.advance(0.0) == []
    node.send(alice, outbound(node, hold=1))
    assert node.core.advance(limits.HOLD_PURGE_S) == []
    assert node.core.counts["expired"] == 1
    session = node.connect()
    only(node.core.text(session, claim(session, BOB, B)))


# -- what is dropped -------------------------------------------------------------------------


def broken(**fields):
    """A frame with the fields of an OutboundMessage set by hand."""
    body = pb.OutboundMessage(**fields).SerializeToString()
    return pb.ClientMessage(message_type=pb.OUTBOUND_MESSAGE, message=body).SerializeToString()


def test_real_nodes_rules_hold_in_every_mode(ring):
    for strict in (True, False):
        node = Node(ring, 1 + strict, strict=strict)
        alice = node.connect()
        node.core.registry.register(alice, A, A, address.client_id(A), ALICE.public_key)
        block_hash = ring.chain.latest
        cases = {
            "no_dest": broken(payloads=[b"x"], block_hash=block_hash),
            "no_payload": broken(dests=[B], block_hash=block_hash),
            "payload_count": broken(dests=[A, B, B], payloads=[b"x", b"y"], block_hash=block_hash),
            "block_hash_length": broken(dests=[B], payloads=[b"x"], block_hash=block_hash[1:]),
            "unreadable": b"garbage",
            "inbound_from_client": envelope.inbound(envelope.Inbound(A, b"x")),
        }
        for name, frame in cases.items():
            assert f"({name})" in only(node.send(alice, frame)).line
        assert reason(node) == list(cases)
        ring.leave(node)


def test_nothing_may_be_sent_before_registering(node):
    session = node.connect()
    line = only(node.send(session, outbound(node))).line
    assert line.startswith("dropped a frame (not_registered): it was sent before setClient was accepted")
    assert line.endswith(" (socket 1, not registered)")


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("block_hash_unknown", {"block_hash": b"\xee" * 32}),
        ("nonce", {"nonce": 0}),
        ("signature", {"signer": BOB}),
        ("signature", {"source": B}),
        ("signature", {"key": b"\x01" * 32}),
        ("payload_nonce", {"payloads": [pb.Message(payload=b"x", encrypted=True).SerializeToString()]}),
        ("payload_nonce", {"payloads": [pb.Message(payload=b"x", nonce=b"n" * 24).SerializeToString()]}),
        ("payload", {"payloads": [b"\xff\xff"]}),
    ],
)
def test_strict_rules(node, expected, changes):
    alice = node.register(ALICE, A)
    assert f"({expected})" in only(node.send(alice, outbound(node, **changes))).line
    assert reason(node) == [expected]


def test_strict_nodes_want_real_addresses_and_one_signature_each(node):
    alice = node.register(ALICE, A)
    head = {"nonce": 1, "block_hash": node.ring.chain.latest, "payloads": [sealed()]}
    assert "(dest_address)" in only(node.send(alice, broken(dests=["bob"], signatures=[b""], **head))).line
    assert "(signature_count)" in only(node.send(alice, broken(dests=[B], **head))).line


def test_the_report_names_the_sender_shortly(node):
    alice = node.register(ALICE, A)
    line = only(node.send(alice, outbound(node, signer=BOB))).line
    assert line.endswith(f"(socket 1, alice.{ALICE.public_key.hex()[:8]}…)")


def test_wrapped_keys_are_well_formed_too(node):
    alice = node.register(ALICE, A)
    node.register(BOB, B)
    many = seal.seal_many(
        b"hi",
        [ALICE.shared_key(ALICE.public_key), ALICE.shared_key(BOB.public_key)],
        payload_nonce=b"p" * 24,
        key=b"k" * 32,
        key_nonces=[b"1" * 24, b"2" * 24],
    )
    assert len(node.send(alice, outbound(node, [A, B], many))) == 2


def test_a_lenient_node_relays_what_a_real_one_relays(ring):
    node = Node(ring, strict=False)
    alice, bob = node.register(ALICE, A), node.register(BOB, B)
    frame = broken(
        dests=[B, "nobody"], payloads=[b"\xff"], signatures=[b"", b"", b"more"], block_hash=b"\xee" * 32
    )
    assert only(node.send(alice, frame)).session is bob
    legacy = broken(dest=B, payload=b"x", signatures=[b"s"], block_hash=b"\xee" * 32)
    assert only(node.send(alice, legacy)).session is bob
    assert node.send(bob, envelope.receipt(ALICE, b"unknown")) == []
    assert not ring.chain.receipted


def test_a_gap_in_the_signatures_cuts_the_socket_of_a_lenient_node(ring):
    node = Node(ring, strict=False)
    alice, bob = node.register(ALICE, A), node.register(BOB, B)
    frame = broken(dests=[B, A], payloads=[b"x"], signatures=[b"s"], block_hash=b"\xee" * 32)
    report, cut, delivered = node.send(alice, frame)[0:3]
    assert {type(step) for step in (report, cut, delivered)} == {Report, Cut, Deliver}
    assert [step.session for step in node.steps if isinstance(step, Deliver)] == [bob]
    assert Cut(alice) in node.steps


def test_a_bomb_is_unreadable(node):
    alice = node.register(ALICE, A)
    bomb = pb.ClientMessage(
        message_type=pb.OUTBOUND_MESSAGE,
        message=zlib.compress(bytes(8 << 20)),
        compression_type=pb.COMPRESSION_ZLIB,
    )
    assert "(unreadable)" in only(node.send(alice, bomb.SerializeToString())).line


def test_on_an_empty_ring_nothing_is_routed(node):
    alice = node.register(ALICE, A)
    node.ring.leave(node)
    assert node.send(alice, outbound(node)) == []
    again = node.connect()
    assert json.loads(node.core.text(again, claim(again, ALICE, A))[0].text)["Error"] == 0
    assert node.core.rehome() == []
    assert len(node.core.push(node.core.registry.registered())) == 2


def test_whatever_happens_twice_counts_twice(node):
    alice, bob = node.register(ALICE, A), node.register(BOB, B)
    garbage = node.connect()
    for _ in range(2):
        node.core.text(garbage, "garbage")
        node.core.text(garbage, claim(garbage, ALICE, A, Signature="00" * 64))
        node.core.binary(alice, b"\xff")
        node.core.push([bob])
        node.send(alice, outbound(node))
        node.send(alice, outbound(node, [f"nobody.{B}"]))
        node.send(alice, outbound(node, [f"later.{B}"], hold=60))
    node.core.renew(Faults(wrong_node=2))
    for _ in range(2):
        node.core.text(garbage, claim(garbage, ALICE, A))
    assert dict(node.core.counts) == {
        "registered": 2,
        "held_delivered": 0,
        "text_refused": 2,
        f"refused_{control.BAD_SIGNATURE}": 2,
        "wrong_node_pushes": 2,
        "wrong_node_answers": 2,
        "frames": 8,
        "routed": 2,
        "receipts_asked": 2,
        "nobody_there": 2,
        "held": 2,
        "held_evicted": 0,
        "dropped_unreadable": 2,
    }
    later = node.register(BOB, f"later.{B}")
    assert later.name
    assert node.core.counts["held_delivered"] == 2
