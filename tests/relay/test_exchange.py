"""One request's life: every cell of the table, every way to end, and the promises of a stream."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.events import StreamMode
from relay.exchange import MOVES, Exchange, Phase
from relay.manner import Manner
from relay.outflow import Out
from relay.policy import UpstreamRequest
from relay.reader import Reader
from wire import limits
from wire.errors import UpstreamFault, cancelled, shutdown, upstream_broke, upstream_refused

Make = Callable[..., UpstreamRequest]

STREAM = StreamMode(wanted=True, lines=False)
LINES = StreamMode(wanted=True, lines=True)
SINGLE = StreamMode(wanted=False, lines=False)
NDJSON = {"content-type": "application/x-ndjson"}
DONE = b'{"done":true}\n'
EVENTS = ("start", "stream", "collect", "data", "eof", "fail")
TERMINAL = {"relay.response.end", "relay.response"}


def frames_of(outs: list[Out]) -> list[dict[str, Any]]:
    return [json.loads(out.text) for out in outs]


def short(outs: list[Out]) -> list[Any]:
    """Frames by the last word of their event; lines and chunks by what they carry."""
    found: list[Any] = []
    for frame in frames_of(outs):
        word = frame["event"].rpartition(".")[2]
        if word == "lines":
            found.append([line["line"] for line in frame["lines"]])
        else:
            found.append(base64.b64decode(frame["b64"]) if word == "chunk" else word)
    return found


class Life:
    """An exchange and its clock."""

    def __init__(self, make: Make, manner: Manner | None = None, **changes: Any) -> None:
        self.exchange = Exchange("i", make(**changes), manner or Manner(), now=100.0)

    def begin(self, headers: dict[str, str] | None = None, status: int = 200) -> list[Out]:
        self.exchange.start(100.0)
        return self.exchange.head(status, NDJSON if headers is None else headers, 100.0)


# -- the table ------------------------------------------------------------------------------


def in_phase(make: Make, phase: Phase) -> Exchange:
    exchange = Exchange("i", make(stream=SINGLE if phase is Phase.COLLECTING else STREAM), Manner(), 100.0)
    if phase is Phase.QUEUED:
        return exchange
    exchange.start(100.0)
    if phase is Phase.LOADING:
        return exchange
    exchange.head(200, NDJSON, 100.0)
    exchange.data(b"half a line", 100.0)
    if phase is Phase.ENDED:
        exchange.fail(cancelled(), 100.0)
    assert exchange.phase is phase
    return exchange


def apply(exchange: Exchange, event: str) -> list[Out]:
    if event == "start":
        exchange.start(101.0)
        return []
    if event in {"stream", "collect"}:
        exchange.request = type(exchange.request)(
            **{name: getattr(exchange.request, name) for name in exchange.request.__slots__}
            | {"stream": STREAM if event == "stream" else SINGLE}
        )
        return exchange.head(200, NDJSON, 101.0)
    if event == "data":
        return exchange.data(b"\n" + DONE, 101.0)
    return exchange.eof(101.0) if event == "eof" else exchange.fail(shutdown(), 101.0)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("phase", Phase)
def test_each_cell_of_the_table(make_request, phase, event):
    exchange = in_phase(make_request, phase)
    outs = apply(exchange, event)
    following = MOVES[phase].get(event)
    assert exchange.phase is (phase if following is None else following)
    if following is None:
        assert outs == []
    ends = [frame for frame in frames_of(outs) if frame["event"] in TERMINAL]
    assert len(ends) == (following is Phase.ENDED)
    assert exchange.ended is (exchange.phase is Phase.ENDED)
    assert (exchange.due_at() is None) is exchange.ended


def test_the_table_names_no_other_event_and_reaches_every_phase():
    assert set(MOVES) == set(Phase)
    assert {event for moves in MOVES.values() for event in moves} == set(EVENTS)
    assert {phase for moves in MOVES.values() for phase in moves.values()} == set(Phase) - {Phase.QUEUED}
    assert all("fail" in moves for phase, moves in MOVES.items() if phase is not Phase.ENDED)


@pytest.mark.parametrize("late", [*EVENTS, "advance", "acknowledged"])
def test_nothing_follows_the_end(make_request, late):
    exchange = in_phase(make_request, Phase.ENDED)
    if late == "advance":
        assert exchange.advance(1e9) == []
    elif late == "acknowledged":
        assert exchange.acknowledged(10**9, 1e9) == []
    else:
        assert apply(exchange, late) == []
    assert exchange.due_at() is None


# -- a stream that ends well ------------------------------------------------------------------


def test_a_whole_stream(make_request):
    life = Life(make_request, Manner(epoch_s=1000.0))
    exchange = life.exchange
    assert frames_of(life.begin(NDJSON | {"x": "y"})) == [
        {
            "event": "relay.response.begin",
            "id": "i",
            "ok": True,
            "status": 200,
            "headers": NDJSON | {"x": "y"},
            "ts": 1_100_000,
        }
    ]
    assert short(exchange.data(b'{"a":1}\n{"b', 101.0)) == [['{"a":1}']]
    assert exchange.data(b'":2}\n', 101.01) == []
    assert exchange.due_at() == pytest.approx(101.09)
    assert short(exchange.advance(exchange.due_at())) == [['{"b":2}']]
    assert exchange.data(DONE, 102.0) == []
    outs = exchange.eof(102.5)
    assert frames_of(outs) == [
        {
            "event": "relay.response.lines",
            "id": "i",
            "lines": [{"seq": 3, "ts": 1_102_000, "line": '{"done":true}'}],
        },
        {
            "event": "relay.response.end",
            "id": "i",
            "ok": True,
            "bytes": 30,
            "last_seq": 3,
            "lines": 3,
            "eot_seen": True,
            "done_seen": True,
            "truncated": False,
            "error": None,
            "t_ms": 2500,
        },
    ]
    assert exchange.fault is None
    assert exchange.ended


def test_frames_are_numbered_so_that_only_the_last_ones_acknowledgement_counts(make_request):
    life = Life(make_request)
    exchange = life.exchange
    assert [out.number for out in life.begin()] == [1]
    assert [out.number for out in exchange.data(b"a\n", 100.0)] == [2]
    assert exchange.data(b"b\n", 100.01) == []
    assert exchange.acknowledged(1, 100.02) == []
    assert short(exchange.acknowledged(2, 100.02)) == [["b"]]
    assert exchange.data(b"c\n", 100.03) == []
    assert exchange.acknowledged(2, 100.03) == []
    assert short(exchange.acknowledged(3, 100.04)) == [["c"]]
    assert exchange.acknowledged(4, 100.05) == []
    assert short(exchange.data(b"d\n", 100.06)) == [["d"]]


def test_each_frame_names_the_numbers_that_are_in_it(make_request):
    life = Life(make_request, path="/api/show")
    outs = life.begin()
    outs += life.exchange.data(b"a\n" * 26, 100.0)
    outs += life.exchange.data(b"b\n\xff\n", 100.01)
    outs += life.exchange.eof(100.02)
    assert short(outs) == ["begin", ["a"] * 24, ["a"] * 2 + ["b"], b"\xff\n", "end"]
    assert [(out.first, out.last) for out in outs] == [(0, 0), (1, 24), (25, 27), (28, 28), (-1, -1)]
    life = Life(make_request, stream=SINGLE)
    assert life.begin() == []
    assert [(out.first, out.last) for out in life.exchange.eof(100.0)] == [(-1, -1)]


@pytest.mark.parametrize(
    ("phase", "sent"),
    [
        (Phase.QUEUED, []),
        (Phase.LOADING, []),
        (Phase.GENERATING, [0]),
        (Phase.COLLECTING, []),
        (Phase.ENDED, [-1, 0, 1, 2]),
    ],
)
def test_what_was_not_sent_yet_is_told_from_what_was(make_request, phase, sent):
    exchange = in_phase(make_request, phase)
    assert [seq for seq in (-1, 0, 1, 2) if exchange.has_sent(seq)] == sent


def test_a_line_that_waits_for_company_was_not_sent_yet(make_request):
    life = Life(make_request)
    life.begin()
    life.exchange.data(b"a\n", 100.0)
    life.exchange.data(b"b\n", 100.01)
    assert (life.exchange.has_sent(1), life.exchange.has_sent(2)) == (True, False)
    assert json.loads(life.exchange.alive(100.02))["last_seq"] == 1
    life.exchange.advance(100.01 + limits.BATCH_MS / 1000)
    assert (life.exchange.has_sent(2), life.exchange.has_sent(3)) == (True, False)
    assert json.loads(life.exchange.alive(100.1))["last_seq"] == 2


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.LOADING, Phase.GENERATING])
def test_whoever_asks_is_told_where_a_stream_stands(make_request, phase):
    exchange = in_phase(make_request, phase)
    told = json.loads(exchange.alive(103.0, 2 if phase is Phase.QUEUED else None))
    assert (told["event"], told["state"]) == ("relay.response.keepalive", phase.value)
    assert told.get("position") == (2 if phase is Phase.QUEUED else None)
    assert exchange.due_at() < 100.0 + limits.QUEUE_WAIT_S


def test_a_shorter_window_may_be_asked(make_request):
    exchange = Exchange("i", make_request(batch_ms=5), Manner(), 100.0)
    exchange.start(100.0)
    exchange.head(200, NDJSON, 100.0)
    exchange.data(b"a\n", 100.0)
    exchange.data(b"b\n", 100.0)
    assert exchange.due_at() == 100.005


@pytest.mark.parametrize(
    ("content_type", "mode", "as_lines"),
    [
        ("application/x-ndjson", STREAM, True),
        ("Application/X-NDJSON; charset=utf-8", STREAM, True),
        ("application/ndjson", STREAM, True),
        ("application/jsonl", STREAM, True),
        ("text/event-stream", STREAM, True),
        ("application/json", STREAM, False),
        ("text/plain", STREAM, False),
        ("", STREAM, False),
        ("application/json", LINES, True),
        ("application/octet-stream", LINES, True),
    ],
)
def test_lines_are_for_line_types_or_for_those_who_ask(make_request, content_type, mode, as_lines):
    life = Life(make_request, stream=mode, path="/api/show")
    life.begin({"content-type": content_type} if content_type else {})
    assert short(life.exchange.data(b"a\nb\n", 100.0)) == ([["a", "b"]] if as_lines else [b"a\nb\n"])
    end = frames_of(life.exchange.eof(100.0))[-1]
    assert (end["ok"], end["bytes"], end["last_seq"], end["lines"]) == (
        (True, 4, 2, 2) if as_lines else (True, 4, 1, 0)
    )


def test_blank_lines_and_carriage_returns_of_sse_are_kept(make_request):
    life = Life(make_request, path="/v1/chat/completions")
    life.begin({"content-type": "text/event-stream"})
    body = b'data: {"a":1}\r\n\r\ndata: [DONE]\n\n'
    assert short(life.exchange.data(body, 100.0)) == [['data: {"a":1}\r', "\r", "data: [DONE]", ""]]
    assert frames_of(life.exchange.eof(100.0))[-1]["done_seen"]


def test_bytes_that_are_not_utf8_go_as_a_chunk(make_request):
    life = Life(make_request, path="/api/show")
    life.begin()
    assert short(life.exchange.data(b"a\n\xff\nb\n", 100.0)) == [["a"], b"\xff\nb\n"]


def test_an_empty_body_is_a_begin_and_an_end(make_request):
    life = Life(make_request, path="/api/show")
    assert short(life.begin()) == ["begin"]
    outs = life.exchange.eof(100.0)
    assert short(outs) == ["end"]
    assert frames_of(outs)[0]["ok"]


# -- a stream that does not -------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/v1/messages"])
def test_a_stream_without_its_end_mark_is_not_whole(make_request, path):
    life = Life(make_request, path=path)
    life.begin()
    life.exchange.data(b'{"done":false}\n', 100.0)
    outs = life.exchange.eof(101.0)
    end = frames_of(outs)[-1]
    assert (end["ok"], end["code"], end["truncated"], end["done_seen"]) == (
        False,
        "upstream_broke",
        True,
        False,
    )
    assert "end mark" in end["error"]


def test_the_rest_behind_the_last_line_feed_is_sent_before_such_an_end(make_request):
    life = Life(make_request)
    life.begin()
    life.exchange.data(b"a\nrest", 100.0)
    assert short(life.exchange.eof(101.0)) == [["rest"], "end"]


@pytest.mark.parametrize("path", ["/api/tags", "/api/show", "/api/embed"])
def test_other_paths_need_no_mark(make_request, path):
    life = Life(make_request, path=path)
    life.begin()
    life.exchange.data(b"{}\n", 100.0)
    assert frames_of(life.exchange.eof(101.0))[-1]["ok"]


def test_a_body_that_is_no_line_type_needs_no_mark(make_request):
    life = Life(make_request, stream=LINES)
    life.begin({"content-type": "application/json"})
    life.exchange.data(b'{"response":"x"}', 100.0)
    assert frames_of(life.exchange.eof(101.0))[-1]["ok"]


@pytest.mark.parametrize("status", [400, 404, 503])
def test_an_error_status_is_told_at_begin_and_end_and_its_body_passes(make_request, status):
    life = Life(make_request)
    assert frames_of(life.begin(NDJSON, status))[0]["ok"] is False
    assert short(life.exchange.data(b'{"error":"x"}\n', 100.0)) == [['{"error":"x"}']]
    end = frames_of(life.exchange.eof(101.0))[-1]
    assert (end["ok"], end["code"], end["truncated"], end["bytes"]) == (False, "upstream_status", False, 14)
    assert str(status) in end["error"]


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.LOADING, Phase.GENERATING])
@pytest.mark.parametrize("fault", [cancelled(), shutdown(), upstream_broke("x"), upstream_refused("y")])
def test_every_failure_ends_the_stream_with_its_code(make_request, phase, fault):
    exchange = in_phase(make_request, phase)
    outs = exchange.fail(fault, 103.0)
    assert short(outs) == ["end"]
    end = frames_of(outs)[0]
    assert (end["ok"], end["code"], end["error"], end["t_ms"]) == (False, fault.code, fault.detail, 3000)
    assert end["truncated"] is (phase is Phase.GENERATING)
    assert end.get("retry_after_ms") == fault.retry_after_ms
    assert exchange.fault is fault


def test_what_was_gathered_goes_out_before_the_end(make_request):
    life = Life(make_request)
    life.begin()
    life.exchange.data(b"a\n", 100.0)
    assert life.exchange.data(b"b\nhalf", 100.01) == []
    outs = life.exchange.fail(upstream_broke("x"), 100.02)
    assert short(outs) == [["b"], "end"]
    end = frames_of(outs)[-1]
    assert (end["last_seq"], end["lines"], end["bytes"]) == (2, 2, 8)


def test_a_line_too_long_ends_the_stream(make_request):
    life = Life(make_request)
    life.begin()
    life.exchange.data(b"a\n", 100.0)
    outs = life.exchange.data(b"x" * (limits.LINE_MAX_B + 1), 100.0)
    end = frames_of(outs)[-1]
    assert (end["event"], end["ok"], end["code"]) == ("relay.response.end", False, "line_too_long")
    assert (end["truncated"], end["last_seq"]) == (True, 1)


def test_a_rest_too_long_ends_the_stream_once(make_request):
    life = Life(make_request, path="/api/show")
    life.begin()
    assert life.exchange.data(b"\x01" * (limits.FRAME_MAX_B // 6), 100.0) == []
    outs = life.exchange.eof(100.0)
    assert [frame["event"] for frame in frames_of(outs)] == ["relay.response.end"]
    assert frames_of(outs)[0]["code"] == "line_too_long"


def test_lines_before_one_too_long_are_all_sent(make_request):
    life = Life(make_request)
    life.begin()
    outs = life.exchange.data(b"a\n" * 30 + b"\x01" * (limits.FRAME_MAX_B // 6) + b"\n", 100.0)
    assert [len(part) if isinstance(part, list) else part for part in short(outs)] == [24, 6, "end"]
    assert frames_of(outs)[-1]["last_seq"] == 30


# -- time ---------------------------------------------------------------------------------------


def test_silence_while_queued_is_filled_with_keepalives_that_tell_the_place(make_request):
    exchange = Exchange("i", make_request(), Manner(keepalive_s=10.0, epoch_s=1.0), 100.0)
    assert exchange.due_at() == 101.0
    assert exchange.advance(100.9, 3) == []
    outs = exchange.advance(101.0, 3)
    assert frames_of(outs) == [
        {
            "event": "relay.response.keepalive",
            "id": "i",
            "ts": 102_000,
            "last_seq": 0,
            "state": "queued",
            "position": 3,
        }
    ]
    assert [(out.number, out.kept) for out in outs] == [(1, False)]
    assert exchange.due_at() == 111.0


def test_silence_while_loading_and_generating(make_request):
    exchange = Exchange("i", make_request(timeout_s=60.0), Manner(keepalive_s=10.0), 100.0)
    exchange.advance(101.0)
    exchange.start(105.0)
    assert exchange.due_at() == 111.0
    loading = frames_of(exchange.advance(111.0))[0]
    assert (loading["state"], "position" in loading) == ("loading", False)
    exchange.head(200, NDJSON, 115.0)
    exchange.data(b"a\n", 116.0)
    assert exchange.due_at() == 126.0
    generating = frames_of(exchange.advance(126.0))[0]
    assert (generating["state"], generating["last_seq"]) == ("generating", 1)


def test_a_keepalive_never_names_a_line_that_was_not_sent(make_request):
    exchange = Exchange("i", make_request(timeout_s=60.0), Manner(keepalive_s=10.0), 100.0)
    exchange.start(100.0)
    exchange.head(200, NDJSON, 100.0)
    exchange.data(b"a\n", 100.0)
    assert exchange.data(b"b\n", 109.99) == []
    outs = exchange.advance(110.0)
    assert short(outs) == [["b"]]
    exchange.advance(110.08)
    assert exchange.due_at() == 120.0


def test_a_request_without_stream_gets_no_keepalive(make_request):
    exchange = Exchange("i", make_request(stream=SINGLE, timeout_s=30.0), Manner(keepalive_s=1.0), 100.0)
    exchange.start(100.0)
    assert exchange.advance(129.9) == []
    assert exchange.due_at() == 130.0


def test_waiting_too_long_for_a_worker_is_refused_as_busy(make_request):
    exchange = Exchange("i", make_request(timeout_s=1.0), Manner(keepalive_s=1e6), 100.0)
    exchange.advance(101.0)
    assert exchange.due_at() == 100.0 + limits.QUEUE_WAIT_S
    outs = exchange.advance(100.0 + limits.QUEUE_WAIT_S)
    end = frames_of(outs)[0]
    assert (end["ok"], end["code"], end["retry_after_ms"]) == (False, "busy", limits.RETRY_AFTER_MS)


def test_a_timeout_while_loading(make_request):
    exchange = Exchange("i", make_request(timeout_s=7.0), Manner(), 100.0)
    exchange.start(150.0)
    assert short(exchange.advance(156.9)) == ["keepalive"]
    assert exchange.due_at() == 157.0
    outs = exchange.advance(157.0)
    end = frames_of(outs)[-1]
    assert (short(outs), end["code"], end["truncated"]) == (["end"], "timeout", False)
    assert "7 s" in end["error"]


def test_a_stream_times_out_by_its_silence_not_by_its_length(make_request):
    exchange = Exchange("i", make_request(timeout_s=7.0), Manner(), 100.0)
    exchange.start(100.0)
    exchange.head(200, NDJSON, 106.0)
    for step in range(10):
        assert short(exchange.data(b"a\n", 112.0 + 6 * step))
        exchange.acknowledged(10**9, 112.0 + 6 * step)
        assert not exchange.ended
    outs = exchange.advance(112.0 + 6 * 9 + 7.0)
    end = frames_of(outs)[-1]
    assert (end["code"], end["truncated"], end["last_seq"]) == ("timeout", True, 10)
    assert "sent nothing for 7 s" in end["error"]


def test_a_request_without_stream_times_out_by_its_total(make_request):
    exchange = Exchange("i", make_request(timeout_s=7.0, stream=SINGLE), Manner(), 100.0)
    exchange.start(110.0)
    exchange.head(200, {}, 116.0)
    exchange.data(b"a", 116.9)
    assert exchange.due_at() == 117.0
    outs = exchange.advance(117.0)
    answer = frames_of(outs)[0]
    assert (answer["event"], answer["ok"], answer["code"]) == ("relay.response", False, "timeout")
    assert (answer["status"], answer["truncated"]) == (200, True)
    assert exchange.due_at() is None


# -- without stream -------------------------------------------------------------------------


def test_an_answer_without_stream_is_one_frame(make_request):
    life = Life(make_request, stream=SINGLE)
    headers = {"content-type": "application/json"}
    assert life.begin(headers) == []
    assert life.exchange.data(b'{"a":', 101.0) == []
    assert life.exchange.data(b"1}", 102.0) == []
    assert life.exchange.advance(103.0) == []
    assert frames_of(life.exchange.eof(104.0)) == [
        {
            "event": "relay.response",
            "id": "i",
            "ok": True,
            "status": 200,
            "headers": headers,
            "json": {"a": 1},
            "body_b64": None,
            "truncated": False,
            "error": None,
        }
    ]
    assert life.exchange.fault is None


def test_an_error_status_without_stream_is_an_answer_like_others(make_request):
    life = Life(make_request, stream=SINGLE)
    life.begin({"content-type": "application/json"}, 404)
    life.exchange.data(b'{"error":"no"}', 100.0)
    answer = frames_of(life.exchange.eof(100.0))[0]
    assert (answer["ok"], answer["status"], answer["json"]) == (False, 404, {"error": "no"})


@pytest.mark.parametrize(
    "pieces", [[b"abcdef"], [b"abc", b"def"], [b"abcd", b"e"], [b"a", b"b", b"c", b"d", b"e"]]
)
def test_a_body_over_the_limit_is_cut_and_marked(make_request, pieces):
    life = Life(make_request, Manner(max_body_b=4), stream=SINGLE)
    life.begin({})
    outs = [out for piece in pieces for out in life.exchange.data(piece, 100.0)]
    answer = frames_of(outs)[0]
    assert len(outs) == 1
    assert (answer["ok"], answer["truncated"], answer["code"]) == (False, True, "truncated")
    assert (answer["status"], base64.b64decode(answer["body_b64"])) == (200, b"abcd")
    assert "RELAY_MAX_BODY_B" in answer["error"]


def test_a_body_of_exactly_the_limit_is_whole(make_request):
    life = Life(make_request, Manner(max_body_b=4), stream=SINGLE)
    life.begin({})
    assert life.exchange.data(b"abcd", 100.0) == []
    answer = frames_of(life.exchange.eof(100.0))[0]
    assert (answer["ok"], answer["truncated"], base64.b64decode(answer["body_b64"])) == (True, False, b"abcd")


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.LOADING])
def test_a_failure_before_the_head_has_the_faults_status(make_request, phase):
    exchange = Exchange("i", make_request(stream=SINGLE), Manner(), 100.0)
    if phase is Phase.LOADING:
        exchange.start(100.0)
    answer = frames_of(exchange.fail(upstream_refused("x"), 101.0))[0]
    assert (answer["event"], answer["status"], answer["code"]) == ("relay.response", 502, "upstream_refused")
    assert (answer["truncated"], answer["headers"]) == (False, {})


def test_a_failure_in_the_body_gives_what_came_and_says_so(make_request):
    life = Life(make_request, stream=SINGLE)
    life.begin({"content-type": "application/json"})
    life.exchange.data(b"[1]", 100.0)
    answer = frames_of(life.exchange.fail(UpstreamFault("upstream_broke", "x"), 101.0))[0]
    assert (answer["ok"], answer["truncated"], answer["json"]) == (False, True, None)
    assert base64.b64decode(answer["body_b64"]) == b"[1]"


# -- promises --------------------------------------------------------------------------------

BODY = st.lists(
    st.sampled_from(
        [b"\n", b"a", b"\r\n", "é".encode(), b"\xc3", b'{"x":"y"}\n', b"l" * 2000, b"z" * 60_000]
    ),
    max_size=30,
).map(b"".join)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 7, 300, 5000, 65_536]), st.sampled_from([0, 1, 30, 79, 80, 200]), st.booleans()
    ),
    max_size=40,
)
MANNER = Manner(keepalive_s=1.0)


def efforts(outs: list[Out]) -> list[tuple[Any, str]]:
    return [(word, out.effort.value) for word, out in zip(short(outs), outs, strict=True)]


def test_what_a_stream_cannot_be_without_is_sure_and_what_there_is_much_of_takes_one_path(make_request):
    life = Life(make_request, stream=LINES, timeout_s=60.0)
    assert efforts(life.begin()) == [("begin", "sure")]
    exchange = life.exchange
    assert efforts(exchange.data(b"a\n", 100.0)) == [(["a"], "lean")]
    assert efforts(exchange.data(b"\xff\n", 101.0)) == [(b"\xff\n", "lean")]
    assert efforts(exchange.advance(120.0)) == [("keepalive", "sure")]
    exchange.data(b"b\n", 120.0)
    assert efforts(exchange.fail(cancelled(), 120.0)) == [(b"b\n", "lean"), ("end", "sure")]


@pytest.mark.parametrize("fault", [None, cancelled()])
def test_an_answer_in_one_piece_is_sure(make_request, fault):
    life = Life(make_request, stream=SINGLE)
    life.begin({})
    outs = life.exchange.eof(100.0) if fault is None else life.exchange.fail(fault, 100.0)
    assert efforts(outs) == [("response", "sure")]


def test_each_frame_has_a_number_and_a_peer_may_ask_again_for_all_but_keepalives(make_request):
    life = Life(make_request, stream=LINES)
    outs = life.begin() + life.exchange.data(b"a\n", 100.0) + life.exchange.advance(111.0)
    outs += life.exchange.eof(112.0)
    assert [out.number for out in outs] == [1, 2, 3, 4]
    assert [out.kept for out in outs] == [True, True, False, True]


@given(BODY, STEPS, st.booleans(), st.integers(0, 2**32))
def test_any_body_in_any_pieces_with_any_acknowledgements_arrives_whole(
    make_request, body, steps, of_lines, seed
):
    stream = LINES if of_lines else STREAM
    exchange = Exchange("i", make_request(stream=stream, path="/api/show", timeout_s=1e6), MANNER, 0.0)
    exchange.start(0.0)
    now, sent_at, sent, number = 0.0, 0.0, [], 0

    def take(outs: list[Out]) -> None:
        nonlocal sent_at, number
        for out in outs:
            assert len(out.text.encode()) <= limits.FRAME_MAX_B
            frame = json.loads(out.text)
            assert now <= sent_at + MANNER.keepalive_s
            if frame["event"] == "relay.response.lines":
                assert 1 <= len(frame["lines"]) <= limits.BATCH_LINES
                assert all(
                    now - line["ts"] / 1000 <= limits.BATCH_MS / 1000 + 0.001 for line in frame["lines"]
                )
            sent.append(frame)
            sent_at = now
            number = out.number or number

    def pass_time(until: float) -> None:
        nonlocal now
        while (due := exchange.due_at()) is not None and due <= until:
            now = due
            outs = exchange.advance(now)
            assert outs, "due_at promised something"
            take(outs)
        now = until

    take(exchange.head(200, {}, now))
    start = 0
    for size, wait_ms, acked in steps:
        pass_time(now + wait_ms / 1000)
        if acked:
            take(exchange.acknowledged(number, now))
        if start < len(body):
            take(exchange.data(body[start : start + size], now))
            start += size
    while start < len(body):
        take(exchange.data(body[start : start + 65_536], now))
        start += 65_536
    take(exchange.eof(now))
    assert exchange.due_at() is None

    events = [frame["event"] for frame in sent]
    assert events[0] == "relay.response.begin"
    assert events[-1] == "relay.response.end"
    assert events.count("relay.response.begin") == events.count("relay.response.end") == 1
    highest = 0
    for frame in sent:
        numbers = (
            [line["seq"] for line in frame.get("lines", [])] if isinstance(frame.get("lines"), list) else []
        )
        numbers += [frame["seq"]] if "seq" in frame else []
        assert numbers == list(range(highest + 1, highest + 1 + len(numbers)))
        highest += len(numbers)
        assert frame.get("last_seq", highest) == highest

    chance = random.Random(seed)
    arriving = [*sent, *chance.choices(sent, k=5)]
    chance.shuffle(arriving)
    reader = Reader("i")
    pieces = [piece for frame in arriving for piece in reader.feed(frame)]
    assert reader.complete
    assert reader.missing() == []
    joined = b"".join(piece.line.encode() + b"\n" if piece.data is None else piece.data for piece in pieces)
    assert reader.end["bytes"] == len(body)
    assert joined[: reader.end["bytes"]] == body
    assert joined in {body, body + b"\n"}
    assert reader.end["lines"] == sum(piece.data is None for piece in pieces)
    assert reader.end["ok"] is True


CHAOS = st.lists(
    st.tuples(st.sampled_from([*EVENTS, "advance", "acknowledged"]), st.integers(0, 20)), max_size=25
)


@given(CHAOS, st.booleans())
def test_any_order_of_events_gives_at_most_one_end_and_nothing_after_it(make_request, events, wanted):
    exchange = Exchange("i", make_request(stream=STREAM if wanted else SINGLE), Manner(max_body_b=40), 0.0)
    doing: dict[str, Callable[[float, int], list[Out]]] = {
        "start": lambda now, _: exchange.start(now) or [],
        "stream": lambda now, _: exchange.head(200, NDJSON, now),
        "collect": lambda now, _: exchange.head(200, NDJSON, now),
        "data": lambda now, _: exchange.data(b"a\nb", now),
        "eof": lambda now, _: exchange.eof(now),
        "fail": lambda now, _: exchange.fail(cancelled(), now),
        "advance": lambda now, _: exchange.advance(now),
        "acknowledged": lambda now, wait: exchange.acknowledged(wait, now),
    }
    now, seen = 0.0, []
    for name, wait in events:
        now += wait
        outs = doing[name](now, wait)
        seen += [frame["event"] for frame in frames_of(outs)]
        assert exchange.ended is bool(TERMINAL.intersection(seen))
    assert sum(event in TERMINAL for event in seen) <= 1
    assert not TERMINAL.intersection(seen[:-1])
    assert seen.count("relay.response.begin") <= 1
    assert TERMINAL.isdisjoint(seen) or seen[-1] == ("relay.response.end" if wanted else "relay.response")


def test_tokens_are_what_the_upstream_said_or_the_lines_of_an_inference_and_else_none(make_request):
    def tokens(path: str, *lines: bytes) -> int:
        life = Life(make_request, path=path)
        life.begin()
        life.exchange.data(b"".join(lines), 100.0)
        return life.exchange.tokens

    assert tokens("/api/chat", b'{"a":1}\n', b'{"a":2}\n') == 2
    assert tokens("/api/chat", b'{"a":1}\n', b'{"done":true,"eval_count":7}\n') == 7
    assert tokens("/api/tags", b'{"a":1}\n', b'{"a":2}\n') == 0


def test_a_head_is_a_sign_of_life_of_the_upstream(make_request):
    life = Life(make_request, timeout_s=30.0)
    life.exchange.start(100.0)
    life.exchange.head(200, NDJSON, 125.0)
    assert short(life.exchange.advance(131.0)) == []
    life.exchange.advance(140.0)
    assert not life.exchange.ended
    life.exchange.advance(155.0)
    assert life.exchange.ended


def test_how_long_a_silence_means_that_a_peer_is_gone_follows_from_the_owners_keepalives(make_request):
    manner = Manner(keepalive_s=1.0)
    assert manner.gone_s != limits.GONE_S
    assert Life(make_request, manner).exchange._hearing.gone_s == manner.gone_s


def test_what_the_owners_limit_is_stands_in_the_word_that_a_body_is_cut(make_request):
    life = Life(make_request, Manner(max_body_b=100), stream=SINGLE)
    life.begin()
    (answer,) = frames_of(life.exchange.data(b"x" * 101, 100.0))
    assert "cut at 100 bytes" in answer["error"]


def test_a_word_that_all_was_heard_lets_a_held_upstream_go_on(make_request):
    for word in ("reached", "heard"):
        life = Life(make_request, timeout_s=30.0)
        life.begin()
        life.exchange.acknowledged(1, 100.0)
        for number in range(60):
            life.exchange.data(b'{"response":"' + b"x" * 60_000 + b'"}\n', 100.0 + number / 1000)
        assert life.exchange.holding
        if word == "reached":
            life.exchange.reached(60, 125.0)
        else:
            life.exchange.heard(125.0, moved=True)
        assert not life.exchange.holding
        life.exchange.acknowledged(life.exchange._number, 126.0)
        assert life.exchange._patience.deadline(queued=False) == pytest.approx(155.0, abs=0.5), word


def test_a_stream_whose_head_was_cut_needs_its_end_mark_as_well(make_request):
    life = Life(make_request, path="/api/chat")
    life.begin(headers={})
    life.exchange.data(b"half", 100.0)
    assert frames_of(life.exchange.eof(101.0))[-1]["code"] == "upstream_broke"


def test_who_says_that_it_has_the_last_line_gets_the_next_one_at_once(make_request):
    life = Life(make_request)
    life.begin()
    life.exchange.acknowledged(1, 100.0)
    assert short(life.exchange.data(b"one\n", 100.0)) == [["one"]]
    assert life.exchange.data(b"two\n", 100.0) == []
    assert life.exchange.reached(0, 100.001) == []
    assert short(life.exchange.reached(1, 100.001)) == [["two"]]
