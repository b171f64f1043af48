"""Which messages ask for a receipt, and whether the receipts are good.

A real node asks with messages that could win the current block: with all until a receipt came, then with
hardly any (7 of 1,000) until the next block. Here: with none, so that a test can tell.
Pure; owned by `core`.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from relay.nkn import envelope
from relay.nkn.devnode import limits, verification


class Receipts:
    """What was asked and what came, for one node."""

    def __init__(self) -> None:
        self._asked: OrderedDict[bytes, bytes] = OrderedDict()
        self._block = b""
        self._came = False

    def ask(self, mark: bytes, receiver_key: bytes, block_hash: bytes) -> bytes:
        """The 32-byte `prev_hash` of a message for the receiver, or empty if this block has its receipt."""
        if self._block != block_hash:
            self._block, self._came = block_hash, False
        if self._came:
            return b""
        prev_hash = hashlib.sha256(mark + receiver_key).digest()
        self._asked[prev_hash] = receiver_key
        if len(self._asked) > limits.RECEIPTS_ASKED_MAX:
            self._asked.popitem(last=False)
        return prev_hash

    def take(self, given: envelope.Receipt, *, strict: bool) -> bool:
        """A receipt came; whether it was asked for. A real node says nothing to one that was not.

        Raises:
            Violation: in strict mode, if nothing asked for it or its signature is wrong.
        """
        receiver_key = self._asked.get(given.prev_hash)
        if receiver_key is None:
            if strict:
                raise verification.Violation("receipt_unknown", "a receipt for a message that asked for none")
            return False
        if strict:
            verification.receipt(given, receiver_key)
        self._came = True
        return True
