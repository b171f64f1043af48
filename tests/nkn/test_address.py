import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn import address
from relay.nkn.address import AddressError

KEY = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
NAMES = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.one_of(st.text(st.characters(codec=None)), st.text("0123456789abcdefAF._", max_size=140)))
def test_any_text_is_an_address_or_an_address_error(text):
    try:
        normal = address.normalise(text)
    except AddressError:
        return
    assert address.normalise(normal) == normal
    assert len(address.public_key(text)) == 32
    assert len(address.client_id(normal)) == 32


@given(NAMES.filter(bool))
def test_an_identifier_may_hold_anything_dots_included(name):
    text = address.join(name, KEY)
    assert address.normalise(text) == text
    assert address.public_key(text).hex() == KEY


def test_the_key_is_lower_cased_and_the_identifier_is_not():
    assert address.normalise(f"Alice.{KEY.upper()}") == f"Alice.{KEY}"


@pytest.mark.parametrize(
    "text",
    ["", "alice", KEY[:-1], KEY + "0", f"{KEY}.alice", f"x.{KEY[:-1]}g", f"x.{KEY[:-1]}٣", f"x.{KEY} "],
)
def test_a_last_part_that_is_no_key_is_refused_and_never_looked_up_as_a_name(text):
    with pytest.raises(AddressError, match="64 hex digits"):
        address.normalise(text)


def test_an_empty_part_before_the_dot_is_refused():
    with pytest.raises(AddressError, match="empty"):
        address.normalise(f".{KEY}")


def test_an_identifier_that_cannot_be_encoded_is_refused_before_it_reaches_the_wire():
    with pytest.raises(AddressError, match="be encoded"):
        address.normalise(f"\ud800.{KEY}")


def test_an_error_shows_a_bounded_piece_of_the_text():
    with pytest.raises(AddressError) as caught:
        address.normalise("x" * 100_000)
    assert len(str(caught.value)) < 300


def test_the_id_hashes_the_address_as_it_is_written():
    assert address.client_id(f"é.{KEY}") == hashlib.sha256(f"é.{KEY}".encode()).digest()


def test_without_identifier_the_address_is_the_key():
    assert address.join("", KEY) == KEY
    assert address.join("bob", KEY) == f"bob.{KEY}"


@given(NAMES, st.integers(0, 10_000))
def test_a_prefix_that_was_added_is_split_off_again(name, index):
    base = address.join(name, KEY)
    assert address.split_prefix(address.add_prefix(base, index)) == (index, base)


def test_the_original_client_has_no_prefix():
    assert address.add_prefix(f"a.{KEY}", -1) == f"a.{KEY}"


@pytest.mark.parametrize("name", ["__x__", "__1_", "_1__", "____", "__", "1", "__-1__", "__ 1__", "__1__x"])
def test_what_only_looks_like_a_prefix_stays_part_of_the_identifier(name):
    assert address.split_prefix(f"{name}.{KEY}") == (None, f"{name}.{KEY}")


def test_a_part_number_has_nine_digits_at_most():
    assert address.split_prefix(f"__999999999__.{KEY}") == (999_999_999, KEY)
    assert address.split_prefix(f"__1000000000__.{KEY}") == (None, f"__1000000000__.{KEY}")


def test_a_prefix_needs_an_address_behind_it():
    assert address.split_prefix("__1__") == (None, "__1__")


@pytest.mark.parametrize("name", ["__007__", "__٣__", "__1234567890123__"])
def test_the_address_is_the_same_after_splitting_and_adding_for_prefixes_nobody_makes(name):
    # An acknowledgement goes to prefix + rest: it must be where the message came from.
    index, rest = address.split_prefix(f"{name}.{KEY}")
    assert (rest if index is None else address.add_prefix(rest, index)) == f"{name}.{KEY}"


@pytest.mark.parametrize("number", [0xD800, 0xDC00, 0xDFFF])
def test_half_a_character_is_no_part_of_an_address(number):
    with pytest.raises(AddressError, match="not text that can be encoded"):
        address.normalise(f"a{chr(number)}.{KEY}")
