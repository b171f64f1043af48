"""The peer's half: frames in any order in, the stream in order out."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.reader import Piece, Reader
from wire import limits


def lines(*numbers: int, identifier: object = "i") -> dict:
    listed = [{"seq": number, "ts": 1, "line": f"line {number}"} for number in numbers]
    return {"event": "relay.response.lines", "id": identifier, "lines": listed}


def chunk(seq: int, data: bytes) -> dict:
    return {"event": "relay.response.chunk", "id": "i", "seq": seq, "b64": base64.b64encode(data).decode()}


def end(last_seq: object, **more: object) -> dict:
    return {"event": "relay.response.end", "id": "i", "ok": True, "last_seq": last_seq, **more}


BEGIN = {"event": "relay.response.begin", "id": "i", "ok": True, "status": 200}


def test_a_stream_in_order():
    reader = Reader("i")
    assert reader.feed(BEGIN) == []
    assert reader.begin == BEGIN
    assert reader.feed(lines(1, 2)) == [Piece(1, line="line 1"), Piece(2, line="line 2")]
    assert reader.feed(chunk(3, b"\xff")) == [Piece(3, data=b"\xff")]
    assert not reader.complete
    assert reader.feed(end(3)) == []
    assert reader.complete
    assert reader.end == end(3)
    assert (reader.missing(), reader.progress.frames) == ([], 4)
    assert (reader.progress.doubled, reader.progress.overtaken) == (0, 0)


def test_frames_that_overtake_are_put_in_order():
    reader = Reader("i")
    assert reader.feed(lines(3)) == []
    assert reader.missing() == [0, 1, 2]
    assert reader.feed(end(4)) == []
    assert (reader.complete, reader.missing()) == (False, [0, 1, 2, 4])
    reader.feed(BEGIN)
    assert reader.missing() == [1, 2, 4]
    assert [piece.seq for piece in reader.feed(lines(1))] == [1]
    assert reader.have == 1
    assert [piece.seq for piece in reader.feed(lines(2))] == [2, 3]
    assert (reader.complete, reader.missing()) == (False, [4])
    assert [piece.seq for piece in reader.feed(lines(4))] == [4]
    assert (reader.complete, reader.missing()) == (True, [])


@pytest.mark.parametrize(
    ("order", "overtaken"),
    [([1, 2, 3], 0), ([2, 1], 1), ([2, 3, 1], 2), ([1, 3, 2], 1), ([3, 2, 1], 2), ([4, 1, 2, 3], 1)],
)
def test_only_those_that_came_before_an_earlier_one_have_overtaken(order, overtaken):
    reader = Reader("i")
    for seq in order:
        reader.feed(lines(seq))
    assert reader.progress.overtaken == overtaken


def test_doubles_are_counted_and_given_once():
    reader = Reader("i")
    reader.feed(lines(1))
    assert reader.feed(lines(1)) == []
    reader.feed(lines(3))
    assert reader.feed(lines(3)) == []
    assert reader.progress.doubled == 2
    assert [piece.seq for piece in reader.feed(lines(2))] == [2, 3]


def test_the_first_begin_and_the_first_end_count():
    reader = Reader("i")
    for status in (200, 500):
        reader.feed({"event": "relay.response.begin", "id": "i", "status": status})
    reader.feed(end(0))
    reader.feed(end(5))
    assert (reader.begin["status"], reader.end["last_seq"], reader.complete) == (200, 0, True)


def test_an_answer_without_stream_is_complete_at_once():
    reader = Reader("i")
    frame = {"event": "relay.response", "id": "i", "ok": True, "json": {}}
    assert reader.feed(frame) == []
    assert reader.complete
    assert reader.end == frame


def test_events_are_matched_in_any_case():
    reader = Reader("i")
    assert reader.feed(lines(1) | {"event": "Relay.Response.LINES"}) == [Piece(1, line="line 1")]


def test_keepalives_tell_the_state():
    reader = Reader("i")
    frame = {"event": "relay.response.keepalive", "id": "i", "state": "queued", "position": 3}
    assert reader.feed(frame) == []
    assert (reader.progress.state, reader.progress.position) == ("queued", 3)
    reader.feed({"event": "relay.response.keepalive", "id": "i", "state": "loading"})
    assert (reader.progress.state, reader.progress.position) == ("loading", None)


@pytest.mark.parametrize(
    "frame",
    [
        lines(1, identifier="other"),
        lines(1, identifier=None),
        {"event": "relay.response.lines", "lines": [{"seq": 1, "line": "x"}]},
        {"event": "relay.pong", "id": "i"},
        {"id": "i"},
        {},
    ],
)
def test_foreign_frames_give_nothing_and_are_not_counted(frame):
    reader = Reader("i")
    assert reader.feed(frame) == []
    assert reader.progress.frames == 0
    assert not reader.progress.held


def test_an_unknown_answer_event_gives_nothing():
    reader = Reader("i")
    assert reader.feed({"event": "relay.response.future", "id": "i"}) == []
    assert (reader.complete, reader.progress.frames) == (False, 1)


@pytest.mark.parametrize(
    "frame",
    [
        {"event": "relay.response.lines", "id": "i"},
        {"event": "relay.response.lines", "id": "i", "lines": None},
        {"event": "relay.response.lines", "id": "i", "lines": 5},
        {"event": "relay.response.lines", "id": "i", "lines": "ab"},
        {"event": "relay.response.lines", "id": "i", "lines": [5, None, "x", []]},
        {"event": "relay.response.lines", "id": "i", "lines": [{}]},
        {"event": "relay.response.lines", "id": "i", "lines": [{"seq": "1", "line": "x"}]},
        {"event": "relay.response.lines", "id": "i", "lines": [{"seq": 0, "line": "x"}]},
        {"event": "relay.response.lines", "id": "i", "lines": [{"seq": -1, "line": "x"}]},
        {"event": "relay.response.chunk", "id": "i", "seq": None, "b64": "AA=="},
        {"event": "relay.response.chunk", "id": "i", "seq": 1.5, "b64": "AA=="},
        {"event": ["relay.response"], "id": "i"},
    ],
)
def test_malformed_frames_of_a_bad_relay_give_nothing(frame):
    reader = Reader("i")
    assert reader.feed(frame) == []
    assert (reader.complete, reader.missing()) == (False, [])


@pytest.mark.parametrize("b64", ["!", "AA", 5, None, "é"])
def test_a_chunk_that_is_no_base64_is_an_empty_piece(b64):
    assert Reader("i").feed(chunk(1, b"") | {"b64": b64}) == [Piece(1, data=b"")]


def test_a_lone_surrogate_in_a_line_does_not_stop_the_reader():
    reader = Reader("i")
    frame = {"event": "relay.response.lines", "id": "i", "lines": [{"seq": 1, "line": "\ud800"}]}
    assert [piece.seq for piece in reader.feed(frame)] == [1]


@pytest.mark.parametrize("last_seq", [None, "5", 1.5])
def test_an_end_without_a_number_ends_what_is_there(last_seq):
    reader = Reader("i")
    reader.feed(end(last_seq))
    assert (reader.complete, reader.missing()) == (True, [])


def keepalive(last_seq: object) -> dict:
    return {"event": "relay.response.keepalive", "id": "i", "last_seq": last_seq, "state": "generating"}


def gone(*numbers: object) -> dict:
    return {"event": "relay.response.gone", "id": "i", "missing": list(numbers)}


@pytest.mark.parametrize("tells", [end, keepalive])
def test_missing_is_bounded_whatever_end_or_keepalive_say(tells):
    reader = Reader("i")
    reader.feed(tells(10 * limits.READER_AHEAD_MAX))
    assert (reader.complete, reader.lacks) == (False, True)
    assert reader.missing() == list(range(limits.GAPS_MAX + 1))
    reader.feed(lines(*range(1, 500)))
    assert reader.missing()[:2] == [0, 500]
    assert len(reader.missing()) == limits.GAPS_MAX + 1


def test_a_gap_shows_by_what_came_behind_it_by_a_keepalive_and_by_the_end():
    reader = Reader("i")
    reader.feed(BEGIN)
    assert (reader.lacks, reader.missing()) == (False, [])
    reader.feed(lines(2))
    assert (reader.lacks, reader.missing()) == (True, [1])
    reader.feed(keepalive(3))
    assert reader.missing() == [1, 3]
    reader.feed(keepalive(1))
    assert reader.missing() == [1, 3], "an older keepalive takes nothing back"
    reader.feed(end(4))
    assert (reader.lacks, reader.missing()) == (True, [1, 3, 4])
    reader.feed(lines(1, 3, 4))
    assert (reader.lacks, reader.missing(), reader.complete) == (False, [], True)


def test_a_begin_that_did_not_come_is_missed_once_anything_else_was_sent():
    reader = Reader("i")
    reader.feed(keepalive(0))
    assert (reader.lacks, reader.missing()) == (False, [])
    reader.feed(lines(1))
    assert (reader.lacks, reader.missing()) == (True, [0])
    reader.feed(BEGIN)
    assert (reader.lacks, reader.missing()) == (False, [])


@pytest.mark.parametrize("last", [{"event": "relay.response", "id": "i"}, end(0), end(1)])
def test_nothing_is_missing_of_what_is_complete(last):
    reader = Reader("i")
    reader.feed(lines(1))
    reader.feed(keepalive(7))
    reader.feed(last)
    assert (reader.complete, reader.lacks, reader.missing()) == (True, False, [])


def test_once_the_end_is_there_it_alone_tells_what_is_missing():
    reader = Reader("i")
    reader.feed(BEGIN)
    reader.feed(keepalive(7))
    reader.feed(gone(-1))
    assert reader.missing() == [-1, 1, 2, 3, 4, 5, 6, 7]
    reader.feed(end(2))
    assert reader.missing() == [1, 2]


def test_an_end_is_missed_only_where_the_relay_does_not_know_the_request_any_more():
    reader = Reader("i")
    reader.feed(BEGIN)
    reader.feed(lines(1))
    reader.feed(gone(1, -1, "x", None))
    assert reader.gone == {1, -1}
    assert (reader.lacks, reader.missing()) == (True, [-1])
    reader.feed(end(1))
    assert (reader.lacks, reader.missing(), reader.complete) == (False, [], True)


@pytest.mark.parametrize("told", [None, 5, "1", {"1": 1}])
def test_a_malformed_gone_tells_nothing(told):
    reader = Reader("i")
    reader.feed({"event": "relay.response.gone", "id": "i", "missing": told})
    assert (reader.gone, reader.lacks) == (set(), False)


def test_how_far_a_peer_has_everything():
    reader = Reader("i")
    assert reader.have == 0
    reader.feed(lines(1, 2, 4))
    assert reader.have == 2
    reader.feed(lines(3))
    assert reader.have == 4


def test_what_lies_too_far_ahead_is_not_kept():
    reader = Reader("i")
    reader.feed(lines(1 + limits.READER_AHEAD_MAX + 1))
    assert not reader.progress.held
    reader.feed(lines(1 + limits.READER_AHEAD_MAX))
    assert list(reader.progress.held) == [1 + limits.READER_AHEAD_MAX]


@given(st.integers(0, 60), st.integers(0, 2**32))
def test_any_order_with_doubles_gives_the_stream_once_and_in_order(count, seed):
    chance = random.Random(seed)
    sent, seq = [], 1
    while seq <= count:
        width = chance.randint(1, 5)
        sent.append(lines(*range(seq, min(seq + width, count + 1))))
        seq += width
    more = [BEGIN, keepalive(chance.randint(0, count)), end(count)]
    frames = [*sent, *more, *chance.choices([*sent, *more], k=5)]
    chance.shuffle(frames)
    reader = Reader("i")
    got = []
    for frame in frames:
        got += reader.feed(frame)
        assert reader.lacks == bool(reader.missing())
        assert reader.have == len(got)
    assert [piece.seq for piece in got] == list(range(1, count + 1))
    assert reader.complete
    assert not reader.progress.held


JUNK = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
EVENTS = ["begin", "lines", "chunk", "keepalive", "end", "gone", "missing", ""]


@given(
    st.sampled_from(EVENTS),
    st.dictionaries(
        st.sampled_from(["seq", "b64", "lines", "last_seq", "state", "missing"]), JUNK | st.lists(JUNK)
    ),
)
def test_no_frame_breaks_it(name, fields):
    reader = Reader("i")
    reader.feed({"event": f"relay.response.{name}", "id": "i", **fields})
    assert reader.progress.frames == 1
    assert reader.lacks == bool(reader.missing())
    assert len(reader.missing()) <= limits.GAPS_MAX + 2


def test_an_answer_in_one_piece_is_complete_whatever_number_it_names():
    reader = Reader("i")
    reader.feed({"event": "relay.response", "id": "i", "ok": True, "last_seq": 5})
    assert reader.complete
    assert not reader.lacks


@pytest.mark.parametrize(
    "line", [None, 5, "line", {"seq": 1}, {"seq": 1, "line": 5}, {"seq": 1, "line": None}]
)
def test_a_line_without_text_is_none(line):
    reader = Reader("i")
    assert reader.feed({"event": "relay.response.lines", "id": "i", "lines": [line]}) == []
    assert reader.feed(lines(1)) == [Piece(1, line="line 1")]


def test_bytes_that_are_no_base64_are_none():
    reader = Reader("i")
    assert reader.feed({**chunk(1, b""), "b64": "YQ==!"}) == [Piece(1, data=b"")]
