"""JSON-RPC as a node answers it: where an address lives, and how the node is doing.

Method, body and the state of the node go in, an HTTP answer comes out, with the codes and header oddities
of a real node: 429 has no CORS headers, an error is HTTP 200, GET and OPTIONS are answered with nothing.
Pure; called by `rpcserver`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relay.nkn import address
from relay.nkn.devnode import control
from relay.nkn.devnode.ring import Place, Ring

CORS = (
    ("Access-Control-Allow-Headers", "Origin, X-Requested-With, Content-Type, Accept"),
    ("Access-Control-Allow-Origin", "*"),
    ("Content-Type", "application/json;charset=utf-8"),
)
_MESSAGES = {
    -42001: "INVALID METHOD",
    -42002: "INVALID PARAMS",
    -42004: "INVALID JSON",
    -45001: "INTERNAL ERROR",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = CORS


@dataclass(frozen=True, slots=True)
class RpcError(Exception):
    """A JSON-RPC error."""

    code: int
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Office:
    """What RPC answers from.

    Attributes:
        ring: owners of addresses.
        place: this node.
    """

    ring: Ring
    place: Place
    methods: dict[str, Callable[[Office, dict[str, Any]], Any]] = field(default_factory=lambda: _METHODS)

    def answer(self, method: str, body: bytes) -> Answer:
        """Answer one HTTP request.

        Args:
            method: of HTTP; anything but POST is answered with nothing.
        """
        if method != "POST":
            return Answer(200)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return _error("", -42004, None)
        if asked is None:
            asked = {}
        if not isinstance(asked, dict) or body.startswith(b"\xef\xbb\xbf"):
            return _error("", -42004, None)
        request_id = asked.get("id")
        if not isinstance(request_id, str):
            request_id = "1"
        try:
            return _said({"id": request_id, "jsonrpc": "2.0", "result": self._call(asked)})
        except RpcError as error:
            return _error(request_id, error.code, error.data)

    def _call(self, asked: dict[str, Any]) -> Any:
        name = asked.get("method")
        method = self.methods.get(name) if isinstance(name, str) else None
        if method is None:
            raise RpcError(-42001)
        params = asked.get("params")
        if params is not None and not isinstance(params, dict):
            raise RpcError(-42002)
        return method(self, params or {})


def failure(kind: str) -> Answer:
    """What a node in trouble answers: "500", "429", "garbage" or "error"."""
    if kind == "429":
        return Answer(429, headers=())
    if kind == "500":
        return _error("1", -45001, None, status=500)
    if kind == "garbage":
        return Answer(200, b"<html>502 Bad Gateway</html>")
    return _error("1", -45001, "Wait for reply timeout")


def _where(office: Office, params: dict[str, Any], *, tls: bool) -> dict[str, str]:
    if not params:
        raise RpcError(-42002, "length of params is less than 1")
    asked = params.get("address")
    if not isinstance(asked, str):
        raise RpcError(-45001, "address should be a string")
    key = control.from_hex(asked.rpartition(".")[2])
    if isinstance(key, str):
        raise RpcError(-45001, key)
    owner = office.ring.owner(address.client_id(asked.encode(errors="replace").decode()))
    if owner is None:
        raise RpcError(-45001, "Found no predecessors")
    if tls and not owner.place.wss:
        raise RpcError(-45001, "predecessor node doesn't support WSS protocol")
    return owner.place.described(tls=tls)


def _ws(office: Office, params: dict[str, Any]) -> Any:
    return _where(office, params, tls=False)


def _wss(office: Office, params: dict[str, Any]) -> Any:
    return _where(office, params, tls=True)


def _state(office: Office, _: dict[str, Any]) -> Any:
    return {
        "addr": f"tcp://{office.place.ws}",
        "height": office.ring.chain.height,
        "id": office.place.id.hex(),
        "publicKey": office.place.public_key.hex(),
        "syncState": "PERSIST_FINISHED",
        "version": "devnode",
    }


def _latest(office: Office, _: dict[str, Any]) -> Any:
    return {"hash": office.ring.chain.latest.hex(), "height": office.ring.chain.height}


def _height(office: Office, _: dict[str, Any]) -> Any:
    return office.ring.chain.height


def _no_registrant(_: Office, __: dict[str, Any]) -> Any:
    return {"expiresAt": 0, "registrant": ""}


def _no_subscribers(_: Office, __: dict[str, Any]) -> Any:
    return {"subscribers": []}


_METHODS: dict[str, Callable[[Office, dict[str, Any]], Any]] = {
    "getwsaddr": _ws,
    "getwssaddr": _wss,
    "getnodestate": _state,
    "getlatestblockhash": _latest,
    "getlatestblockheight": _height,
    "getregistrant": _no_registrant,
    "getsubscribers": _no_subscribers,
}


def _error(request_id: str, code: int, data: str | None, status: int = 200) -> Answer:
    error: dict[str, Any] = {"code": code, "message": _MESSAGES[code]}
    if data is not None:
        error["data"] = data
    return _said({"error": error, "id": request_id, "jsonrpc": "2.0"}, status)


def _said(body: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(body, separators=(",", ":"), sort_keys=True).encode())
