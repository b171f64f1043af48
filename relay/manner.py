"""How the owner wants exchanges to behave. Read by `exchange`, `inquiry` and `station`."""

from __future__ import annotations

from dataclasses import dataclass

from wire import limits


@dataclass(frozen=True, slots=True)
class Manner:
    """The owner's settings of an exchange.

    Attributes:
        keepalive_s: longest silence of a stream.
        max_body_b: where an answer that is not streamed is cut.
        epoch_s: what to add to `now` to get seconds since 1970.
    """

    keepalive_s: float = limits.KEEPALIVE_S
    max_body_b: int = limits.MAX_BODY_B
    epoch_s: float = 0.0

    @property
    def gone_s(self) -> float:
        """How long the silence of a peer that acknowledges means that it is gone."""
        return min(limits.GONE_S, max(limits.GONE_MIN_S, limits.GONE_KEEPALIVES * self.keepalive_s))
