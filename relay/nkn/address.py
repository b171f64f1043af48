"""NKN addresses: `pubkey` or `identifier.pubkey`, and the `__i__.` prefix of a MultiClient's parts.

Source: the protocol's address rules. The public key is what follows the last dot, so an identifier may
hold dots. An address is hashed as it is written: upper-case hex would land on another node, so keys are
lower-cased here. Names (a last part that is no key) would need a paid registry; they are refused.
Pure; called by everything in `relay.nkn` and by the relay's policy.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

_HEX = frozenset("0123456789abcdef")


class AddressError(ValueError):
    """The text is not an NKN address; the message says why."""


@lru_cache(maxsize=4096)
def normalise(address: str) -> str:
    """The address with its key in lower case.

    Raises:
        AddressError: if its last part is not 64 hex digits.
    """
    identifier, dot, pubkey = address.rpartition(".")
    key = pubkey.lower()
    if len(key) != 64 or not _HEX.issuperset(key):
        raise AddressError(
            f"{address[:80]!r} is no NKN address: its last part must be a public key of 64 hex digits"
        )
    if any("\ud800" <= char <= "\udfff" for char in identifier):
        raise AddressError("no NKN address: the part before the dot is not text that can be encoded")
    if dot and not identifier:
        raise AddressError(f"{address[:80]!r} is no NKN address: the part before the dot is empty")
    return f"{identifier}{dot}{key}"


@lru_cache(maxsize=4096)
def public_key(address: str) -> bytes:
    """The 32-byte key of a normalised address; AddressError if there is none."""
    return bytes.fromhex(normalise(address).rpartition(".")[2])


@lru_cache(maxsize=4096)
def client_id(address: str) -> bytes:
    """SHA-256 of the address: where on the ring of nodes its owner lives."""
    return hashlib.sha256(address.encode()).digest()


def join(identifier: str, pubkey_hex: str) -> str:
    """The address of a key under an identifier, which may be empty."""
    return f"{identifier}.{pubkey_hex}" if identifier else pubkey_hex


def add_prefix(address: str, index: int) -> str:
    """The address of part `index` of a MultiClient; −1 is the original client without prefix."""
    return address if index < 0 else f"__{index}__.{address}"


def split_prefix(address: str) -> tuple[int | None, str]:
    """(index, address without its `__i__.` prefix); index None if it has none."""
    head, dot, rest = address.partition(".")
    digits = head[2:-2]
    # Only what `add_prefix` writes is a prefix: an answer must go to the very address it came from.
    if dot and digits.isdecimal() and len(digits) < 10 and head == f"__{int(digits)}__":
        return int(digits), rest
    return None, address
