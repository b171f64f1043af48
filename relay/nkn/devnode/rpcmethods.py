"""What the JSON-RPC methods of a node answer: where an address lives, and how the node is doing.

Those that clients ask, and those that cost nothing; names and subscriptions do not exist here.
Pure; called by `rpc`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relay.nkn import address
from relay.nkn.devnode import control
from relay.nkn.devnode import limits as own
from relay.nkn.devnode.ring import Place, Ring, View

INTERNAL = -45001
NO_ID = -45022
NO_REPLY = "Wait for reply timeout"
_PROTOCOL_VERSION = 40


@dataclass(frozen=True, slots=True)
class RpcError(Exception):
    """A JSON-RPC error.

    Attributes:
        more: members of the error besides code, message and data.
        after_s: seconds until the node gives up.
    """

    code: int
    data: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What RPC answers from.

    Attributes:
        ring: owners of addresses.
        place: this node.
        elsewhere: `host:port` told to clients instead of an owner's; empty tells the truth.
        at: the time, in seconds since 1970.
        uptime: seconds since the start of the node.
    """

    ring: Ring | View
    place: Place
    elsewhere: str = ""
    at: int = 0
    uptime: int = 0


class Panic(Exception):
    """The method fell over; the node answers HTTP 500."""


def _where(facts: Facts, params: dict[str, Any], *, tls: bool) -> dict[str, str]:
    if not params:
        raise RpcError(-42002, "length of params is less than 1")
    asked = params.get("address")
    if not isinstance(asked, str):
        raise RpcError(INTERNAL, "address should be a string")
    key = control.from_hex(asked.rpartition(".")[2])
    if isinstance(key, str):
        raise RpcError(INTERNAL, key)
    owner = facts.ring.owner(address.client_id(asked.encode(errors="replace").decode()))
    if owner is None:
        raise RpcError(INTERNAL, "Found no predecessors")
    if owner.frozen and owner.place != facts.place:
        raise RpcError(INTERNAL, NO_REPLY, after_s=own.FROZEN_RPC_S)
    if tls and not owner.place.wss:
        raise RpcError(INTERNAL, "predecessor node doesn't support WSS protocol")
    told = owner.place.described(tls=tls)
    return {**told, "addr": facts.elsewhere or told["addr"]}


def _ws(facts: Facts, params: dict[str, Any]) -> Any:
    return _where(facts, params, tls=False)


def _wss(facts: Facts, params: dict[str, Any]) -> Any:
    return _where(facts, params, tls=True)


def _peer(_: Facts, params: dict[str, Any]) -> Any:
    """Where WebRTC would begin."""
    offer = params.get("offer")
    if not isinstance(offer, str):
        raise Panic
    try:
        text = base64.b64decode(offer, validate=True).decode("latin-1")
    except ValueError:
        raise RpcError(INTERNAL, "illegal base64 data at input byte 0") from None
    if not text.startswith("{"):
        told = f"invalid character '{text[:1]}' looking for beginning of value"
        raise RpcError(INTERNAL, told if text else "unexpected end of JSON input")
    raise RpcError(INTERNAL, "the development node has no WebRTC")


def _state(facts: Facts, _: dict[str, Any]) -> Any:
    place = facts.place
    return {
        "addr": f"tcp://{place.ws}",
        "currTimeStamp": facts.at,
        "height": facts.ring.chain.height,
        "id": place.id.hex(),
        "jsonRpcPort": _port(place.rpc),
        "proposalSubmitted": 0,
        "protocolVersion": _PROTOCOL_VERSION,
        "publicKey": place.public_key.hex(),
        "relayMessageCount": 0,
        "syncState": "PERSIST_FINISHED",
        "tlsJsonRpcPort": 0,
        "tlsWebsocketPort": _port(place.wss),
        "uptime": facts.uptime,
        "version": "devnode",
        "websocketPort": _port(place.ws),
    }


def _port(at: str) -> int:
    digits = at.rpartition(":")[2]
    return int(digits) if digits.isdecimal() else 0


def _id(facts: Facts, params: dict[str, Any]) -> Any:
    if params.get("publickey") != facts.place.public_key.hex():
        raise RpcError(NO_ID, more={"data": None})
    return {"id": facts.place.id.hex(), "publicKey": facts.place.public_key.hex()}


def _latest(facts: Facts, _: dict[str, Any]) -> Any:
    return {"hash": facts.ring.chain.newest.hex(), "height": facts.ring.chain.height}


def _height(facts: Facts, _: dict[str, Any]) -> Any:
    return facts.ring.chain.height


METHODS: dict[str, Callable[[Facts, dict[str, Any]], Any]] = {
    "getwsaddr": _ws,
    "getwssaddr": _wss,
    "getpeeraddr": _peer,
    "getnodestate": _state,
    "getid": _id,
    "getlatestblockhash": _latest,
    "getlatestblockheight": _height,
    "getneighbor": lambda *_: [],
    "getmyextip": lambda *_: {"RemoteAddr": "127.0.0.1"},
    "getregistrant": lambda *_: {"expiresAt": 0, "registrant": ""},
    "getsubscribers": lambda *_: {"subscribers": []},
    "getnoncebyaddr": lambda facts, _: {
        "currentHeight": facts.ring.chain.height,
        "nonce": 0,
        "nonceInTxPool": 0,
    },
}
