"""Websocket frames as a node reads them; codes and words as recorded from a real one."""

import os

import pytest

from relay.nkn.devnode import wsframes as ws

MASK = b"\x01\x02\x03\x04"
MAX_B = 70_000


def sent(opcode, data=b"", *, fin=True, masked=True, reserved=0):
    """A client's frame."""
    size = len(data)
    if size < 126:
        length = bytes([size])
    else:
        length = b"\x7e" + size.to_bytes(2) if size < 0x10000 else b"\x7f" + size.to_bytes(8)
    head = bytes([0x80 * fin | reserved | opcode, length[0] | 0x80 * masked]) + length[1:]
    if not masked:
        return head + data
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(data))


def read(data):
    return ws.FrameReader(MAX_B).feed(data)


@pytest.mark.parametrize("size", [0, 1, 3, 125, 126, 1000, 65_535, 65_536, MAX_B])
def test_messages_of_all_sizes(size):
    data = os.urandom(size)
    assert read(sent(ws.BINARY, data)) == [ws.Message(data, is_text=False)]
    assert read(sent(ws.TEXT, data)) == [ws.Message(data, is_text=True)]


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_bytes_come_as_they_come(step):
    stream = sent(ws.BINARY, b"a" * 300) + sent(ws.PING, b"p") + sent(ws.TEXT, b"b") + sent(ws.PONG)
    reader, events = ws.FrameReader(MAX_B), []
    for at in range(0, len(stream), step):
        events += reader.feed(stream[at : at + step])
    assert events == [
        ws.Message(b"a" * 300, is_text=False),
        ws.Ping(b"p"),
        ws.Message(b"b", is_text=True),
        ws.Pong(),
    ]


def test_fragments_are_one_message_with_pongs_between_them():
    stream = (
        sent(ws.TEXT, b"one ", fin=False)
        + sent(ws.PONG, b"x")
        + sent(ws.CONTINUATION, b"two ", fin=False)
        + sent(ws.CONTINUATION, b"three")
    )
    assert read(stream) == [ws.Pong(), ws.Message(b"one two three", is_text=True)]
    assert read(sent(ws.BINARY, fin=False) + sent(ws.CONTINUATION)) == [ws.Message(b"", is_text=False)]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (sent(ws.TEXT, b"{}", masked=False), "incorrect mask flag"),
        (sent(ws.BINARY, b"x", reserved=0x40), "unexpected reserved bits 0x40"),
        (sent(ws.BINARY, b"x", reserved=0x70), "unexpected reserved bits 0x70"),
        (b"\x16\x03\x01\x02", "unexpected reserved bits 0x10"),
        (sent(3, b"x"), "unknown opcode 3"),
        (sent(11), "unknown opcode 11"),
        (sent(ws.PING, b"x" * 126), "control frame length > 125"),
        (sent(ws.PONG, fin=False), "control frame not final"),
        (sent(ws.CONTINUATION, b"x"), "continuation after final message frame"),
        (sent(ws.TEXT, fin=False) + sent(ws.TEXT), "message start before final message frame"),
        (sent(ws.CLOSE, (1005).to_bytes(2)), "invalid close code"),
        (sent(ws.CLOSE, (2999).to_bytes(2)), "invalid close code"),
        (sent(ws.CLOSE, (1000).to_bytes(2) + b"\xff"), "invalid utf8 payload in close frame"),
    ],
)
def test_broken_frames_end_it_with_1002(stream, reason):
    *before, end = read(stream)
    assert before == []
    assert end == ws.End(ws.frame(ws.CLOSE, (1002).to_bytes(2) + reason.encode()))


@pytest.mark.parametrize(
    ("data", "answered"),
    [
        (b"", b""),
        (b"\x03", b""),
        ((1000).to_bytes(2), (1000).to_bytes(2)),
        ((1001).to_bytes(2) + b"bye", (1001).to_bytes(2)),
        ((4001).to_bytes(2), (4001).to_bytes(2)),
    ],
)
def test_a_close_is_answered_with_its_code_alone(data, answered):
    assert read(sent(ws.CLOSE, data)) == [ws.End(ws.frame(ws.CLOSE, answered))]


TOO_LARGE = ws.End(ws.frame(ws.CLOSE, (1009).to_bytes(2)), reset=True)


def test_what_is_too_large_ends_it_at_its_head():
    assert read(sent(ws.BINARY, bytes(MAX_B + 1))[:14]) == [TOO_LARGE]
    assert read(b"\x82\xff" + b"\xff" * 8) == [TOO_LARGE]


def test_fragments_are_too_large_together():
    half = bytes(MAX_B // 2)
    reader = ws.FrameReader(MAX_B)
    assert reader.feed(sent(ws.BINARY, half, fin=False)) == []
    assert reader.feed(sent(ws.CONTINUATION, half, fin=False)) == []
    assert reader.feed(sent(ws.CONTINUATION, b"x")) == [TOO_LARGE]


def test_nothing_is_read_after_the_end():
    reader = ws.FrameReader(MAX_B)
    good = sent(ws.TEXT, b"good")
    assert reader.feed(good + sent(3) + good)[0] == ws.Message(b"good", is_text=True)
    assert reader.feed(good) == []


@pytest.mark.parametrize(
    ("size", "head"),
    [(0, "8200"), (125, "827d"), (126, "827e007e"), (65_535, "827effff"), (65_536, "827f0000000000010000")],
)
def test_frames_of_the_node_are_whole_and_unmasked(size, head):
    assert ws.frame(ws.BINARY, bytes(size)) == bytes.fromhex(head) + bytes(size)
