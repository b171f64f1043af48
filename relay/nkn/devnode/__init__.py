"""A loopback NKN node that the official SDKs accept, strict by default, with knobs for all that goes wrong.

Pure: limits, knobs, faults, shuffle, times, ring, holding, redelivery, registry, liveness, verification,
receipts, control, steps, reception, core, wsframes, lane, answer, upgrade, limiter, rpcmethods, rpc, panel.
Shells: httpserver, ports, link, standstill, switchboard, door, desk, certificate, life, remote, server,
toyring, command.
"""

from relay.nkn.devnode.faults import LIFELIKE, Faults
from relay.nkn.devnode.knobs import FaultsError
from relay.nkn.devnode.ports import PortTaken
from relay.nkn.devnode.registry import Choice
from relay.nkn.devnode.remote import Remote
from relay.nkn.devnode.ring import Ring
from relay.nkn.devnode.server import DevNode
from relay.nkn.devnode.times import Times
from relay.nkn.devnode.toyring import ToyRing

__all__ = [
    "LIFELIKE",
    "Choice",
    "DevNode",
    "Faults",
    "FaultsError",
    "PortTaken",
    "Remote",
    "Ring",
    "Times",
    "ToyRing",
]
