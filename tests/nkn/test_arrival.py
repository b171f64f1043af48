from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn import payload, seal
from relay.nkn.arrival import Opener
from relay.nkn.envelope import Inbound
from relay.nkn.identity import Identity

ALICE, BOB, MALLORY = (Identity(bytes([number]) * 32) for number in (1, 2, 3))
SRC = f"alice.{ALICE.public_key.hex()}"
ID = b"12345678"


def sealed(inner, sender=ALICE, to=BOB):
    return seal.seal(inner.encode(), sender.shared_key(to.public_key), b"n" * 24)


def opened(src, body, index=0, *, accept_unencrypted=False):
    counts = Counter()
    arrival = Opener(BOB, counts, accept_unencrypted=accept_unencrypted).open(index, Inbound(src, body))
    return arrival, counts


@pytest.mark.parametrize(
    "inner",
    [payload.message("text", ID), payload.message(b"bytes", ID), payload.reply("re", ID), payload.ack(ID)],
)
def test_a_sealed_message_arrives_with_its_senders_key(inner):
    arrival, counts = opened(SRC, sealed(inner), 2)
    assert arrival.payload == inner
    assert (arrival.index, arrival.prefix, arrival.src, arrival.key) == (2, None, SRC, ALICE.public_key)
    assert arrival.encrypted
    assert not counts


def test_a_prefix_is_kept_apart_and_the_origin_is_what_the_node_knows():
    arrival, _ = opened(f"__3__.{SRC}", sealed(payload.message("x", ID)))
    assert (arrival.prefix, arrival.src, arrival.origin) == (3, SRC, f"__3__.{SRC}")
    plain, _ = opened(SRC, sealed(payload.message("x", ID)))
    assert plain.origin == SRC


def test_an_unsealed_message_is_refused_and_counted():
    arrival, counts = opened(SRC, seal.plain(payload.message("x", ID).encode()))
    assert arrival is None
    assert counts == {"unsealed_dropped": 1}


def test_an_unsealed_message_is_marked_where_its_owner_asked_for_them():
    arrival, _ = opened(SRC, seal.plain(payload.message("x", ID).encode()), accept_unencrypted=True)
    assert arrival.payload.data == "x"
    assert not arrival.encrypted


def test_a_stranger_cannot_write_in_anothers_name():
    arrival, counts = opened(SRC, sealed(payload.message("x", ID), sender=MALLORY))
    assert arrival is None
    assert counts == {"undecipherable_dropped": 1}


def test_what_is_sealed_for_someone_else_is_dropped():
    arrival, counts = opened(SRC, sealed(payload.message("x", ID), to=MALLORY))
    assert arrival is None
    assert counts == {"undecipherable_dropped": 1}


@pytest.mark.parametrize(
    ("src", "body"),
    [
        ("name", sealed(payload.message("x", ID))),
        ("x." + "02" * 32, sealed(payload.message("x", ID))),
        (SRC, b"\xff"),
        (SRC, seal.seal(b"\xff", ALICE.shared_key(BOB.public_key), b"n" * 24)),
    ],
    ids=["no address", "key off the curve", "no message", "no payload"],
)
def test_what_cannot_be_read_is_dropped_and_counted(src, body):
    arrival, counts = opened(src, body)
    assert arrival is None
    assert counts == {"undecipherable_dropped": 1}


@pytest.mark.parametrize("kind", [payload.SESSION, 9])
def test_sessions_and_types_to_come_are_dropped_under_their_own_name(kind):
    raw = bytes([8, kind])
    arrival, counts = opened(SRC, seal.seal(raw, ALICE.shared_key(BOB.public_key), b"n" * 24))
    assert arrival is None
    assert counts == {"sessions_dropped": 1}


@given(
    st.one_of(st.text(), st.text().map(lambda name: f"{name}.{ALICE.public_key.hex()}")),
    st.binary(),
    st.booleans(),
)
def test_nothing_a_node_hands_us_makes_it_raise(src, body, accept):
    arrival, counts = opened(src, body, accept_unencrypted=accept)
    assert (arrival is None) == (sum(counts.values()) == 1)


def test_each_dropped_message_counts():
    counts = Counter()
    opener = Opener(BOB, counts, accept_unencrypted=False)
    bad = [seal.plain(payload.message("x", ID).encode()), b"\xff", sealed(payload.Payload(3, ID, b"s"))]
    for body in bad * 2:
        assert opener.open(0, Inbound(SRC, body)) is None
    assert counts == {"unsealed_dropped": 2, "undecipherable_dropped": 2, "sessions_dropped": 2}
