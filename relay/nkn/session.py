"""One websocket with one node, as a table: who may say what when, and when silence means death.

    state      │ authChallenge │ setClient ok │ wrong node │ refused │ block hash │ due
    ───────────┼───────────────┼──────────────┼────────────┼─────────┼────────────┼─────────────────────
    GREETING   │ → REGISTERING │ –            │ Moved      │ Refused │ kept       │ → REGISTERING unsigned
    REGISTERING│ answered again│ → READY      │ Moved      │ Refused │ kept       │ Dead
    READY      │ –             │ –            │ Moved      │ –       │ kept       │ Ping, Pong, Dead

Text frames and the time go in, steps come out; the shell (`nodesocket`) acts on them. Binary frames are
not looked at here: they may arrive before the setClient answer and are then as good as later ones.
Pure: `now` is an argument, the salt comes from the caller's entropy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from relay.nkn import sigchain
from relay.nkn.identity import Identity
from wire import limits, redact

WRONG_NODE = 48001


class State(Enum):
    """Where a session stands; the rows of the table above."""

    GREETING = "greeting"
    REGISTERING = "registering"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node as RPC and setClient answers describe it.

    Attributes:
        addr: `host:port` of its websocket, without scheme.
        pubkey: its 32-byte key, empty if unknown; it goes into what clients sign.
        rpc_addr: `host:port` of its JSON-RPC, or empty.
    """

    addr: str
    pubkey: bytes = b""
    rpc_addr: str = ""

    @classmethod
    def parse(cls, raw: object) -> NodeInfo | None:
        """Read a node's JSON description; None if it is not one."""
        if not isinstance(raw, dict):
            return None
        addr, pubkey, rpc = raw.get("addr"), raw.get("pubkey", ""), raw.get("rpcAddr", "")
        if not isinstance(addr, str) or not _is_authority(addr) or not isinstance(pubkey, str):
            return None
        try:
            key = bytes.fromhex(pubkey)
        except ValueError:
            return None
        if len(key) not in {0, 32}:
            return None
        return cls(addr, key, rpc if isinstance(rpc, str) and _is_authority(rpc) else "")


@dataclass(frozen=True, slots=True)
class Say:
    """Send this text frame."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a ping, to see whether the node still answers."""


@dataclass(frozen=True, slots=True)
class Pong:
    """Send an unsolicited pong, to stay registered."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Registered: messages may be sent."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Another node is responsible now; this socket is good for sending until the new one is ready."""

    node: NodeInfo | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The node does not want us; back off."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Close the socket and look for the node again."""

    reason: str


Step = Say | Ping | Pong | Ready | Moved | Refused | Dead


