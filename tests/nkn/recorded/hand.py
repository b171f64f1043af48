"""One connection of the recorder, replayed: what it sends, with what a client signs signed for this node.

What was well signed in the recording is signed anew, with our challenge, block hash and node key; what was
wrong there goes out as it was. Used by `stage`.
"""

import hashlib
import json
import zlib

from nkn.recorded import clock, labels, recording
from nkn.recorded.rawsocket import Got, Wire
from nkn.recorded.words import Words

from relay.nkn import envelope, payload, seal, sigchain
from relay.nkn import messages_pb2 as pb

PATIENCE_S = 1.0
"""How long an answer is waited for that needs no timer."""
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: rZzb77cNphCwfcxhOTQFKg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
NONCE = 2**28 + 1
"""Of frames that are made of words: as long as the recorder's."""


class Hand:
    """A client that does what the recorded one did.

    Args:
        node: the development node it is connected to.
        told: the recorded node that this one plays.
        like: what recorded values stand for.

    Attributes:
        address: what it registered.
        asked: the last prev_hash that came.
        left: whether it ended the connection itself.
    """

    def __init__(self, wire, node, told, like):
        self.wire = wire
        self.node = node
        self.address = ""
        self.asked = b""
        self.left = False
        self._told_key = bytes.fromhex(told["pubkey"])
        self._like = like
        self._challenge = b""
        self._recorded_challenge = "00"

    @classmethod
    async def to(cls, node, told, like):
        """Connect to a node; nothing is said yet."""
        return cls(await Wire.to(int(node.ws_url.rpartition(":")[2])), node, told, like)

    async def upgrade(self):
        """Ask for a websocket."""
        await self.wire.raw(UPGRADE)
        await self.wire.next(clock.now() + PATIENCE_S)

    async def greeted(self, recorded=""):
        """Take the challenge; return the frame."""
        got = await self.wire.next(clock.now() + PATIENCE_S) or Got("nothing")
        frame = json.loads(got.data) if got.op == "text" else {}
        self._challenge = bytes.fromhex(frame.get("Challenge", ""))
        self._recorded_challenge = recorded or "00"
        return got

    async def register(self, addr):
        """Register; return the answer and put back what came before it."""
        salt = hashlib.sha256(b"replay").digest()
        signature = recording.owner(addr).sign(sigchain.challenge_digest(self._challenge, salt))
        body = {"Action": "setClient", "Addr": addr, "ClientSalt": salt.hex(), "Signature": signature.hex()}
        self.address = addr
        await self.wire.send("text", recording.compact(body).encode())
        early = []
        while (got := await self.wire.next(clock.now() + PATIENCE_S)) is not None and got.op == "binary":
            early.append(got)
        self.wire.inbox.extendleft(reversed(early))
        return got or Got("nothing")

    async def frame(self, event):
        """Send one frame of the recording."""
        how = {"fin": event.rest.get("fin", True), "rsv": event.rest.get("rsv", 0)}
        if event.rest.get("masked") is False:
            how["mask"] = None
        op = int(event.op) if event.op.isdigit() else event.op
        await self.wire.send(op, self._payload(event), **how)

    async def say(self, dest, content, hold=0):
        """Send a message of one's own."""
        await self.wire.send("binary", self._made(Words("OUTBOUND", (dest,), (content,), hold)))

    async def close(self):
        """Let go of the connection."""
        await self.wire.close()

    def outbound(self, dests, payloads, nonce=NONCE, hold=0):
        """A signed frame."""
        chain, key = self.node.ring.chain, self.node.place.public_key
        head = sigchain.Head(nonce, chain.latest, self.address, key)
        return envelope.outbound(recording.owner(self.address), head, dests, payloads, hold)

    def sized(self, dest, frame_b, *, inflated=False):
        """A frame of so many bytes with an unsealed message; `inflated`: only once it is inflated."""
        data_b, frame = frame_b - 300, b""
        while len(frame) != frame_b:
            data_b += frame_b - len(frame) if frame else 0
            sealed = seal.plain(payload.message(bytes(data_b), b"sizeable").encode())
            frame = self.outbound((dest,), [sealed], nonce=1)
        if not inflated:
            return frame
        outer = pb.ClientMessage.FromString(frame)
        outer.message, outer.compression_type = zlib.compress(outer.message), pb.COMPRESSION_ZLIB
        return outer.SerializeToString()

    def _payload(self, event):
        if event.op == "text":
            if "json" in event.rest:
                return recording.compact(self._signed(event.rest["json"])).encode()
            return event.text.encode("latin-1" if "b64" in event.rest else "utf-8")
        if event.op in {"ping", "pong"}:
            return bytes.fromhex(event.rest["payload_hex"])
        if event.op == "close":
            return labels.close_payload(event.rest)
        if event.op == "binary" and (event.said or recording.read(event)):
            return self._binary(event)
        return recording.frame_of(event) or b""

    def _signed(self, body):
        """A setClient for our challenge."""
        if not isinstance(body, dict) or body.get("Action") != "setClient":
            return body
        if isinstance(body.get("Addr"), str):
            self.address = body["Addr"]
        if not recording.challenge_holds(body, self._recorded_challenge):
            return body
        digest = sigchain.challenge_digest(self._challenge, bytes.fromhex(body["ClientSalt"]))
        return {**body, "Signature": recording.owner(body["Addr"]).sign(digest).hex()}

    def _binary(self, event):
        raw, read = recording.frame_of(event), recording.read(event)
        if isinstance(read, envelope.Receipt) or (event.said and event.said.kind == "RECEIPT"):
            return self._receipt(read, raw)
        if read is None:
            return self._made(event.said)
        if not recording.signatures_hold(read, self.address, self._told_key):
            return raw
        return self.outbound(read.dests, read.payloads, read.nonce, read.max_holding_seconds)

    def _receipt(self, read, raw):
        me = recording.owner(self.address)
        if read is None:
            return envelope.receipt(me, self.asked)
        prev_hash = bytes.fromhex(self._like.ours(read.prev_hash.hex()))
        if prev_hash == read.prev_hash:
            return raw
        good = envelope.receipt(me, prev_hash)
        if raw == envelope.receipt(me, read.prev_hash):
            return good
        return good.replace(envelope.read(good).signature, read.signature)

    def _made(self, said):
        """A frame made of words; its nonces are our own, its lengths the recorded ones."""
        sealed = recording.sealed(said.contents[0], self.address, said.who[0], repr(said).encode())
        return self.outbound(said.who, [sealed], hold=said.hold)
