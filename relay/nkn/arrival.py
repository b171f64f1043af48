"""A node's frame as a message with a proven sender, or a counted reason why it is none.

Only a sealed payload proves that the sender holds the key in `src`; the identifier before it proves
nothing. Pure; called by `messenger` for each inbound frame.
"""

from __future__ import annotations

from collections import Counter

from relay.nkn import address, envelope, payload, seal
from relay.nkn.identity import Identity, KeyFault
from wire.record import record


@record
class Arrival:
    """One copy of a message.

    Attributes:
        index: our part that it came to.
        prefix: the sender's part, None if it wrote without prefix.
        src: the sender's address without prefix.
        key: the sender's 32-byte public key.
        encrypted: False only if unsealed messages are accepted; key and src then prove nothing.
        payload: what was inside.
    """

    index: int
    prefix: int | None
    src: str
    key: bytes
    encrypted: bool
    payload: payload.Payload

    @property
    def origin(self) -> str:
        """The sender's address as the node knows it."""
        return self.src if self.prefix is None else address.add_prefix(self.src, self.prefix)


class Opener:
    """Opens what is sealed for one identity.

    Args:
        counts: gets one count per dropped frame, by reason.
        accept_unencrypted: let unsealed payloads through.
    """

    def __init__(self, identity: Identity, counts: Counter[str], *, accept_unencrypted: bool) -> None:
        self._identity = identity
        self._counts = counts
        self._accept_unencrypted = accept_unencrypted

    def open(self, index: int, inbound: envelope.Inbound) -> Arrival | None:
        """The message, or None if it is dropped; never raises."""
        try:
            prefix, src = address.split_prefix(address.normalise(inbound.src))
            key = address.public_key(src)
            outer = seal.parse(inbound.payload)
            if outer.encrypted:
                raw = seal.unseal(outer, self._identity.shared_key(key))
            elif self._accept_unencrypted:
                raw = outer.payload
            else:
                self._counts["unsealed_dropped"] += 1
                return None
            inner = payload.decode(raw)
        except (seal.SealError, payload.PayloadError, KeyFault, address.AddressError):
            self._counts["undecipherable_dropped"] += 1
            return None
        if inner.type not in {payload.TEXT, payload.BINARY, payload.ACK}:
            self._counts["sessions_dropped"] += 1
            return None
        return Arrival(index, prefix, src, key, outer.encrypted, inner)
