"""What two clients say to each other inside the seal: TEXT, BINARY, ACK, SESSION.

Source: the SDKs' payloads.proto. A reply or an acknowledgement carries `reply_to_id` and no
`message_id`. Pure; built and read by `client`.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from relay.nkn import messages_pb2 as pb
from wire.record import record

BINARY = int(pb.BINARY)
TEXT = int(pb.TEXT)
ACK = int(pb.ACK)
SESSION = int(pb.SESSION)

MESSAGE_ID_B = 8


class PayloadError(ValueError):
    """The bytes are no payload."""


@record
class Payload:
    """One end-to-end message.

    Attributes:
        type: BINARY, TEXT, ACK or SESSION.
        data: str for TEXT, bytes for the others, empty for ACK.
        message_id: 8 bytes, or empty on replies and acknowledgements.
        reply_to_id: the message this one answers, or empty.
        no_reply: the sender wants neither reply nor acknowledgement.
    """

    type: int
    data: str | bytes = b""
    message_id: bytes = b""
    reply_to_id: bytes = b""
    no_reply: bool = False

    def encode(self) -> bytes:
        """The serialised protobuf, byte for byte as the official SDKs make it."""
        data = pb.TextData(text=self.data).SerializeToString() if isinstance(self.data, str) else self.data
        return pb.Payload(
            type=pb.PayloadType.Name(self.type),
            message_id=self.message_id,
            data=data,
            reply_to_id=self.reply_to_id,
            no_reply=self.no_reply,
        ).SerializeToString(deterministic=True)


def message(data: str | bytes, message_id: bytes, *, no_reply: bool = False) -> Payload:
    """A message of its own: TEXT for str, BINARY for bytes."""
    return Payload(_type_of(data), data, message_id=message_id, no_reply=no_reply)


def reply(data: str | bytes, reply_to_id: bytes) -> Payload:
    """An answer to a message."""
    return Payload(_type_of(data), data, reply_to_id=reply_to_id)


def ack(reply_to_id: bytes) -> Payload:
    """An acknowledgement of a message."""
    return Payload(ACK, reply_to_id=reply_to_id)


def decode(raw: bytes) -> Payload:
    """Read a serialised Payload.

    Raises:
        PayloadError: if it is no such protobuf, or TEXT that is no UTF-8.
    """
    try:
        outer = pb.Payload.FromString(raw)
        data: str | bytes = outer.data
        if outer.type == pb.TEXT:
            data = pb.TextData.FromString(outer.data).text
    except (DecodeError, UnicodeDecodeError) as error:
        raise PayloadError("not a payload") from error
    return Payload(int(outer.type), data, outer.message_id, outer.reply_to_id, outer.no_reply)


def _type_of(data: str | bytes) -> int:
    return TEXT if isinstance(data, str) else BINARY
