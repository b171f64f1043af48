"""How often one IP address may ask: a bucket of tokens for each, as real nodes have one for each port.

Pure: time is an argument; used by `door` and `desk`.
"""

from __future__ import annotations

from collections import OrderedDict

from relay.nkn.devnode import limits


class Limiter:
    """The buckets of one port."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, peer: str, burst: int, now: float) -> bool:
        """Take a token of a peer, if it has one.

        Args:
            burst: how many it has after a pause; 0 is no limit.
        """
        if not burst:
            return True
        tokens, at = self._buckets.pop(peer, (float(burst), now))
        tokens = min(float(burst), tokens + (now - at) * limits.RATE_PER_S)
        admitted = tokens >= 1.0
        self._buckets[peer] = (tokens - admitted, now)
        if len(self._buckets) > limits.RATE_PEERS_MAX:
            self._buckets.popitem(last=False)
        return admitted
