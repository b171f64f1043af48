"""An NKN identity: one 32-byte seed, from it the Ed25519 key that signs and the X25519 key that seals.

Source: RFC 8032 for the signature; libsodium's map between the two curves, as the official SDKs use it.
The seed never leaves through a repr. Pure: the caller brings the seed.
"""

from __future__ import annotations

from collections import OrderedDict

import nacl.bindings as sodium
import nacl.exceptions

from wire import limits


class KeyFault(ValueError):
    """Bytes that are no seed or no public key."""


class Identity:
    """Keys made from a seed.

    Attributes:
        public_key: 32 bytes, Ed25519.
    """

    __slots__ = ("_curve", "_secret", "_seed", "_shared", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != sodium.crypto_sign_SEEDBYTES:
            raise KeyFault(f"a seed has 32 bytes (64 hex digits), this one has {len(seed)}")
        self._seed = bytes(seed)
        self.public_key, self._secret = sodium.crypto_sign_seed_keypair(self._seed)
        self._curve = sodium.crypto_sign_ed25519_sk_to_curve25519(self._secret)
        self._shared: OrderedDict[bytes, bytes] = OrderedDict()

    def __repr__(self) -> str:
        return f"Identity({self.public_key.hex()[:8]}…)"

    @property
    def seed(self) -> bytes:
        """The secret itself, for the one place that stores it."""
        return self._seed

    def sign(self, message: bytes) -> bytes:
        """64-byte Ed25519 signature of `message`."""
        return sodium.crypto_sign(message, self._secret)[: sodium.crypto_sign_BYTES]

    def shared_key(self, peer: bytes) -> bytes:
        """The box key with the owner of the Ed25519 key `peer`; the same from both ends, cached.

        Raises:
            KeyFault: if `peer` is no point on the curve.
        """
        known = self._shared.get(peer)
        if known is not None:
            self._shared.move_to_end(peer)
            return known
        try:
            curve = sodium.crypto_sign_ed25519_pk_to_curve25519(peer)
            key = sodium.crypto_box_beforenm(curve, self._curve)
        except (nacl.exceptions.CryptoError, TypeError, ValueError) as error:
            raise KeyFault("not an Ed25519 public key") from error
        self._shared[peer] = key
        if len(self._shared) > limits.SHARED_KEYS_MAX:
            self._shared.popitem(last=False)
        return key


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` was made with the key; never raises."""
    try:
        sodium.crypto_sign_open(signature + message, public_key)
    except (nacl.exceptions.CryptoError, TypeError, ValueError):
        return False
    return len(signature) == sodium.crypto_sign_BYTES
