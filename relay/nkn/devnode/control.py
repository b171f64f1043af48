"""The JSON text frames between node and client: what is said, what is understood, with the real node's codes.

Every frame of the node has Action, Desc, Error, Result and Version; the Go SDK ends its whole process when
one lacks Action or Error. Shapes of refusals are those recorded from a real node, oddities included.
Pure; called by `core`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from relay.nkn import identity, sigchain

WRONG_NODE = 48001
ILLEGAL_FORMAT = 41003
INVALID_METHOD = 42001
INVALID_PARAMS = 42002
BAD_SIGNATURE = 42003
INTERNAL = 45001

_DESC = {
    0: "SUCCESS",
    ILLEGAL_FORMAT: "ILLEGAL DATAFORMAT",
    INVALID_METHOD: "INVALID METHOD",
    INVALID_PARAMS: "INVALID PARAMS",
    BAD_SIGNATURE: "VERIFY SIGNATURE ERROR",
    INTERNAL: "INTERNAL ERROR",
    WRONG_NODE: "WRONG NODE TO CONNECT",
}
_ACTIONS = ("setClient", "heartbeat", "getsessioncount", "gettxhashmap", "sendrawtransaction")
_STRINGS = ("Addr", "Assetid", "Hash")


@dataclass(frozen=True, slots=True)
class Claim:
    """An address that a client wants to register.

    Attributes:
        address: letter by letter as it was sent; its hash decides where it belongs.
        source: the same as receivers see it.
        public_key: 32 bytes, not necessarily a point on the curve.
    """

    address: str
    source: str
    public_key: bytes

    @classmethod
    def parse(cls, text: str) -> Claim | None:
        """Read an address as a real node does: all that counts is a last part of 64 hex digits."""
        if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text):
            return None
        name, _, last = text.rpartition(".")
        key = from_hex(last)
        if isinstance(key, str) or len(key) != 32:
            return None
        return cls(text, f"{name}.{key.hex()}" if name else key.hex(), key)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A setClient that is not accepted; `closes` if its socket goes with it."""

    code: int
    result: Any
    why: str
    closes: bool = False

    def frame(self) -> str:
        """What the client is told."""
        return frame("setClient", self.code, self.result)


def frame(action: str, code: int, result: Any, **more: str) -> str:
    """One text frame of the node."""
    body = {"Action": action, "Desc": _DESC[code], "Error": code, "Result": result, "Version": 1, **more}
    return json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def challenge(value: bytes) -> str:
    """The first frame on every socket."""
    return frame("authChallenge", 0, "", Challenge=value.hex())


def accepted(node: dict[str, str], block_hash: bytes) -> str:
    """The answer to a good setClient."""
    return frame("setClient", 0, {"node": node, "sigChainBlockHash": block_hash.hex()})


def wrong_node(node: dict[str, str], *, pushed: bool) -> str:
    """Another node owns this address: as an answer to setClient, or unasked."""
    return frame("" if pushed else "setClient", WRONG_NODE, node)


def new_block(block_hash: bytes) -> str:
    """The hash to sign into messages from now on."""
    return frame("updateSigChainBlockHash", 0, block_hash.hex())


def read(text: str) -> dict[str, Any] | str:
    """A client's frame, or what it is told if it is none."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return frame("", ILLEGAL_FORMAT, "")
    if body is None:
        return frame("", INVALID_METHOD, "")
    if not isinstance(body, dict):
        return frame("", ILLEGAL_FORMAT, "")
    if body.get("Action") not in _ACTIONS:
        return frame("", INVALID_METHOD, "")
    if any(not isinstance(body.get(name, ""), str) for name in _STRINGS):
        return frame("", INVALID_PARAMS, "")
    return body


def answer(action: str, session_name: str, sessions: int) -> str:
    """The answer to what is not setClient."""
    if action == "sendrawtransaction":
        return frame(action, INVALID_PARAMS, "tx should be a hex string")
    return frame(action, 0, {"heartbeat": session_name, "getsessioncount": sessions}.get(action, 0))


def claim(body: dict[str, Any]) -> Claim | Refusal:
    """The address of a setClient."""
    found = Claim.parse(body.get("Addr", ""))
    return found or Refusal(INVALID_PARAMS, None, "its Addr does not end in a public key of 64 hex digits")


def proof(
    body: dict[str, Any], public_key: bytes, sent_challenge: bytes, *, required: bool
) -> Refusal | None:
    """Whether a setClient is signed as it must be; None if it is.

    Args:
        sent_challenge: what the node sent on this socket.
        required: refuse what is not signed at all; real nodes accept it.
    """
    if "ClientSalt" not in body or "Signature" not in body:
        if required:
            return Refusal(BAD_SIGNATURE, None, "it is not signed; real nodes accept that today", closes=True)
        return None
    parts = []
    for name in ("ClientSalt", "Signature"):
        text = body[name]
        if not isinstance(text, str):
            return Refusal(INVALID_PARAMS, {}, f"its {name} is no text")
        part = from_hex(text)
        if isinstance(part, str):
            return Refusal(ILLEGAL_FORMAT, part, f"its {name} is not hexadecimal")
        parts.append(part)
    salt, signature = parts
    if identity.verify(public_key, sigchain.challenge_digest(sent_challenge, salt), signature):
        return None
    return Refusal(BAD_SIGNATURE, None, "its signature of SHA-256(challenge ‖ salt) is wrong", closes=True)


def from_hex(text: str) -> bytes | str:
    """The bytes, or the words in which a real node (Go) complains."""
    for char in text.encode(errors="replace"):
        if chr(char) not in "0123456789abcdefABCDEF":
            return f"encoding/hex: invalid byte: U+{char:04X} '{chr(char)}'"
    return "encoding/hex: odd length hex string" if len(text) % 2 else bytes.fromhex(text)
