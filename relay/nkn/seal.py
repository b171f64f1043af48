"""End-to-end encryption of a payload: NaCl box for one destination, secretbox and wrapped keys for many.

Source: the SDKs' payloads.Message. One destination: box(payload) under a 24-byte nonce. Many: the same
secretbox ciphertext for all, its key boxed for each, nonce = key nonce ‖ payload nonce (48 bytes).
A box proves that the sender holds the sender's *or the recipient's* key; it binds neither direction nor
identifier. Pure: nonces and keys come in as arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

import nacl.bindings as sodium
import nacl.exceptions
from google.protobuf.message import DecodeError

from relay.nkn import messages_pb2 as pb

NONCE_B = sodium.crypto_box_NONCEBYTES
KEY_B = sodium.crypto_secretbox_KEYBYTES


class SealError(ValueError):
    """A message that cannot be opened: not sealed for us, changed on the way, or malformed."""


class UnsealedError(SealError):
    """A message that was never sealed: nothing proves who sent it."""


def plain(payload: bytes) -> bytes:
    """A message in the clear, for those who ask for it."""
    return pb.Message(payload=payload).SerializeToString(deterministic=True)


def seal(payload: bytes, shared_key: bytes, nonce: bytes) -> bytes:
    """A sealed message for one destination; `nonce` is 24 fresh random bytes."""
    boxed = sodium.crypto_box_afternm(payload, nonce, shared_key)
    return pb.Message(payload=boxed, encrypted=True, nonce=nonce).SerializeToString(deterministic=True)


def seal_many(
    payload: bytes,
    shared_keys: Sequence[bytes],
    *,
    payload_nonce: bytes,
    key: bytes,
    key_nonces: Sequence[bytes],
) -> list[bytes]:
    """Sealed messages for several destinations, in the order of `shared_keys`."""
    boxed = sodium.crypto_secretbox(payload, payload_nonce, key)
    return [
        pb.Message(
            payload=boxed,
            encrypted=True,
            nonce=key_nonce + payload_nonce,
            encrypted_key=sodium.crypto_box_afternm(key, key_nonce, shared),
        ).SerializeToString(deterministic=True)
        for shared, key_nonce in zip(shared_keys, key_nonces, strict=True)
    ]


def parse(raw: bytes) -> pb.Message:
    """The outer message, still sealed; SealError if it is no protobuf."""
    try:
        return pb.Message.FromString(raw)
    except DecodeError as error:
        raise SealError("not a message") from error


def unseal(message: pb.Message, shared_key: bytes) -> bytes:
    """The payload of a sealed message.

    Raises:
        UnsealedError: if it was not sealed at all.
        SealError: if it cannot be opened.
    """
    if not message.encrypted:
        raise UnsealedError("message is not encrypted")
    try:
        if message.encrypted_key:
            if len(message.nonce) != 2 * NONCE_B:
                raise SealError("a wrapped key needs a nonce of 48 bytes")
            key = sodium.crypto_box_open_afternm(message.encrypted_key, message.nonce[:NONCE_B], shared_key)
            return sodium.crypto_secretbox_open(message.payload, message.nonce[NONCE_B:], key)
        if len(message.nonce) != NONCE_B:
            raise SealError("a sealed message needs a nonce of 24 bytes")
        return sodium.crypto_box_open_afternm(message.payload, message.nonce, shared_key)
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        if isinstance(error, SealError):
            raise
        raise SealError("cannot be decrypted") from error
