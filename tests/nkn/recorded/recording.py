"""The recording of a real node, read by its own conventions: cases, events, and what frames say in words.

The file is `nknd-recorded.json`; its `meta.conventions` are the rules that are spelt out here.
Knows nothing of what is replayed against it.
"""

import base64
import copy
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

from nkn.recorded.words import address, decoded, words

from relay.nkn import envelope, payload, seal, sigchain
from relay.nkn.identity import Identity, verify

FILE = json.loads(Path(__file__).with_name("nknd-recorded.json").read_text(encoding="utf-8"))
PEOPLE = {label: Identity(bytes.fromhex(one["seed"])) for label, one in FILE["identities"].items()}
ADDRESSES = {label: one["addr"] for label, one in FILE["identities"].items()}
NODES = {node["name"]: node for node in FILE["nodes"]}
_BY_KEY = {one.public_key.hex(): one for one in PEOPLE.values()}

RING = ("N6", "N5", "N7")
"""The three nodes that were recorded together; the others were alone."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a transcript.

    Attributes:
        t: seconds from the start of the case.
        way: "c>n", "n>c", "app" or "".
    """

    t: float
    conn: str
    way: str
    op: str
    rest: dict

    @property
    def text(self):
        """The exact text of a text frame."""
        if "b64" in self.rest:
            return base64.b64decode(self.rest["b64"]).decode("latin-1")
        body = self.rest.get("json", self.rest.get("text"))
        return body if isinstance(body, str) else compact(body)

    @property
    def said(self):
        """What a binary frame contains, or None if the file does not tell."""
        if "decoded" in self.rest:
            return decoded(self.rest["decoded"], ADDRESSES)
        text = self.rest.get("is", "")
        return words(text, ADDRESSES) if text and text != "not protobuf" else None


@dataclass(frozen=True, slots=True)
class Case:
    """One transcript."""

    name: str
    events: tuple[Event, ...]
    observed: dict
    conns: dict

    @property
    def nodes(self):
        """Names of the recorded nodes that take part; those of the ring always together."""
        named = [event.rest["node"] for event in self.events if "node" in event.rest]
        return RING if not self.events or set(named) & set(RING) else tuple(named[:1]) or ("N1",)

    def of(self, *conns):
        """The events of some connections."""
        return [event for event in self.events if event.conn in conns]


def chance(name):
    """Random bytes that are the same in each run."""
    return random.Random(name)


def compact(body):
    """JSON as the file's conventions have it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def owner(addr):
    """Whose address it is; None for a stranger's."""
    return _BY_KEY.get(addr.rpartition(".")[2].lower())


def label(addr):
    """Whose it is in one word, whatever stands before the key."""
    return next(name for name, one in PEOPLE.items() if one is owner(addr)).rpartition("-")[2]


def challenge_holds(body, challenge):
    """Whether a setClient of the recording was signed as it must be."""
    try:
        given, signature = bytes.fromhex(body["ClientSalt"]), bytes.fromhex(body["Signature"])
        key = bytes.fromhex(body["Addr"].rpartition(".")[2])
    except (KeyError, TypeError, ValueError):
        return False
    return verify(key, sigchain.challenge_digest(bytes.fromhex(challenge), given), signature)


def signatures_hold(sent, source, node_key):
    """Whether an outbound frame of the recording was signed as it must be."""
    if not isinstance(sent, envelope.Outbound) or owner(source) is None or len(sent.block_hash) != 32:
        return False
    if len(sent.signatures) != len(sent.dests) or not sent.payloads:
        return False
    head = sigchain.Head(sent.nonce, sent.block_hash, source, node_key)
    many = len(sent.payloads) > 1
    try:
        return all(
            verify(
                owner(source).public_key,
                head.digest(dest, len(sent.payloads[number if many else 0])),
                signature,
            )
            for number, (dest, signature) in enumerate(zip(sent.dests, sent.signatures, strict=True))
        )
    except (ValueError, IndexError):
        return False


def sealed(content, source, dest, nonce):
    """A message as its sender would have sealed it for one destination."""
    raw = content.payload().encode()
    if not content.sealed:
        return seal.plain(raw)
    key = owner(source).shared_key(owner(dest).public_key)
    return seal.seal(raw, key, hashlib.sha256(nonce).digest()[:24])


def opened(raw, me, source):
    """The payload of a message for `me`, as the pair (payload, sealed)."""
    outer = seal.parse(raw)
    inner = seal.unseal(outer, me.shared_key(owner(source).public_key)) if outer.encrypted else outer.payload
    return payload.decode(inner), outer.encrypted


def _expanded(rest):
    rest = copy.deepcopy(rest)
    if "text_ref" in rest:
        rest["json"] = FILE["texts"][rest["text_ref"]]
    if "addr" in rest:
        rest["addr"] = address(rest["addr"], ADDRESSES)
    return rest


def _event(t_ms, conn, way, op, rest=None):
    return Event(round(t_ms / 1000, 4), conn, way, str(op), _expanded(rest or {}))


def _cases():
    for name, raw in FILE["ws"].items():
        events = tuple(_event(*line) for line in raw["events"])
        conns = {conn: address(text, ADDRESSES) for conn, text in raw.get("conns", {}).items()}
        yield Case(name, events, raw.get("observed", {}), conns)


CASES = {case.name: case for case in _cases()}
RPC = {one["case"]: one for one in FILE["rpc"]["cases"]}


def frame_of(event):
    """A binary frame of the recording byte for byte, or None where only its words are left."""
    return base64.b64decode(event.rest["b64"]) if "b64" in event.rest else None


def read(event):
    """A binary frame of the recording, read; None where only its words are left, or where it is none."""
    try:
        return envelope.read(frame_of(event) or b"\xff")
    except envelope.EnvelopeError:
        return None
