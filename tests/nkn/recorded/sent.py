"""What our client sent in a role: messages opened and verified, receipts checked.

Reads a `role.Role`; used by `deeds` and by scripts of `roles`.
"""

from dataclasses import dataclass, replace

from nkn.recorded import recording
from nkn.recorded.words import Content, Words

from relay.nkn import envelope, messages_pb2, sigchain
from relay.nkn.identity import verify


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of our client.

    Attributes:
        conn: the connection it took.
        frame: as it was read.
        said: the same in the recording's words.
        no_reply: whether it asks for no answer.
        good: whether each signature covers what it must.
    """

    conn: str
    frame: envelope.Outbound
    said: Words
    no_reply: bool
    good: bool


def messages(role):
    """Each message our client sent."""
    for conn, frame, raw in _frames(role, envelope.Outbound):
        inners = []
        for dest, body in zip(frame.dests, frame.payloads, strict=False):
            found, sealed = recording.opened(body, recording.owner(dest), role.part.addr)
            inners.append((Content.of(found, sealed=sealed), found.no_reply))
        source = role.case.conns.get(conn, role.part.addr) if role.part.parts else role.part.addr
        outer = messages_pb2.ClientMessage.FromString(raw)
        said = Words("OUTBOUND", frame.dests, tuple(one for one, _ in inners), frame.max_holding_seconds)
        yield Sent(
            conn,
            frame,
            replace(said, zlib=outer.compression_type == messages_pb2.COMPRESSION_ZLIB),
            inners[0][1],
            frame.nonce > 0 and recording.signatures_hold(frame, source, _node_key(role, conn)),
        )


def receipts(role):
    """How many receipts it sent; each must be for a message that asked there, and well signed."""
    me, asked, shown = recording.owner(role.part.addr), set(), {}
    for event in role.events:
        read = recording.read(event)
        if event.way == "n>c" and event.op == "binary":
            asked.add((event.conn, envelope.read(role.payload(event)).prev_hash))
        if isinstance(read, envelope.Receipt) and event.rest.get("note", "receipt") == "receipt":
            shown[read.prev_hash] = recording.frame_of(event)
    given = _frames(role, envelope.Receipt)
    for conn, one, raw in given:
        assert (conn, one.prev_hash) in asked
        assert verify(me.public_key, sigchain.receipt_digest(one.prev_hash), one.signature)
        assert raw == shown.get(one.prev_hash, raw)
    return len(given)


def _node_key(role, conn):
    """The key that a connection's signatures must cover."""
    named = (event.rest.get("node") for event in role.case.of(conn))
    name = next((one for one in named if one in recording.NODES), next(iter(role.network.ports)))
    return bytes.fromhex(recording.NODES[name]["pubkey"])


def _frames(role, kind):
    return [
        (conn, read, got.data)
        for conn, one in role.clients.items()
        for got in one.frames
        if got.op == "binary" and isinstance(read := envelope.read(got.data), kind)
    ]
