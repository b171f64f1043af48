"""The clocks of a node: a real node's seconds by default, shorter ones for those who will not wait.

Pure data; given to a node at its start and read by everything in it that waits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from relay.nkn.devnode import knobs
from relay.nkn.devnode import limits as own
from relay.nkn.devnode.knobs import FaultsError
from wire import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """All in seconds.

    Attributes:
        ping_s: between two pings.
        pong_timeout_s: without a complete message or a pong for this long, a client is dropped.
        write_stall_s: a write that takes longer makes its socket a zombie.
        refused_close_s: from a setClient that is badly signed to the end of its socket.
        hold_purge_s: between two looks for held messages that are over their time or too many.
        redeliver_s: from the delivery of a message that may be held to the look whether its client stayed.
        rehome_s: between two looks for clients that belong to another node.
        frozen_leave_s: the others of a ring do without a frozen node after this long.
        rpc_read_s: for a request to arrive.
        rpc_slow_s: for the answer of an RPC that is slow on purpose.
        first_block_s: from the start to the first block hash.
        block_s: between two block hashes while messages are receipted; 0 is never.
        idle_block_s: between two if none was; less than `block_s` is the same as `block_s`.
    """

    ping_s: float = limits.NODE_PING_S
    pong_timeout_s: float = limits.NODE_PONG_TIMEOUT_S
    write_stall_s: float = own.WRITE_STALL_S
    refused_close_s: float = own.REFUSED_CLOSE_S
    hold_purge_s: float = own.HOLD_PURGE_S
    redeliver_s: float = own.REDELIVER_S
    rehome_s: float = own.REHOME_S
    frozen_leave_s: float = own.FROZEN_LEAVE_S
    rpc_read_s: float = own.RPC_READ_S
    rpc_slow_s: float = own.RPC_SLOW_S
    first_block_s: float = own.BLOCK_S
    block_s: float = own.BLOCK_S
    idle_block_s: float = own.IDLE_BLOCK_S

    def __post_init__(self) -> None:
        for name in knobs.amounts(Times):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (name == "ping_s" and not value):
                raise FaultsError(
                    f"{name}: must be {'more than 0' if name == 'ping_s' else '0 or more'}, not {value}"
                )

    @classmethod
    def parse(cls, words: Mapping[str, str | bool]) -> Times:
        """Times from text; FaultsError for what is none. `block_s` alone stands for all three of blocks."""
        given = knobs.values(cls, words)
        times = replace(cls(), **given)
        return replace(times.every(times.block_s), **given) if "block_s" in given else times

    def every(self, block_s: float) -> Times:
        """The same with blocks at even distances, whatever happens."""
        return replace(self, first_block_s=block_s, block_s=block_s, idle_block_s=block_s)
