"""Sealed messages as they wait for a node's socket, packed to the network's size.

Source: the SDKs' size rule: destination, signature and sealed message of all destinations together stay
within 4,000,000 bytes, more destinations go in further messages. Pure; made by `messenger`, written by
`link`, which signs them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from wire import limits
from wire.record import record

_SIGNATURE_B = 64


class MessageTooLargeError(ValueError):
    """A message over the network's 4,000,000 bytes; nothing was sent."""


@record
class Dispatch:
    """Destinations with their serialised payloads.Message.

    Attributes:
        payloads: one for each destination, or one for all.
        expires_at: when it is of no use any more, seconds on the loop's clock.
    """

    dests: tuple[str, ...]
    payloads: tuple[bytes, ...]
    max_holding_seconds: int = 0
    expires_at: float = math.inf

    @property
    def size(self) -> int:
        """Bytes it counts for."""
        return sum(map(len, self.payloads)) + sum(len(dest) + _SIGNATURE_B for dest in self.dests)


def pack(
    copies: Sequence[tuple[str, bytes]], max_holding_seconds: int, expires_at: float = math.inf
) -> list[Dispatch]:
    """As few dispatches as carry all (destination, message) pairs.

    Raises:
        MessageTooLargeError: if one of them fits none.
    """
    if len(copies) == 1:
        ((dest, body),) = copies
        _check(len(dest) + _SIGNATURE_B + len(body))
        return [Dispatch((dest,), (body,), max_holding_seconds, expires_at)]
    shared = len({body for _, body in copies}) == 1
    groups: list[list[tuple[str, bytes]]] = []
    size = 0
    for dest, body in copies:
        own = len(dest) + _SIGNATURE_B + len(body)
        _check(own)
        # A message that all share travels once per group.
        more = own - len(body) if shared and groups else own
        if not groups or size + more > limits.DM_MAX_B:
            groups.append([])
            size, more = 0, own
        groups[-1].append((dest, body))
        size += more
    return [
        Dispatch(
            tuple(dest for dest, _ in group),
            (group[0][1],) if shared else tuple(body for _, body in group),
            max_holding_seconds,
            expires_at,
        )
        for group in groups
    ]


def _check(size: int) -> None:
    if size > limits.DM_MAX_B:
        raise MessageTooLargeError(
            f"{size} bytes with seal and signature, a message may have {limits.DM_MAX_B}; send it in parts"
        )
