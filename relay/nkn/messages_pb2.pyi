from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClientMessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTBOUND_MESSAGE: _ClassVar[ClientMessageType]
    INBOUND_MESSAGE: _ClassVar[ClientMessageType]
    RECEIPT: _ClassVar[ClientMessageType]

class CompressionType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPRESSION_NONE: _ClassVar[CompressionType]
    COMPRESSION_ZLIB: _ClassVar[CompressionType]

class PayloadType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BINARY: _ClassVar[PayloadType]
    TEXT: _ClassVar[PayloadType]
    ACK: _ClassVar[PayloadType]
    SESSION: _ClassVar[PayloadType]
OUTBOUND_MESSAGE: ClientMessageType
INBOUND_MESSAGE: ClientMessageType
RECEIPT: ClientMessageType
COMPRESSION_NONE: CompressionType
COMPRESSION_ZLIB: CompressionType
BINARY: PayloadType
TEXT: PayloadType
ACK: PayloadType
SESSION: PayloadType

class ClientMessage(_message.Message):
    __slots__ = ("message_type", "message", "compression_type")
    MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_TYPE_FIELD_NUMBER: _ClassVar[int]
    message_type: ClientMessageType
    message: bytes
    compression_type: CompressionType
    def __init__(self, message_type: _Optional[_Union[ClientMessageType, str]] = ..., message: _Optional[bytes] = ..., compression_type: _Optional[_Union[CompressionType, str]] = ...) -> None: ...

class OutboundMessage(_message.Message):
    __slots__ = ("dest", "payload", "dests", "max_holding_seconds", "nonce", "block_hash", "signatures", "payloads")
    DEST_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    DESTS_FIELD_NUMBER: _ClassVar[int]
    MAX_HOLDING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_HASH_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    dest: str
    payload: bytes
    dests: _containers.RepeatedScalarFieldContainer[str]
    max_holding_seconds: int
    nonce: int
    block_hash: bytes
    signatures: _containers.RepeatedScalarFieldContainer[bytes]
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, dest: _Optional[str] = ..., payload: _Optional[bytes] = ..., dests: _Optional[_Iterable[str]] = ..., max_holding_seconds: _Optional[int] = ..., nonce: _Optional[int] = ..., block_hash: _Optional[bytes] = ..., signatures: _Optional[_Iterable[bytes]] = ..., payloads: _Optional[_Iterable[bytes]] = ...) -> None: ...

class InboundMessage(_message.Message):
    __slots__ = ("src", "payload", "prev_hash")
    SRC_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PREV_HASH_FIELD_NUMBER: _ClassVar[int]
    src: str
    payload: bytes
    prev_hash: bytes
    def __init__(self, src: _Optional[str] = ..., payload: _Optional[bytes] = ..., prev_hash: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("prev_hash", "signature")
    PREV_HASH_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    prev_hash: bytes
    signature: bytes
    def __init__(self, prev_hash: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("payload", "encrypted", "nonce", "encrypted_key")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_KEY_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    encrypted: bool
    nonce: bytes
    encrypted_key: bytes
    def __init__(self, payload: _Optional[bytes] = ..., encrypted: _Optional[bool] = ..., nonce: _Optional[bytes] = ..., encrypted_key: _Optional[bytes] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("type", "message_id", "data", "reply_to_id", "no_reply")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_ID_FIELD_NUMBER: _ClassVar[int]
    NO_REPLY_FIELD_NUMBER: _ClassVar[int]
    type: PayloadType
    message_id: bytes
    data: bytes
    reply_to_id: bytes
    no_reply: bool
    def __init__(self, type: _Optional[_Union[PayloadType, str]] = ..., message_id: _Optional[bytes] = ..., data: _Optional[bytes] = ..., reply_to_id: _Optional[bytes] = ..., no_reply: _Optional[bool] = ...) -> None: ...

class TextData(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...
