"""Client ↔ node: the protobuf frames that travel as binary websocket messages.

Source: the node's clientmessage.proto. zlib if and only if a message carries more than one payload.
Everything read here is bounded: an inflated message may be as large as a frame and no larger.
Pure; the client writes outbound and reads inbound, the development node the other way round.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from relay.nkn import messages_pb2 as pb
from relay.nkn import sigchain
from relay.nkn.identity import Identity
from wire import limits
from wire.record import record


class EnvelopeError(ValueError):
    """The frame is not what the protocol says."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message on its way from a client into the network."""

    dests: tuple[str, ...]
    payloads: tuple[bytes, ...]
    nonce: int
    block_hash: bytes
    signatures: tuple[bytes, ...]
    max_holding_seconds: int = 0


@record
class Inbound:
    """A message on its way from a node to a client; a `prev_hash` asks for a receipt."""

    src: str
    payload: bytes
    prev_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receiver's signature that a message arrived."""

    prev_hash: bytes
    signature: bytes


def outbound(
    identity: Identity,
    head: sigchain.Head,
    dests: Sequence[str],
    payloads: Sequence[bytes],
    max_holding_seconds: int = 0,
) -> bytes:
    """The signed frame for `dests`.

    Args:
        payloads: one serialised payloads.Message for all destinations, or one for each.
    """
    sizes = [len(payloads[0 if len(payloads) == 1 else index]) for index in range(len(dests))]
    message = pb.OutboundMessage(
        dests=dests,
        max_holding_seconds=max_holding_seconds,
        nonce=head.nonce,
        block_hash=head.block_hash,
        signatures=[identity.sign(head.digest(dest, size)) for dest, size in zip(dests, sizes, strict=True)],
        payloads=payloads,
    ).SerializeToString(deterministic=True)
    if len(payloads) > 1:
        return _client_message(pb.OUTBOUND_MESSAGE, zlib.compress(message), pb.COMPRESSION_ZLIB)
    return _client_message(pb.OUTBOUND_MESSAGE, message)


def receipt(identity: Identity, prev_hash: bytes) -> bytes:
    """The frame that acknowledges a message to the network."""
    signature = identity.sign(sigchain.receipt_digest(prev_hash))
    body = pb.Receipt(prev_hash=prev_hash, signature=signature).SerializeToString(deterministic=True)
    return _client_message(pb.RECEIPT, body)


def inbound(message: Inbound) -> bytes:
    """The frame a node hands to a client."""
    body = pb.InboundMessage(src=message.src, payload=message.payload, prev_hash=message.prev_hash)
    return _client_message(pb.INBOUND_MESSAGE, body.SerializeToString(deterministic=True))


def read(frame: bytes) -> Outbound | Inbound | Receipt:
    """Read one binary websocket message.

    Raises:
        EnvelopeError: if it is no such protobuf, of an unknown type, or inflates beyond a frame.
    """
    try:
        outer = pb.ClientMessage.FromString(frame)
        body = _inflate(outer)
        if outer.message_type == pb.INBOUND_MESSAGE:
            arrived = pb.InboundMessage.FromString(body)
            return Inbound(arrived.src, arrived.payload, arrived.prev_hash)
        if outer.message_type == pb.RECEIPT:
            given = pb.Receipt.FromString(body)
            return Receipt(given.prev_hash, given.signature)
        if outer.message_type == pb.OUTBOUND_MESSAGE:
            return _outbound_of(pb.OutboundMessage.FromString(body))
    except (DecodeError, zlib.error) as error:
        raise EnvelopeError("not a client message") from error
    raise EnvelopeError(f"unknown message type {int(outer.message_type)}")


def _outbound_of(sent: pb.OutboundMessage) -> Outbound:
    # The single dest and payload are the protocol's first version; nodes still accept them.
    return Outbound(
        dests=tuple(sent.dests) or ((sent.dest,) if sent.dest else ()),
        payloads=tuple(sent.payloads) or ((sent.payload,) if sent.payload else ()),
        nonce=sent.nonce,
        block_hash=sent.block_hash,
        signatures=tuple(sent.signatures),
        max_holding_seconds=sent.max_holding_seconds,
    )


def _client_message(
    kind: pb.ClientMessageType, body: bytes, compression: pb.CompressionType = pb.COMPRESSION_NONE
) -> bytes:
    return pb.ClientMessage(message_type=kind, message=body, compression_type=compression).SerializeToString(
        deterministic=True
    )


def _inflate(outer: pb.ClientMessage) -> bytes:
    if outer.compression_type == pb.COMPRESSION_NONE:
        return outer.message
    if outer.compression_type != pb.COMPRESSION_ZLIB:
        raise EnvelopeError(f"unknown compression {int(outer.compression_type)}")
    stream = zlib.decompressobj()
    body = stream.decompress(outer.message, limits.NODE_FRAME_MAX_B)
    if stream.unconsumed_tail or not stream.eof:
        raise EnvelopeError("compressed message is cut or too large")
    return body
