"""A loopback NKN node that the official SDKs accept, strict by default, with knobs for all that goes wrong.

Pure: faults, ring, holding, registry, liveness, verification, receipts, control, steps,
reception, core, rpc, limits.
Shells: link, switchboard, ports, rpcserver, certificate, server, command.
"""

from relay.nkn.devnode.faults import Faults, FaultsError
from relay.nkn.devnode.ports import PortTaken
from relay.nkn.devnode.ring import Ring
from relay.nkn.devnode.server import DevNode

__all__ = ["DevNode", "Faults", "FaultsError", "PortTaken", "Ring"]
