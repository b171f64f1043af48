"""What a relay says of itself: its address, version, limits and features. Pure; owned by `engine`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relay.admission import Shares
from relay.manner import Manner
from relay.policy import Policy
from wire import limits

PROTOCOL = 1
"""Version of docs/protocol.md."""
FEATURES = (
    "ack", "batch_ms", "cancel", "codes", "keepalive_state", "missing", "peer_gone", "resume", "upload",
)  # fmt: skip
"""What this relay does beyond the published contract."""


@dataclass(frozen=True, slots=True)
class Station:
    """One relay.

    Attributes:
        addr: its NKN address.
        version: of this program.
    """

    addr: str
    version: str

    def facts(self, policy: Policy, shares: Shares, manner: Manner) -> dict[str, Any]:
        """The fields of `relay.info` beside ts and addr."""
        return {
            "services": sorted(policy.targets),
            "verify_default": policy.verify_default,
            "workers": shares.workers,
            "max_body_b": manner.max_body_b,
            "version": self.version,
            "protocol": PROTOCOL,
            "features": list(FEATURES),
            "limits": {
                "peer_streams": shares.per_peer,
                "queue": shares.queue,
                "message_b": limits.DM_MAX_B,
                "line_b": limits.LINE_MAX_B,
                "upload_b": limits.UPLOAD_B,
                "keepalive_s": manner.keepalive_s,
            },
        }
