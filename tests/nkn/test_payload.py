import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn import messages_pb2 as pb
from relay.nkn import payload
from relay.nkn.payload import Payload, PayloadError

IDS = st.binary(max_size=8)


@given(st.one_of(st.text(st.characters(codec="utf-8")), st.binary()), IDS, IDS, st.booleans())
def test_what_is_encoded_is_decoded_the_same(data, message_id, reply_to_id, no_reply):
    kind = payload.TEXT if isinstance(data, str) else payload.BINARY
    one = Payload(kind, data, message_id, reply_to_id, no_reply)
    assert payload.decode(one.encode()) == one


@given(st.binary())
def test_any_bytes_are_a_payload_or_a_payload_error(data):
    try:
        read = payload.decode(data)
    except PayloadError:
        return
    assert isinstance(read.data, str if read.type == payload.TEXT else bytes)


def test_text_and_bytes_keep_their_kind():
    assert payload.message("x", b"12345678").type == payload.TEXT
    assert payload.message(b"x", b"12345678").type == payload.BINARY
    assert payload.reply("x", b"12345678").type == payload.TEXT
    assert payload.reply(b"x", b"12345678").type == payload.BINARY


def test_an_answer_names_its_message_and_has_no_id_of_its_own():
    for answer in (payload.reply("x", b"12345678"), payload.ack(b"12345678")):
        assert (answer.reply_to_id, answer.message_id, answer.no_reply) == (b"12345678", b"", False)
    assert payload.MESSAGE_ID_B == 8
    assert payload.ack(b"12345678").type == payload.ACK


def test_no_reply_is_a_flag_on_the_wire():
    assert pb.Payload.FromString(payload.message("x", b"12345678", no_reply=True).encode()).no_reply
    assert not pb.Payload.FromString(payload.message("x", b"12345678").encode()).no_reply


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff",
        pb.Payload(type=pb.TEXT, data=b"\xff").SerializeToString(),
        pb.Payload(type=pb.TEXT, data=b"\x0a\x01\xff").SerializeToString(),
    ],
    ids=["no protobuf", "no TextData", "no UTF-8"],
)
def test_what_is_no_payload_is_refused(raw):
    with pytest.raises(PayloadError):
        payload.decode(raw)


def test_an_unknown_type_is_read_with_its_number():
    assert payload.decode(b"\x08\x07").type == 7
