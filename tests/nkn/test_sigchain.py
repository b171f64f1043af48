import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn import address, sigchain
from relay.nkn.address import AddressError
from relay.nkn.identity import Identity

ALICE, BOB = Identity(b"\1" * 32), Identity(b"\2" * 32)
SOURCE, DEST = f"alice.{ALICE.public_key.hex()}", f"__0__.bob.{BOB.public_key.hex()}"
HEAD = {"nonce": 7, "block_hash": b"h" * 32, "source": SOURCE, "node_key": b"k" * 32}


def read_varuint(raw):
    widths = {0xFD: 2, 0xFE: 4, 0xFF: 8}
    width = widths.get(raw[0])
    return (
        (raw[0], raw[1:])
        if width is None
        else (int.from_bytes(raw[1 : 1 + width], "little"), raw[1 + width :])
    )


@given(st.integers(0, 2**64 - 1))
def test_a_varuint_is_read_back_and_as_short_as_can_be(value):
    raw = sigchain.varuint(value)
    assert read_varuint(raw) == (value, b"")
    assert len(raw) == (1 if value < 0xFD else 3 if value <= 0xFFFF else 5 if value <= 0xFFFFFFFF else 9)


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (0xFC, "fc"),
        (0xFD, "fdfd00"),
        (0xFFFF, "fdffff"),
        (0x10000, "fe00000100"),
        (0xFFFFFFFF, "feffffffff"),
        (0x100000000, "ff0000000001000000"),
    ],
)
def test_a_varuint_grows_exactly_where_the_nodes_grows(value, raw):
    assert sigchain.varuint(value).hex() == raw


@given(st.binary(max_size=300), st.binary(max_size=5))
def test_bytes_behind_their_length_are_delimited(data, rest):
    length, tail = read_varuint(sigchain.varbytes(data) + rest)
    assert tail[:length] == data
    assert tail[length:] == rest


def test_the_metadata_holds_its_fields_in_the_nodes_order():
    head = sigchain.Head(**HEAD)
    assert head.metadata(DEST, 300) == b"".join(
        [
            (7).to_bytes(4, "little"),
            (300).to_bytes(4, "little"),
            b"\x20" + b"h" * 32,
            b"\x20" + address.client_id(SOURCE),
            b"\x20" + ALICE.public_key,
            b"\x20" + address.client_id(DEST),
            b"\x20" + BOB.public_key,
        ]
    )


def test_the_digest_covers_the_metadata_and_the_nodes_key():
    head = sigchain.Head(**HEAD)
    inner = hashlib.sha256(head.metadata(DEST, 1)).digest()
    assert head.digest(DEST, 1) == hashlib.sha256(inner + b"\x00\x20" + b"k" * 32 + b"\x00").digest()


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": 8},
        {"block_hash": b"x" * 32},
        {"source": DEST},
        {"node_key": b"x" * 32},
        {"dest": SOURCE},
        {"size": 2},
    ],
)
def test_each_field_changes_what_is_signed(change):
    def digest(dest=DEST, size=1, **head):
        return sigchain.Head(**{**HEAD, **head}).digest(dest, size)

    assert digest() != digest(**change)


def test_a_destination_without_key_cannot_be_signed_for():
    with pytest.raises(AddressError):
        sigchain.Head(**HEAD).digest("name", 1)


def test_a_receipt_signs_the_hash_and_an_empty_last_element():
    assert (
        sigchain.receipt_digest(b"p" * 32)
        == hashlib.sha256(hashlib.sha256(b"p" * 32).digest() + b"\0\0\0").digest()
    )


def test_a_challenge_is_signed_together_with_our_salt():
    assert sigchain.challenge_digest(b"c", b"s") == hashlib.sha256(b"cs").digest()