class NodeSession:
    """The client's half of a session.

    Args:
        identity: signs the challenge.
        address: what is registered, with its `__i__.` prefix.
        node_key: the node's key as RPC told it; replaced by what the node itself says.
        entropy: n → n fresh random bytes.
        now: seconds on a monotonic clock.

    Attributes:
        state: GREETING, REGISTERING or READY, which is reached only with the node's key and a block hash.
        node_key: 32 bytes or empty.
        block_hash: 32 bytes, or empty before the node told one.
    """

    def __init__(
        self, identity: Identity, address: str, node_key: bytes, entropy: Callable[[int], bytes], now: float
    ) -> None:
        self._identity = identity
        self._address = address
        self._entropy = entropy
        self.state = State.GREETING
        self.node_key = node_key
        self.block_hash = b""
        self._heard_at = now
        self._state_since = now
        self._pinged_at = now
        self._ponged_at = now

    def opened(self, now: float) -> None:
        """The websocket stands; the time it took to dial does not count."""
        self._heard_at = self._state_since = self._pinged_at = self._ponged_at = now

    def heard(self, now: float) -> None:
        """Any byte came from the node."""
        self._heard_at = now

    def feed(self, text: str, now: float) -> list[Step]:
        """Take a text frame; frames that are not understood are passed over."""
        self.heard(now)
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            return []
        if not isinstance(frame, dict):
            return []
        if frame.get("Error") == WRONG_NODE:
            return [Moved(NodeInfo.parse(frame.get("Result")))]
        action = _ACTIONS.get(str(frame.get("Action")))
        return action(self, frame, now) if action else []

    def due_at(self) -> float:
        """When `advance` wants to be called next."""
        if self.state is State.GREETING:
            return self._state_since + limits.CHALLENGE_WAIT_S
        if self.state is State.REGISTERING:
            return self._state_since + limits.REGISTER_WAIT_S
        return min(
            self._heard_at + limits.SILENCE_S,
            self._pinged_at + limits.NODE_PING_S,
            self._ponged_at + limits.PONG_S,
        )

    def advance(self, now: float) -> list[Step]:
        """What the time that passed asks for."""
        if self.state is State.GREETING:
            late = now >= self._state_since + limits.CHALLENGE_WAIT_S
            return self._register(now, {}) if late else []
        if self.state is State.REGISTERING:
            late = now >= self._state_since + limits.REGISTER_WAIT_S
            return [Dead("the node did not answer setClient")] if late else []
        if now >= self._heard_at + limits.SILENCE_S:
            return [Dead(f"nothing came from the node for {limits.SILENCE_S:.0f} s")]
        steps: list[Step] = []
        if now >= self._ponged_at + limits.PONG_S:
            self._ponged_at = now
            steps.append(Pong())
        if now >= self._pinged_at + limits.NODE_PING_S:
            self._pinged_at = now
            steps.append(Ping())
        return steps

    def _challenged(self, frame: dict[str, object], now: float) -> list[Step]:
        if self.state is State.READY:
            return []
        try:
            challenge = bytes.fromhex(str(frame.get("Challenge")))
        except ValueError:
            return [Refused(0, "the node's challenge is not hexadecimal")]
        salt = self._entropy(32)
        signature = self._identity.sign(sigchain.challenge_digest(challenge, salt))
        return self._register(now, {"ClientSalt": salt.hex(), "Signature": signature.hex()})

    def _register(self, now: float, proof: dict[str, str]) -> list[Step]:
        if self.state is State.GREETING:
            self.state, self._state_since = State.REGISTERING, now
        return [Say(json.dumps({"Action": "setClient", "Addr": self._address, **proof}, ensure_ascii=False))]

    def _answered(self, frame: dict[str, object], now: float) -> list[Step]:
        if self.state is State.READY:
            return []
        code = frame.get("Error")
        if code != 0:
            number = code if isinstance(code, int) else 0
            return [Refused(number, redact.printable(str(frame.get("Desc") or "no reason given")))]
        if self.state is State.GREETING:
            return []
        result = frame.get("Result")
        node = NodeInfo.parse(result.get("node")) if isinstance(result, dict) else None
        if node is not None and node.pubkey:
            self.node_key = node.pubkey
        if isinstance(result, dict):
            self._keep_hash(result.get("sigChainBlockHash"))
        if len(self.block_hash) != 32 or len(self.node_key) != 32:
            return [Refused(0, "the node's answer lacks its key or a block hash")]
        self.state = State.READY
        self._pinged_at = self._ponged_at = now
        return [Ready()]

    def _hashed(self, frame: dict[str, object], _now: float) -> list[Step]:
        if frame.get("Error") in (0, None):
            self._keep_hash(frame.get("Result"))
        return []

    def _keep_hash(self, raw: object) -> None:
        try:
            block_hash = bytes.fromhex(raw) if isinstance(raw, str) else b""
        except ValueError:
            return
        if len(block_hash) == 32:
            self.block_hash = block_hash


_Action = Callable[[NodeSession, dict[str, object], float], list[Step]]
_ACTIONS: dict[str, _Action] = {
    "authChallenge": NodeSession._challenged,  # noqa: SLF001 - the table is part of the class
    "setClient": NodeSession._answered,  # noqa: SLF001
    "updateSigChainBlockHash": NodeSession._hashed,  # noqa: SLF001
}


def _is_authority(text: str) -> bool:
    """`host:port` without scheme, path or blanks."""
    host, colon, port = text.rpartition(":")
    clean = all(char.isalnum() or char in ".-:[]_" for char in host)
    return bool(colon and host and clean and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536)
