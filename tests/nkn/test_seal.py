import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn import messages_pb2 as pb
from relay.nkn import seal
from relay.nkn.identity import Identity
from relay.nkn.seal import SealError, UnsealedError

ALICE, BOB, CAROL = (Identity(bytes([number]) * 32) for number in (1, 2, 3))
SHARED = ALICE.shared_key(BOB.public_key)
NONCE = b"n" * seal.NONCE_B
MANY = {"payload_nonce": b"p" * seal.NONCE_B, "key": b"k" * seal.KEY_B}


def opened(raw, shared_key):
    return seal.unseal(seal.parse(raw), shared_key)


@given(st.binary(max_size=200), st.binary(min_size=24, max_size=24))
def test_what_is_sealed_for_one_is_unsealed(data, nonce):
    assert opened(seal.seal(data, SHARED, nonce), BOB.shared_key(ALICE.public_key)) == data


@given(st.binary(max_size=200))
def test_what_is_sealed_for_many_is_unsealed_by_each(data):
    peers = [BOB, CAROL]
    sealed = seal.seal_many(
        data, [ALICE.shared_key(peer.public_key) for peer in peers], key_nonces=[b"1" * 24, b"2" * 24], **MANY
    )
    assert [
        opened(raw, peer.shared_key(ALICE.public_key)) for raw, peer in zip(sealed, peers, strict=True)
    ] == [
        data,
        data,
    ]


@given(st.binary())
def test_any_bytes_are_a_message_or_a_seal_error(raw):
    try:
        outer = seal.parse(raw)
    except SealError:
        return
    with pytest.raises(SealError):
        seal.unseal(outer, SHARED)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_a_message_of_arbitrary_fields_is_refused(data, nonce, key):
    with pytest.raises(SealError):
        seal.unseal(pb.Message(payload=data, encrypted=True, nonce=nonce, encrypted_key=key), SHARED)


def flip(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@given(st.data())
def test_one_changed_bit_anywhere_in_a_seal_is_noticed(data):
    raw = seal.seal(b"secret", SHARED, NONCE)
    outer = seal.parse(raw)
    field = data.draw(st.sampled_from(["payload", "nonce"]))
    value = getattr(outer, field)
    setattr(outer, field, flip(value, data.draw(st.integers(0, len(value) - 1))))
    with pytest.raises(SealError, match="cannot be decrypted"):
        seal.unseal(outer, SHARED)


def test_an_unsealed_message_is_refused_as_such():
    with pytest.raises(UnsealedError):
        opened(seal.plain(b"data"), SHARED)


def test_a_seal_for_someone_else_cannot_be_opened():
    with pytest.raises(SealError):
        opened(seal.seal(b"data", SHARED, NONCE), CAROL.shared_key(ALICE.public_key))


def test_a_wrapped_key_for_someone_else_cannot_be_opened():
    shared = [ALICE.shared_key(peer.public_key) for peer in (BOB, CAROL)]
    for_bob, _ = seal.seal_many(b"data", shared, key_nonces=[b"1" * 24, b"2" * 24], **MANY)
    with pytest.raises(SealError, match="cannot be decrypted"):
        opened(for_bob, CAROL.shared_key(ALICE.public_key))


@pytest.mark.parametrize(("key", "length", "said"), [(b"", 23, "24"), (b"", 48, "24"), (b"k" * 48, 24, "48")])
def test_a_nonce_of_the_wrong_length_is_refused_before_any_decryption(key, length, said):
    outer = pb.Message(payload=b"x" * 32, encrypted=True, nonce=b"n" * length, encrypted_key=key)
    with pytest.raises(SealError, match=f"{said} bytes"):
        seal.unseal(outer, SHARED)


def test_a_wrapped_key_that_is_no_key_is_refused():
    import nacl.bindings as sodium

    short = sodium.crypto_box_afternm(b"short", NONCE, SHARED)
    outer = pb.Message(payload=b"x" * 32, encrypted=True, nonce=NONCE * 2, encrypted_key=short)
    with pytest.raises(SealError, match="cannot be decrypted"):
        seal.unseal(outer, SHARED)


def test_as_many_nonces_as_destinations_are_needed():
    with pytest.raises(ValueError, match="zip"):
        seal.seal_many(b"x", [SHARED, SHARED], key_nonces=[NONCE], **MANY)


def test_all_destinations_share_one_ciphertext():
    one, two = seal.seal_many(b"data", [SHARED, SHARED], key_nonces=[b"1" * 24, b"2" * 24], **MANY)
    assert seal.parse(one).payload == seal.parse(two).payload
    assert seal.parse(one).encrypted_key != seal.parse(two).encrypted_key
