import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn.identity import Identity, KeyFault, verify
from wire import limits

SEEDS = st.binary(min_size=32, max_size=32)
ALICE, BOB = Identity(b"\1" * 32), Identity(b"\2" * 32)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_has_32_bytes_and_the_refusal_does_not_show_it(length):
    with pytest.raises(KeyFault, match=f"this one has {length}") as caught:
        Identity(b"s" * length)
    assert "ssss" not in str(caught.value)


def test_the_seed_is_in_no_repr_and_no_text():
    for shown in (repr(ALICE), str(ALICE), f"{ALICE}"):
        assert ALICE.seed.hex() not in shown
        assert ALICE.seed.hex()[:8] not in shown
    assert repr(ALICE) == "Identity(8a88e3dd…)"
    assert not hasattr(ALICE, "__dict__")


@given(SEEDS, SEEDS)
def test_both_ends_have_the_same_shared_key(one, other):
    a, b = Identity(one), Identity(other)
    assert a.shared_key(b.public_key) == b.shared_key(a.public_key)


@given(SEEDS, st.binary(max_size=100))
def test_a_signature_is_verified_with_the_key_that_made_it(seed, message):
    me = Identity(seed)
    assert verify(me.public_key, message, me.sign(message))


@given(st.binary(max_size=40), st.integers(0, 63), st.integers(1, 255))
def test_a_changed_signature_is_not_verified(message, at, change):
    signature = bytearray(ALICE.sign(message))
    signature[at] ^= change
    assert not verify(ALICE.public_key, message, bytes(signature))


def test_a_signature_of_another_key_or_message_is_not_verified():
    assert not verify(BOB.public_key, b"m", ALICE.sign(b"m"))
    assert not verify(ALICE.public_key, b"n", ALICE.sign(b"m"))


def test_bytes_moved_from_the_message_into_the_signature_are_not_verified():
    signed = ALICE.sign(b"message") + b"message"
    assert verify(ALICE.public_key, signed[64:], signed[:64])
    assert not verify(ALICE.public_key, signed[65:], signed[:65])
    assert not verify(ALICE.public_key, signed[63:], signed[:63])


@given(st.binary(max_size=70), st.binary(max_size=10), st.binary(max_size=70))
def test_verifying_rubbish_is_false_and_never_raises(key, message, signature):
    assert verify(key, message, signature) is False


@pytest.mark.parametrize(
    "key", [b"", b"\2" * 32, b"x" * 31, b"x" * 33, b"\0" * 32, b"\1" + b"\0" * 31, "text"]
)
def test_what_is_no_key_on_the_curve_gives_no_shared_key(key):
    with pytest.raises(KeyFault, match="not an Ed25519 public key"):
        ALICE.shared_key(key)


def test_the_cache_of_shared_keys_is_bounded_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(limits, "SHARED_KEYS_MAX", 2)
    me = Identity(b"\5" * 32)
    peers = [Identity(bytes([number]) * 32).public_key for number in range(10, 14)]
    first = me.shared_key(peers[0])
    me.shared_key(peers[1])
    assert me.shared_key(peers[0]) is first  # asked for again, so peers[1] is the oldest now
    me.shared_key(peers[2])
    assert list(me._shared) == [peers[0], peers[2]]
    me.shared_key(peers[3])
    assert me.shared_key(peers[0]) == first
