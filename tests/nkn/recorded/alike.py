"""One frame of the recording held against one of ours: what kind it is, and then field by field.

Used by `stage`; the differences go to the case's `likeness.Likeness`.
"""

from nkn.recorded import labels, recording, rpcplay
from nkn.recorded.likeness import Literally
from nkn.recorded.words import Content

from relay.nkn import envelope
from relay.nkn.seal import SealError

RECEIPT_B = 34
"""What a prev_hash adds to a frame."""


def compare(like, event, got, hand):
    """Compare a frame of the recording with ours.

    Args:
        hand: the connection it came by; it notes the receipt that is asked for.
    """
    op = "http" if event.op == "http_response" else event.op
    if op != got.op:
        like.differ(event.conn, Literally(labels.of_event(event)), Literally(labels.of_got(got)))
    elif op == "http":
        rpcplay.compare(like, event.rest["raw"], got.data.decode())
    elif op == "text":
        where = f"{event.conn} {labels.of_event(event).removeprefix('text ')}"
        like.texts(where, event.text, got.data.decode())
    elif op == "binary":
        _inbound(like, event, got, hand)
    elif op == "close":
        one, other = labels.closing(event.rest), labels.closing_of(got.data)
        like.values(f"{event.conn} close", one, other)
    elif op in {"ping", "pong"}:
        like.values(f"{event.conn} {op}", event.rest["payload_hex"], got.data.hex())


def _inbound(like, event, got, hand):
    """Compare a delivered message: source, payload and length, and that a prev_hash has 32 bytes."""
    ours, recorded, where = (
        envelope.read(got.data),
        recording.read(event),
        f"{event.conn} {labels.of_event(event)}",
    )
    if ours.prev_hash:
        hand.asked = ours.prev_hash
        like.values(f"{where} prev_hash length", RECEIPT_B - 2, len(ours.prev_hash))
    if event.said is None:  # only its length is told; it asked for a receipt
        asks = True
    else:
        try:
            found, sealed = recording.opened(ours.payload, recording.owner(hand.address), ours.src)
        except SealError:
            return like.differ(where, Literally("sealed for it"), Literally("sealed for another"))
        content, asks = Content.of(found, sealed=sealed), event.said.asks
        told = {"src": event.said.who[0]} | _shape(event.said.contents[0])
        like.values(where, told, {"src": ours.src} | _shape(content))
    if recorded is not None:
        if recorded.prev_hash and ours.prev_hash:
            like.values(f"{where} prev_hash", recorded.prev_hash.hex(), ours.prev_hash.hex())
        like.values(f"{where} payload", recorded.payload.hex(), ours.payload.hex())
    elif "len" in event.rest:
        chance_b = RECEIPT_B * (asks - bool(ours.prev_hash))
        like.values(f"{where} length", event.rest["len"], len(got.data) + chance_b)
    return None


def _shape(content):
    """A message's fields, to compare one by one."""
    data = content.data if isinstance(content.data, str) else content.data.hex()
    named = {"kind": content.kind, "sealed": content.sealed, "data": data}
    return named | {"id": content.id, "to": content.reply_to}
