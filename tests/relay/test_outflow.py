"""Bytes of the upstream in, `lines` and `chunk` frames out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import events, frames
from relay.outflow import Frame, Outflow
from wire import limits
from wire.errors import UpstreamFault

WINDOW = limits.BATCH_MS / 1000


def outflow(*, of_lines: bool = True, identifier: events.RequestId = "i") -> Outflow:
    return Outflow(identifier, limits.BATCH_MS, of_lines=of_lines)


def parts(made: list[Frame]) -> list[Any]:
    """Each frame as what it carries: a list of (seq, line), or (seq, bytes); its numbers are those in it."""
    found: list[Any] = []
    for one in made:
        frame = json.loads(one.text)
        if frame["event"] == "relay.response.lines":
            found.append([(line["seq"], line["line"]) for line in frame["lines"]])
            assert (one.first, one.last) == (found[-1][0][0], found[-1][-1][0])
        else:
            assert frame["event"] == "relay.response.chunk"
            found.append((frame["seq"], base64.b64decode(frame["b64"])))
            assert (one.first, one.last) == (frame["seq"], frame["seq"])
    return found


def test_lines_that_come_together_leave_together():
    flow = outflow()
    assert parts(flow.feed(b"a\n\nb\nrest", 7, 0.0)) == [[(1, "a"), (2, ""), (3, "b")]]
    assert (flow.bytes, flow.seq, flow.lines) == (9, 3, 3)
    assert flow.due_at() is None
    assert flow.gathering
    flow.acknowledged()
    assert not flow.gathering
    assert parts(flow.finish(8, 0.1)) == [[(4, "rest")]]
    assert (flow.bytes, flow.seq, flow.lines) == (9, 4, 4)


def test_a_line_carries_the_time_it_came():
    frame = json.loads(outflow().feed(b"a\n", 77, 0.0)[0].text)
    assert frame == {
        "event": "relay.response.lines",
        "id": "i",
        "lines": [{"seq": 1, "ts": 77, "line": "a"}],
    }


def test_the_second_frame_waits_for_its_window_or_its_acknowledgement():
    flow = outflow()
    flow.feed(b"a\n", 7, 0.0)
    assert flow.feed(b"b\n", 7, 0.01) == []
    assert flow.due_at() == 0.01 + WINDOW
    assert (flow.seq, flow.framed) == (2, 1)
    assert flow.advance(0.05) == []
    assert parts(flow.advance(0.01 + WINDOW)) == [[(2, "b")]]
    assert (flow.seq, flow.framed) == (2, 2)
    assert flow.feed(b"c\n", 7, 1.0) == []
    flow.acknowledged()
    assert parts(flow.advance(1.0)) == [[(3, "c")]]


def test_a_hundred_lines_at_once_fill_whole_frames():
    flow = outflow()
    got = parts(flow.feed(b"x\n" * 100, 7, 0.0))
    assert [len(batch) for batch in got] == [24, 24, 24, 24]
    assert parts(flow.advance(WINDOW)) == [[(seq, "x") for seq in range(97, 101)]]


def test_a_carriage_return_stays():
    assert parts(outflow().feed(b"data: a\r\n\r\n", 7, 0.0)) == [[(1, "data: a\r"), (2, "\r")]]


def test_an_empty_end_adds_nothing():
    flow = outflow()
    flow.feed(b"a\n", 7, 0.0)
    assert flow.finish(7, 0.1) == []
    assert (flow.seq, flow.lines) == (1, 1)


def test_bytes_go_as_chunks():
    flow = outflow(of_lines=False)
    assert parts(flow.feed(b"a\nb", 7, 0.0)) == [(1, b"a\nb")]
    assert flow.feed(b"c", 7, 0.01) == []
    assert flow.feed(b"d", 7, 0.02) == []
    assert flow.due_at() == 0.01 + WINDOW
    assert parts(flow.finish(7, 0.03)) == [(2, b"cd")]
    assert (flow.bytes, flow.seq, flow.lines) == (5, 2, 0)


def test_many_bytes_are_cut_into_frames_of_the_target_size():
    flow = outflow(of_lines=False)
    raw = bytes(range(256)) * 600
    got = parts(flow.feed(raw, 7, 0.0) + flow.finish(7, 0.0))
    assert [seq for seq, _ in got] == list(range(1, len(got) + 1))
    assert b"".join(data for _, data in got) == raw
    assert max(len(data) for _, data in got) == limits.CHUNK_B


def test_from_a_line_that_is_not_utf8_on_everything_is_bytes():
    flow = outflow()
    flow.feed(b"first\n", 7, 0.0)
    got = parts(
        flow.feed(b"good\n\xff\nmore\nha", 7, 0.01) + flow.feed(b"lf\n", 7, 0.02) + flow.finish(7, 0.03)
    )
    assert got == [[(2, "good")], (3, b"\xff\nmore\nha"), (4, b"lf\n")]
    assert (flow.lines, flow.seq, flow.bytes) == (2, 4, 23)


def test_lines_that_waited_leave_before_the_bytes():
    flow = outflow()
    flow.feed(b"1\n", 7, 0.0)
    assert flow.feed(b"2\n", 7, 0.01) == []
    assert parts(flow.feed(b"\xff\n", 7, 0.02)) == [[(2, "2")], (3, b"\xff\n")]


def test_a_rest_that_is_not_utf8_goes_as_bytes():
    flow = outflow()
    assert parts(flow.feed(b"ok\n\xc3", 7, 0.0)) == [[(1, "ok")]]
    assert parts(flow.finish(7, 0.01)) == [(2, b"\xc3")]


def test_a_character_cut_in_two_by_the_network_is_whole_again():
    flow = outflow()
    flow.feed(b"\xc3", 7, 0.0)
    assert parts(flow.feed(b"\xa9\n", 7, 0.0)) == [[(1, "é")]]


def test_the_end_mark_is_seen_in_lines_only():
    flow = outflow()
    flow.feed(b'{"done":true}\n', 7, 0.0)
    assert flow.mark.done
    flow = outflow(of_lines=False)
    flow.feed(b'{"done":true}\n', 7, 0.0)
    assert not flow.mark.done
    flow = outflow()
    flow.feed(b'{"done":true}', 7, 0.0)
    assert not flow.mark.done
    flow.finish(7, 0.0)
    assert flow.mark.done


def test_a_line_beyond_the_limit_is_refused():
    flow = outflow()
    flow.feed(b"ok\n", 7, 0.0)
    with pytest.raises(UpstreamFault) as caught:
        flow.feed(b"x" * (limits.LINE_MAX_B + 1), 7, 0.0)
    assert caught.value.code == "line_too_long"
    assert flow.seq == 1


def test_a_line_that_grows_too_long_as_json_is_refused_and_gets_no_number():
    flow = outflow()
    with pytest.raises(UpstreamFault) as caught:
        flow.feed(b"\x01" * (limits.FRAME_MAX_B // 6) + b"\n", 7, 0.0)
    assert caught.value.code == "line_too_long"
    assert (flow.seq, flow.lines) == (0, 0)
    flow = outflow()
    flow.feed(b"\x01" * (limits.FRAME_MAX_B // 6), 7, 0.0)
    with pytest.raises(UpstreamFault):
        flow.finish(7, 0.0)


def test_the_longest_line_with_the_longest_id_still_fits_one_message(monkeypatch):
    monkeypatch.setattr(limits, "FRAME_MAX_B", 100_000)
    identifier = "\U0001f600" * limits.REQUEST_ID_MAX
    room = limits.FRAME_MAX_B - len(frames.lines(identifier, [frames.Line.of(1, 7, b"")]).encode())
    quotes = 20_000  # two bytes each as JSON
    longest = b'"' * quotes + b"x" * (room - 2 * quotes)
    [sent] = outflow(identifier=identifier).feed(longest + b"\n", 7, 0.0)
    assert len(sent.text.encode()) == limits.FRAME_MAX_B
    with pytest.raises(UpstreamFault) as caught:
        outflow(identifier=identifier).feed(longest + b"x\n", 7, 0.0)
    assert caught.value.code == "line_too_long"


def test_what_was_numbered_before_a_line_too_long_is_not_lost():
    flow = outflow()
    sent: list[Frame] = []
    with pytest.raises(UpstreamFault):
        sent += flow.feed(b"short\n" * 30 + b"\x01" * (limits.FRAME_MAX_B // 6) + b"\n", 7, 0.0)
    sent += flow.advance(0.0, flush=True)
    assert [seq for batch in parts(sent) for seq, _ in batch] == list(range(1, flow.seq + 1))


@pytest.mark.parametrize("piece", [1, 1000, 10**6])
def test_lines_before_one_beyond_the_limit_are_not_lost_however_it_was_cut(monkeypatch, piece):
    monkeypatch.setattr(limits, "LINE_MAX_B", 2000)
    body, flow, sent = b"short\n" * 30 + b"x" * 2001 + b"\nnever\n", outflow(), []

    def feed_all():
        for start in range(0, len(body), piece):
            sent.extend(flow.feed(body[start : start + piece], 7, 0.0))

    with pytest.raises(UpstreamFault, match="2001 bytes"):
        feed_all()
    sent += flow.advance(0.0, flush=True)
    assert [line for batch in parts(sent) for _, line in batch] == ["short"] * 30


@pytest.mark.parametrize("piece", [1, 1000, 10**6])
def test_a_line_may_be_as_long_as_it_likes_behind_one_that_is_no_text(monkeypatch, piece):
    monkeypatch.setattr(limits, "LINE_MAX_B", 2000)
    body, flow, sent = b"short\n\xff\n" + b"x" * 5000 + b"\nend", outflow(), []
    for start in range(0, len(body), piece):
        sent += flow.feed(body[start : start + piece], 7, 0.0)
    sent += flow.finish(7, 0.0)
    pieces = [part[1] if isinstance(part, tuple) else f"{part[0][1]}\n".encode() for part in parts(sent)]
    assert b"".join(pieces) == body


@pytest.mark.parametrize("piece", [1, 7, 10**6])
@pytest.mark.parametrize(
    ("body", "done"),
    [
        (b'\xff\n{"done":true}\n', True),
        (b'\xff\n{"done":true}', True),
        (b'{"response":"\xff"}\n{"done":true}\n', True),
        (b'{"done":true}\n\xff\n', True),
        (b'{"response":"\xff","done":true}\n', False),
        (b'\xff\n{"done":false}\n', False),
    ],
)
def test_the_end_mark_is_seen_also_behind_lines_that_go_as_bytes(body, done, piece):
    flow = outflow()
    sent: list[Frame] = []
    for start in range(0, len(body), piece):
        sent += flow.feed(body[start : start + piece], 7, 0.0)
    sent += flow.finish(7, 0.0)
    assert flow.mark.done is done
    assert flow.bytes == len(body)


def test_what_goes_as_bytes_may_be_longer_than_any_line(monkeypatch):
    monkeypatch.setattr(limits, "LINE_MAX_B", 100)
    flow = outflow()
    sent = flow.feed(b"\xff\n", 7, 0.0)
    for piece in (b"x" * 200, b"\n", b'{"done":true}\n'):
        sent += flow.feed(piece, 7, 0.0)
    sent += flow.finish(7, 0.0)
    assert b"".join(data for _, data in parts(sent)) == b"\xff\n" + b"x" * 200 + b'\n{"done":true}\n'
    assert not flow.mark.done  # nobody looks further


BODIES = st.lists(st.sampled_from([b"\n", b"a", b"\r\n", "é".encode(), b"\xff", b"x" * 3000]), max_size=40)


@given(BODIES.map(b"".join), st.lists(st.integers(0, 40), max_size=20), st.booleans())
def test_any_body_in_any_pieces_is_the_same_body(body, cuts, of_lines):
    flow = outflow(of_lines=of_lines)
    sent: list[Frame] = []
    now, start = 0.0, 0
    for cut in cuts:
        now += cut / 1000
        sent += flow.advance(now) + flow.feed(body[start : start + cut], 7, now)
        start += cut
    sent += flow.feed(body[start:], 7, now) + flow.finish(7, now)
    got = parts(sent)
    numbers = [seq for part in got for seq, _ in (part if isinstance(part, list) else [part])]
    assert numbers == list(range(1, flow.seq + 1))
    pieces = [
        line.encode() + b"\n" if isinstance(part, list) else line
        for part in got
        for _, line in (part if isinstance(part, list) else [part])
    ]
    joined = b"".join(pieces)
    assert joined == body or joined == body + b"\n"
    assert joined[: flow.bytes] == body
    assert flow.framed == flow.seq
    assert flow.bytes == len(body)
    assert flow.advance(now + 1) == []
    assert flow.due_at() is None


def test_a_chunk_counts_for_what_it_takes_as_base64():
    flow = outflow(of_lines=False)
    assert len(flow.feed(b"x", 0, 0.0)) == 1
    fits = limits.FRAME_TARGET_B * 3 // 4
    assert flow.feed(b"y" * (fits - 3), 0, 0.0) == []
    assert len(flow.feed(b"z" * 6, 0, 0.0)) == 1


def test_an_acknowledged_chunk_lets_the_next_one_leave_at_once():
    flow = outflow(of_lines=False)
    assert len(flow.feed(b"x", 0, 0.0)) == 1
    assert flow.feed(b"y", 0, 0.0) == []
    flow.acknowledged()
    assert parts(flow.advance(0.0)) == [(2, b"y")]


def test_lines_that_turn_to_bytes_leave_with_the_bytes_and_what_follows_is_due_as_they_were():
    flow = outflow()
    flow.feed(b"a\n", 0, 0.0)
    assert flow.feed(b"b\n", 0, 0.01) == []
    assert flow.due_at() == 0.01 + limits.BATCH_MS / 1000
    assert parts(flow.feed(b"\xff\n", 0, 0.02)) == [[(2, "b")], (3, b"\xff\n")]
    assert flow.due_at() is None
    assert flow.gathering
    assert flow.feed(b"c\n", 0, 0.03) == []
    assert flow.due_at() == 0.03 + limits.BATCH_MS / 1000


def test_bytes_gather_as_lines_do():
    flow = Outflow("i", limits.BATCH_MS, of_lines=False)
    assert not flow.gathering
    assert len(flow.feed(b"a", 0, 0.0)) == 1
    assert flow.gathering
    flow.acknowledged()
    assert not flow.gathering
