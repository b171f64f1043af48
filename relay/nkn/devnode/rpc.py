"""JSON-RPC as a node answers it: what a request is, what is wrong with it, with the codes of a real node.

An error is HTTP 200, a panic 500; GET and OPTIONS are answered with nothing, 429 has no CORS headers.
Pure; called by `desk`. What the methods answer is `rpcmethods`'.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from relay.nkn.devnode import rpcmethods
from relay.nkn.devnode.answer import CORS, TOO_MANY, Answer
from relay.nkn.devnode.rpcmethods import INTERNAL, METHODS, NO_ID, Facts, Panic, RpcError

__all__ = ["CORS", "Answer", "Office", "failure"]

_MESSAGES = {
    -42001: "INVALID METHOD",
    -42002: "INVALID PARAMS",
    -42004: "INVALID JSON",
    INTERNAL: "INTERNAL ERROR",
    NO_ID: "No ID in this account, waiting for generate ID fee or generate ID transaction",
}
_NEED_AN_ID = ("getwsaddr", "getwssaddr", "getpeeraddr", "getnodestate")


@dataclass(frozen=True, slots=True)
class Office(Facts):
    """What RPC answers from, and the answers."""

    def answer(self, method: str, body: bytes, *, joining: bool = False) -> Answer:
        """Answer one HTTP request.

        Args:
            method: of HTTP; anything but POST is answered with nothing.
            joining: as a node that has no place on the ring yet.
        """
        if method != "POST":
            return Answer(200)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return _error("", RpcError(-42004))
        if asked is None:
            asked = {}
        if not isinstance(asked, dict) or body.startswith(b"\xef\xbb\xbf"):
            return _error("", RpcError(-42004))
        request_id = asked.get("id")
        if not isinstance(request_id, str):
            request_id = "1"
        try:
            return _said({"id": request_id, "jsonrpc": "2.0", "result": self._call(asked, joining=joining)})
        except RpcError as error:
            return _error(request_id, error)
        except Panic:
            return failure("500")

    def _call(self, asked: dict[str, Any], *, joining: bool) -> Any:
        name = asked.get("method")
        method = METHODS.get(name) if isinstance(name, str) else None
        if method is None:
            raise RpcError(-42001)
        params = asked.get("params")
        if params is not None and not isinstance(params, dict):
            raise RpcError(-42002)
        if joining and name in _NEED_AN_ID:
            raise RpcError(NO_ID, more={"publicKey": self.place.public_key.hex(), "walletAddress": ""})
        return method(self, params or {})


def failure(kind: str) -> Answer:
    """What a node in trouble answers: "500", "429", "garbage" or "error"."""
    if kind == "429":
        return TOO_MANY
    if kind == "500":
        return _error("1", RpcError(INTERNAL), status=500)
    if kind == "garbage":
        return Answer(200, b"<html>502 Bad Gateway</html>")
    return _error("1", RpcError(INTERNAL, rpcmethods.NO_REPLY))


def _error(request_id: str, error: RpcError, status: int = 200) -> Answer:
    body: dict[str, Any] = {"code": error.code, "message": _MESSAGES[error.code], **error.more}
    if error.data is not None:
        body["data"] = error.data
    return _said({"error": body, "id": request_id, "jsonrpc": "2.0"}, status, error.after_s)


def _said(body: dict[str, Any], status: int = 200, after_s: float = 0.0) -> Answer:
    said = json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return Answer(status, said.encode(errors="replace"), after_s=after_s)
