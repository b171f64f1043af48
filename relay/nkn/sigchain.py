"""What a client signs: the head of a signature chain for each message, and the tail for a receipt.

Source: the node's SigChain serialisation. No SigChain travels, only a signature over this encoding.
Pure; called by `envelope`, and by the development node, which verifies where real nodes do not.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache

from relay.nkn import address
from wire.record import record

_TAIL = b"\x00\x00\x00"  # empty id, empty key, not mining


def varuint(value: int) -> bytes:
    """Length prefix: 1, 3, 5 or 9 bytes, little endian."""
    if value < 0xFD:
        return struct.pack("<B", value)
    if value <= 0xFFFF:
        return struct.pack("<BH", 0xFD, value)
    if value <= 0xFFFFFFFF:
        return struct.pack("<BI", 0xFE, value)
    return struct.pack("<BQ", 0xFF, value)


def varbytes(data: bytes) -> bytes:
    """`data` behind its length."""
    return varuint(len(data)) + data


@record
class Head:
    """What every signature of one outbound message has in common.

    Attributes:
        nonce: 32 bits, random, the same for all destinations.
        block_hash: 32 bytes from the node.
        source: the sender's address, with its `__i__.` prefix.
        node_key: 32-byte public key of the node it is handed to.
    """

    nonce: int
    block_hash: bytes
    source: str
    node_key: bytes

    def metadata(self, dest: str, data_size: int) -> bytes:
        """The message's own part; `data_size` is the length of the serialised payloads.Message."""
        return struct.pack("<II", self.nonce, data_size) + _ends(self.block_hash, self.source, dest)

    def digest(self, dest: str, data_size: int) -> bytes:
        """The 32 bytes that are signed for `dest`."""
        element = b"\x00%b\x00" % varbytes(self.node_key)
        inner = hashlib.sha256(self.metadata(dest, data_size)).digest()
        return hashlib.sha256(inner + element).digest()


@lru_cache(maxsize=1024)
def _ends(block_hash: bytes, source: str, dest: str) -> bytes:
    """What messages between the same two have in common while the block lasts."""
    parts = [block_hash]
    for one in (source, dest):
        parts += [address.client_id(one), address.public_key(one)]
    return b"".join(map(varbytes, parts))


def receipt_digest(prev_hash: bytes) -> bytes:
    """The 32 bytes a receiver signs to say that a message arrived."""
    return hashlib.sha256(hashlib.sha256(prev_hash).digest() + _TAIL).digest()


def challenge_digest(challenge: bytes, client_salt: bytes) -> bytes:
    """The 32 bytes signed to prove the key to a node."""
    return hashlib.sha256(challenge + client_salt).digest()
