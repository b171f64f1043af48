import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn import envelope, identity, sigchain
from relay.nkn import messages_pb2 as pb
from relay.nkn.envelope import EnvelopeError, Inbound, Outbound, Receipt
from relay.nkn.identity import Identity
from wire import limits

ALICE, BOB = Identity(b"\1" * 32), Identity(b"\2" * 32)
SOURCE = f"alice.{ALICE.public_key.hex()}"
HEAD = sigchain.Head(nonce=5, block_hash=b"h" * 32, source=SOURCE, node_key=b"k" * 32)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
DESTS = TEXTS.filter(bool).map(lambda name: f"{name}.{BOB.public_key.hex()}")


def client_message(kind, body, compression=pb.COMPRESSION_NONE):
    return pb.ClientMessage(message_type=kind, message=body, compression_type=compression).SerializeToString()


@given(st.lists(st.tuples(DESTS, st.binary(max_size=50)), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_an_outbound_frame_is_read_as_it_was_made(copies, holding):
    dests, payloads = zip(*copies, strict=True)
    read = envelope.read(envelope.outbound(ALICE, HEAD, dests, payloads, holding))
    assert read == Outbound(dests, payloads, HEAD.nonce, HEAD.block_hash, read.signatures, holding)
    for dest, body, signature in zip(dests, payloads, read.signatures, strict=True):
        assert identity.verify(ALICE.public_key, HEAD.digest(dest, len(body)), signature)


@given(st.lists(DESTS, min_size=1, max_size=4), st.binary(min_size=1, max_size=50))
def test_one_payload_for_all_is_sent_once_and_signed_for_each(dests, body):
    read = envelope.read(envelope.outbound(ALICE, HEAD, dests, [body]))
    assert (read.payloads, read.max_holding_seconds) == ((body,), 0)
    for dest, signature in zip(dests, read.signatures, strict=True):
        assert identity.verify(ALICE.public_key, HEAD.digest(dest, len(body)), signature)


@given(TEXTS, st.binary(max_size=50), st.binary(max_size=32))
def test_an_inbound_frame_is_read_as_it_was_made(src, body, prev_hash):
    message = Inbound(src, body, prev_hash)
    assert envelope.read(envelope.inbound(message)) == message


@given(st.binary(min_size=1, max_size=40))
def test_a_receipt_is_signed_by_the_receiver(prev_hash):
    read = envelope.read(envelope.receipt(BOB, prev_hash))
    assert isinstance(read, Receipt)
    assert read.prev_hash == prev_hash
    assert identity.verify(BOB.public_key, sigchain.receipt_digest(prev_hash), read.signature)


@given(st.binary())
def test_any_bytes_are_a_frame_or_an_envelope_error(raw):
    try:
        read = envelope.read(raw)
    except EnvelopeError:
        return
    assert isinstance(read, Outbound | Inbound | Receipt)


@given(st.integers(0, 3), st.integers(0, 2), st.binary(max_size=40))
def test_any_body_of_any_kind_is_a_frame_or_an_envelope_error(kind, compression, body):
    for inside in (body, zlib.compress(body)):
        try:
            read = envelope.read(
                b"\x08"
                + bytes([kind])
                + b"\x12"
                + bytes([len(inside)])
                + inside
                + b"\x18"
                + bytes([compression])
            )
        except EnvelopeError:
            continue
        assert isinstance(read, Outbound | Inbound | Receipt)


@pytest.mark.parametrize("count", [1, 2])
def test_only_several_payloads_are_compressed(count):
    dests = [SOURCE] * count
    outer = pb.ClientMessage.FromString(envelope.outbound(ALICE, HEAD, dests, [b"x" * 50] * count))
    assert outer.compression_type == (pb.COMPRESSION_ZLIB if count > 1 else pb.COMPRESSION_NONE)


def test_each_destination_needs_its_payload():
    with pytest.raises(IndexError):
        envelope.outbound(ALICE, HEAD, [SOURCE] * 3, [b"a", b"b"])


def bomb(size):
    return client_message(pb.INBOUND_MESSAGE, zlib.compress(bytes(size), 9), pb.COMPRESSION_ZLIB)


def test_a_zlib_bomb_is_refused_and_never_inflated_beyond_a_frame(monkeypatch):
    monkeypatch.setattr(limits, "NODE_FRAME_MAX_B", 10_000)
    frame = bomb(500 * limits.NODE_FRAME_MAX_B)
    assert len(frame) < limits.NODE_FRAME_MAX_B
    asked = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self):
            self._stream = real()

        def decompress(self, data, most):
            asked.append(most)
            body = self._stream.decompress(data, most)
            assert len(body) <= limits.NODE_FRAME_MAX_B + 1
            return body

        def __getattr__(self, name):
            return getattr(self._stream, name)

    monkeypatch.setattr(envelope.zlib, "decompressobj", Watched)
    with pytest.raises(EnvelopeError, match="too large"):
        envelope.read(frame)
    assert asked
    assert 0 < max(asked) <= limits.NODE_FRAME_MAX_B + 1


def test_what_inflates_to_exactly_a_frame_is_read_and_one_byte_more_is_not(monkeypatch):
    monkeypatch.setattr(limits, "NODE_FRAME_MAX_B", 1000)
    chance = random.Random(1)
    for size, fits in ((999, True), (1000, True), (1001, False)):
        body = pb.InboundMessage(payload=chance.randbytes(size - 3)).SerializeToString()
        assert len(body) == size
        frame = client_message(pb.INBOUND_MESSAGE, zlib.compress(body), pb.COMPRESSION_ZLIB)
        if fits:
            assert len(envelope.read(frame).payload) == size - 3
        else:
            with pytest.raises(EnvelopeError, match="too large"):
                envelope.read(frame)


def test_a_cut_zlib_stream_is_refused():
    whole = zlib.compress(b"x" * 100)
    with pytest.raises(EnvelopeError, match="cut"):
        envelope.read(client_message(pb.INBOUND_MESSAGE, whole[:-3], pb.COMPRESSION_ZLIB))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (b"\xff", "not a client message"),
        (client_message(pb.INBOUND_MESSAGE, b"\xff"), "not a client message"),
        (client_message(pb.RECEIPT, b"\xff"), "not a client message"),
        (client_message(pb.OUTBOUND_MESSAGE, b"\xff"), "not a client message"),
        (client_message(pb.INBOUND_MESSAGE, b"\x0a\x01\xff"), "not a client message"),
        (client_message(pb.INBOUND_MESSAGE, b"rubbish", pb.COMPRESSION_ZLIB), "not a client message"),
        (b"\x08\x09", "unknown message type 9"),
        (b"\x18\x09", "unknown compression 9"),
    ],
    ids=[
        "no protobuf",
        "no inbound",
        "no receipt",
        "no outbound",
        "no utf-8",
        "no zlib",
        "type",
        "compression",
    ],
)
def test_what_the_protocol_does_not_know_is_refused(frame, said):
    with pytest.raises(EnvelopeError, match=said):
        envelope.read(frame)


def test_the_first_versions_single_destination_and_payload_are_read():
    old = pb.OutboundMessage(dest=SOURCE, payload=b"x", signatures=[b"s"]).SerializeToString()
    read = envelope.read(client_message(pb.OUTBOUND_MESSAGE, old))
    assert (read.dests, read.payloads, read.signatures) == ((SOURCE,), (b"x",), (b"s",))


def test_lists_win_over_the_first_versions_fields():
    both = pb.OutboundMessage(
        dest="old", payload=b"old", dests=["new"], payloads=[b"new"]
    ).SerializeToString()
    read = envelope.read(client_message(pb.OUTBOUND_MESSAGE, both))
    assert (read.dests, read.payloads) == (("new",), (b"new",))


def test_an_empty_outbound_message_names_nobody():
    read = envelope.read(b"")
    assert read == Outbound((), (), 0, b"", ())
