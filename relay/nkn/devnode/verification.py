"""What a message must be before it is relayed: the real node's few rules, and the strict ones.

A real node relays what is signed wrongly or not at all; the mistake then shows only when no relay is ever
paid for it. The strict rules are those of the protocol, so that a client's author sees the mistake at once.
Pure; called by `core`.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.nkn import address, envelope, identity, seal, sigchain

WRAPPED_KEY_B = 48
"""A boxed 32-byte key: 16 bytes of tag more."""


class Violation(ValueError):
    """A frame that is dropped.

    Attributes:
        reason: short word under which it is counted.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def relayable(sent: envelope.Outbound) -> None:
    """The rules of every real node; Violation if a message breaks one."""
    if not sent.dests:
        raise Violation("no_dest", "it names no destination")
    if not sent.payloads:
        raise Violation("no_payload", "it has no payload")
    if len(sent.payloads) not in {1, len(sent.dests)}:
        raise Violation(
            "payload_count",
            f"it has {len(sent.payloads)} payloads for {len(sent.dests)} destinations",
        )
    if len(sent.block_hash) != 32:
        raise Violation(
            "block_hash_length",
            f"its block hash has {len(sent.block_hash)} bytes, not 32: sent before setClient was answered?",
        )


def strict(
    sent: envelope.Outbound, source: str, node_key: bytes, known_hash: Callable[[bytes], bool]
) -> None:
    """The protocol's own rules; Violation if a message breaks one.

    Args:
        source: the sender's address, as it registered it.
        node_key: of the node that got the message.
        known_hash: whether a block hash is one of the last.
    """
    if not known_hash(sent.block_hash):
        raise Violation(
            "block_hash_unknown", f"its block hash {sent.block_hash.hex()[:16]}… is none of the last ones"
        )
    if not sent.nonce:
        raise Violation("nonce", "its nonce is 0 or absent; it must be random, 32 bits")
    if len(sent.signatures) != len(sent.dests):
        raise Violation(
            "signature_count",
            f"{len(sent.signatures)} signatures for {len(sent.dests)} destinations; each needs its own",
        )
    for payload in set(sent.payloads):
        _sealed(payload)
    try:
        _signed(sent, source, node_key)
    except address.AddressError as error:
        raise Violation("dest_address", str(error)) from error


def receipt(given: envelope.Receipt, public_key: bytes) -> None:
    """A receipt's signature; Violation if it is not that of the receiver."""
    if not identity.verify(public_key, sigchain.receipt_digest(given.prev_hash), given.signature):
        raise Violation("receipt_signature", "a receipt's signature does not verify with the receiver's key")


def _signed(sent: envelope.Outbound, source: str, node_key: bytes) -> None:
    head = sigchain.Head(sent.nonce, sent.block_hash, source, node_key)
    key = address.public_key(source)
    for index, (dest, signature) in enumerate(zip(sent.dests, sent.signatures, strict=True)):
        payload = sent.payloads[index if len(sent.payloads) > 1 else 0]
        if not identity.verify(key, head.digest(dest, len(payload)), signature):
            raise Violation(
                "signature",
                f"signature {index + 1} is wrong: it must cover nonce, size, block hash,"
                f" the registered address, the destination as written, this node's key {node_key.hex()[:8]}…",
            )


def _sealed(payload: bytes) -> None:
    try:
        message = seal.parse(payload)
    except seal.SealError as error:
        raise Violation("payload", "a payload is no payloads.Message") from error
    lengths = (len(message.nonce), len(message.encrypted_key))
    if lengths not in _SHAPES[message.encrypted]:
        kind = "sealed" if message.encrypted else "plain"
        raise Violation("payload_nonce", f"a {kind} payload has nonce and key of {lengths} bytes")


_SHAPES = {
    False: {(0, 0)},
    True: {(seal.NONCE_B, 0), (2 * seal.NONCE_B, WRAPPED_KEY_B)},
}
"""Lengths of nonce and wrapped key, by whether the payload is sealed."""
