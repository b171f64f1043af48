"""What a peer may ask, and the text of every answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import events, frames
from wire import limits
from wire.errors import UpstreamFault, bad_request, busy


def strict(text: str) -> Any:
    """Parse as a strict peer would: NaN and Infinity are no JSON, and the text must be encodable."""
    assert text.encode().decode() == text

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} on the wire")

    return json.loads(text, parse_constant=refuse)


def ask(**fields: Any) -> events.Event:
    return events.read(json.dumps(fields))


# -- reading --------------------------------------------------------------------------------

PUBLISHED = {
    "relay.ping": "ping",
    "ping": "ping",
    "relay.info": "info",
    "info": "info",
    "relay.http": "http",
    "http.request": "http",
    "relay.fetch": "http",
    "relay.health": "health",
    "relay.ack": "ack",
    "relay.cancel": "cancel",
    "relay.response.missing": "missing",
    "relay.resume": "resume",
    "http.upload.begin": "upload",
    "http.upload.chunk": "upload",
    "http.upload.end": "upload",
}


def test_the_events_are_those_of_the_contract():
    assert events.ALIASES == PUBLISHED


def test_what_a_relay_says_is_none_of_the_events_that_it_takes():
    """A sealed message opens in both directions: a node may hand us our own words as the peer's."""
    asked = ask(event="ping", id="1")
    said = [
        frames.pong(asked, 1, "a"), frames.info("1", 1, "a", {}), frames.health("1", 1, "a", []),
        frames.begin("1", 200, {}, 1), frames.lines("1", []), frames.chunk("1", 1, b""),
        frames.keepalive("1", 1, 0, "queued", 1), frames.gone("1", [1]), frames.upload_missing("1", "u", [1]),
        frames.refusal("1", bad_request("x"), events.StreamMode(wanted=True, lines=False)),
        frames.response("1", 200, {}, b"", None),
    ]  # fmt: skip
    assert len({json.loads(text)["event"] for text in said}) == len(said)
    for text in said:
        with pytest.raises(events.NotAnEvent, match=r"^(unknown_event|reflected)$"):
            events.read(text)


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_every_event_in_any_case(spell):
    assert {name: ask(event=spell(name), id="1").kind for name in PUBLISHED} == PUBLISHED


def test_text_and_bytes_are_the_same_message():
    text = '{"event":"ping","id":"é"}'
    assert events.read(text) == events.read(text.encode())


def test_unknown_fields_are_passed_over():
    event = ask(event="ping", id="1", ts_peer=5, upload_id="x", req={"service": "ollama", "future": 1})
    assert event == events.Event("ping", "1", 5, {"service": "ollama", "future": 1})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "not_json"),
        ("hello", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"event":"ping","x":"\xff"}', "not_json"),
        ('{"event":"ping"', "not_json"),
        ('{"event":"ping"} x', "not_json"),
        ('{"event":"ping","x":NaN}', "not_json"),
        ('{"event":"ping","x":[-Infinity]}', "not_json"),
        ("[" * 100_000, "not_json"),
        ('{"event":"ping","x":' + "9" * 5000 + "}", "not_json"),
        ("[]", "not_json"),
        ('"ping"', "not_json"),
        ("5", "not_json"),
        ("null", "not_json"),
        ("{}", "unknown_event"),
        ('{"event":null}', "unknown_event"),
        ('{"event":["ping"]}', "unknown_event"),
        ('{"event":{}}', "unknown_event"),
        ('{"event":""}', "unknown_event"),
        ('{"event":"relay.selfprobe"}', "unknown_event"),
        ('{"event":"relay.response.end","id":"1"}', "unknown_event"),
        ('{"EVENT":"ping"}', "unknown_event"),
        ('{"event":"p\\u0131ng"}', "unknown_event"),
    ],
)
def test_what_is_no_event_is_told_in_one_word(data, reason):
    with pytest.raises(events.NotAnEvent) as caught:
        events.read(data)
    assert str(caught.value) == reason


@pytest.mark.parametrize("kind", [str, bytes])
def test_a_message_beyond_the_limit_is_not_even_parsed(kind):
    start, end = '{"event":"ping","x":"', '"}'
    full = start + "x" * (limits.DM_MAX_B - len(start) - len(end)) + end
    assert events.read(full if kind is str else full.encode()).kind == "ping"
    with pytest.raises(events.NotAnEvent) as caught:
        events.read(full + " " if kind is str else full.encode() + b" ")
    assert str(caught.value) == "too_large"


@pytest.mark.parametrize(
    ("missing", "read"),
    [
        ([3, 0, -1, 3], (3, 0, -1, 3)),
        ([-2, 2**53, 1.0, True, None, "1", [], 2**53 - 1], (2**53 - 1,)),
        ([], ()),
        (None, ()),
        (5, ()),
        ("12", ()),
        ({"1": 1}, ()),
        (list(range(1000)), tuple(range(limits.MISSING_MAX))),
        (["x"] * limits.MISSING_MAX + [1], ()),
    ],
)
def test_numbers_that_are_missing(missing, read):
    assert ask(event="relay.response.missing", id="i", missing=missing).missing == read


@pytest.mark.parametrize(
    ("have", "read"),
    [
        (0, 0),
        (7, 7),
        (-1, -1),
        (2**53 - 1, 2**53 - 1),
        (-2, 0),
        (2**53, 0),
        (None, 0),
        ("7", 0),
        (True, 0),
        (1.5, 0),
    ],
)
def test_how_far_a_peer_has_everything(have, read):
    assert ask(event="relay.resume", id="i", have=have).have == read


def test_what_is_gone_is_told_in_numbers():
    assert strict(frames.gone("i", [0, 7, -1])) == {
        "event": "relay.response.gone",
        "id": "i",
        "missing": [0, 7, -1],
    }


@pytest.mark.parametrize("req", [None, 5, "x", [], True])
def test_a_req_that_is_no_object_is_an_empty_one(req):
    assert ask(event="relay.http", id="1", req=req).req == {}


@pytest.mark.parametrize(
    "identifier", [None, "", "a", "é\U0001f600", 0, 1, -5, 2**53 - 1, "x" * 256, 'quo"te\n']
)
def test_ids_that_are_echoed(identifier):
    event = ask(event="ping", id=identifier)
    assert (event.id, event.fault) == (identifier, None)
    assert type(event.id) is type(identifier)


@pytest.mark.parametrize(
    "identifier", ["x" * 257, "\ud800", "a\udfffb", 2**53, -(2**53), 1.5, 1.0, True, False, [], {}, ["a"]]
)
def test_ids_that_are_refused(identifier):
    event = ask(event="relay.http", id=identifier)
    assert event.id is None
    assert event.fault.code == "bad_request"
    assert "id" in event.fault.detail


@pytest.mark.parametrize("ts", [0, -1, 1_700_000_000_000, 1.5, 10**30, pytest.param(10**400, id="huge")])
def test_the_time_stamp_of_a_ping_is_echoed(ts):
    assert strict(frames.pong(ask(event="ping", ts_peer=ts), 1, "me"))["ts_peer"] == ts


@pytest.mark.parametrize("ts", ["null", '"5"', "true", "[]", "{}", "1e999", "-1e999"])
def test_a_time_stamp_that_is_no_number_is_left_out(ts):
    event = events.read('{"event":"ping","ts_peer":' + ts + "}")
    assert "ts_peer" not in strict(frames.pong(event, 1, "me"))


STREAM_WORDS = {"1", "true", "yes", "on", "chunks", "dm", "lines", "ndjson", "sse", "events"}
LINE_WORDS = {"lines", "ndjson", "sse", "events"}


@pytest.mark.parametrize("word", sorted(STREAM_WORDS))
def test_words_that_ask_for_a_stream(word):
    mode = events.StreamMode(wanted=True, lines=word in LINE_WORDS)
    for text in (word, word.upper(), f" {word}\t"):
        assert events.stream_mode({"stream": text}) == mode
        assert events.stream_mode({"headers": {"a": "b", "x-ReLaY-sTream": text}}) == mode


@pytest.mark.parametrize("value", [True, 1])
def test_values_that_ask_for_a_stream(value):
    assert events.stream_mode({"stream": value}) == events.StreamMode(wanted=True, lines=False)


@pytest.mark.parametrize(
    "value", [None, False, 0, "", "0", "false", "no", "off", "2", "stream", [], {}, ["1"], 1.0, 10**400]
)
def test_everything_else_does_not(value):
    assert events.stream_mode({"stream": value}) == events.StreamMode(wanted=False, lines=False)


@pytest.mark.parametrize(
    "headers", [None, [], "x-relay-stream", 5, {}, {"X-Other": "1"}, {"X-Relay-Stream": None}]
)
def test_headers_that_do_not_ask_either(headers):
    assert not events.stream_mode({"headers": headers}).wanted


def test_the_field_wins_over_the_header():
    assert not events.stream_mode({"stream": False, "headers": {"X-Relay-Stream": "lines"}}).wanted
    assert events.stream_mode({"stream": None, "headers": {"X-Relay-Stream": "lines"}}).lines


# -- writing --------------------------------------------------------------------------------


def test_pong_info_and_health():
    assert strict(frames.pong(ask(event="ping"), 7, "relay.ab")) == {
        "event": "relay.pong",
        "ts": 7,
        "addr": "relay.ab",
    }
    assert strict(frames.pong(ask(event="ping", id=3), 7, "a"))["id"] == 3
    assert strict(frames.info("i", 7, "a", {"workers": 4})) == {
        "event": "relay.info",
        "id": "i",
        "ts": 7,
        "addr": "a",
        "workers": 4,
    }
    services = ({"name": "ollama", "ok": True, "detail": "HTTP 200"},)
    assert strict(frames.health("h", 7, "a", services)) == {
        "event": "relay.health",
        "id": "h",
        "ts": 7,
        "addr": "a",
        "services": list(services),
    }


@pytest.mark.parametrize(
    ("status", "ok"), [(200, True), (302, True), (399, True), (400, False), (503, False)]
)
def test_begin(status, ok):
    assert strict(frames.begin("i", status, {"content-type": "x"}, 7)) == {
        "event": "relay.response.begin",
        "id": "i",
        "ok": ok,
        "status": status,
        "headers": {"content-type": "x"},
        "ts": 7,
    }


@given(st.text(), st.integers(1, 10**9))
def test_a_line_knows_its_size_and_keeps_its_text(text, seq):
    line = frames.Line.of(seq, 1_700_000_000_000, text.encode())
    assert strict(line.text) == {"seq": seq, "ts": 1_700_000_000_000, "line": text}
    assert line.size == len(line.text.encode())


@pytest.mark.parametrize("raw", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"])
def test_a_line_that_is_not_utf8_is_refused(raw):
    with pytest.raises(UnicodeDecodeError):
        frames.Line.of(1, 1, raw)


@pytest.mark.parametrize("identifier", ["i", 5, None, 'a"b\\\n', "é\u2028"])
def test_lines_are_one_object(identifier):
    batch = [frames.Line.of(1, 7, b'{"a":"b"}\r'), frames.Line.of(2, 8, b"")]
    assert strict(frames.lines(identifier, batch)) == {
        "event": "relay.response.lines",
        "id": identifier,
        "lines": [{"seq": 1, "ts": 7, "line": '{"a":"b"}\r'}, {"seq": 2, "ts": 8, "line": ""}],
    }


def test_chunk_and_keepalive():
    assert strict(frames.chunk("i", 3, b"\x00\xff")) == {
        "event": "relay.response.chunk",
        "id": "i",
        "seq": 3,
        "b64": "AP8=",
    }
    assert strict(frames.keepalive("i", 7, 3, "queued", 2)) == {
        "event": "relay.response.keepalive",
        "id": "i",
        "ts": 7,
        "last_seq": 3,
        "state": "queued",
        "position": 2,
    }
    assert "position" not in strict(frames.keepalive("i", 7, 3, "loading", None))


SUMMARY = frames.Summary(
    bytes=10, last_seq=2, lines=2, eot_seen=True, done_seen=False, truncated=False, t_ms=5
)
SUMMED = {
    "event": "relay.response.end",
    "id": "i",
    "bytes": 10,
    "last_seq": 2,
    "lines": 2,
    "eot_seen": True,
    "done_seen": False,
    "truncated": False,
    "t_ms": 5,
}


def test_end_of_a_whole_stream():
    assert strict(frames.end("i", SUMMARY, None)) == SUMMED | {"ok": True, "error": None}


def test_end_of_a_broken_stream_says_why():
    fault = UpstreamFault("upstream_broke", "it broke")
    assert strict(frames.end("i", SUMMARY, fault)) == SUMMED | {
        "ok": False,
        "error": "it broke",
        "code": "upstream_broke",
    }
    assert strict(frames.end("i", SUMMARY, busy("full", 2000)))["retry_after_ms"] == 2000


def answer(
    body: bytes, content_type: str | None, status: int = 200, fault: Any = None, *, truncated: bool = False
) -> dict[str, Any]:
    headers = {} if content_type is None else {"content-type": content_type}
    return strict(frames.response("i", status, headers, body, fault, truncated=truncated))


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json"],
)
def test_a_json_answer_is_given_as_json(content_type):
    assert answer(b' {"a":[1]}\n', content_type) == {
        "event": "relay.response",
        "id": "i",
        "ok": True,
        "status": 200,
        "headers": {"content-type": content_type},
        "json": {"a": [1]},
        "body_b64": None,
        "truncated": False,
        "error": None,
    }


@pytest.mark.parametrize(
    "text", ["1.0e2", "12345678901234567890123", "0.1000", '{"a":1,"a":2}', '"\\ud800"', "null"]
)
def test_json_is_passed_on_as_the_upstream_wrote_it(text):
    frame = frames.response("i", 200, {"content-type": "application/json"}, text.encode(), None)
    assert frame.endswith(f'"json":{text}}}')


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a":1}', "text/plain"),
        (b'{"a":1}', None),
        (b'{"a":1}', ""),
        (b'{"a":1}\n{"a":2}\n', "application/x-ndjson"),
        (b'{"a":', "application/json"),
        (b'{"a":NaN}', "application/json"),
        (b'"\xff"', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\xef\xbb\xbf{}", "application/json"),
        (b" ", "application/json"),
    ],
)
def test_everything_else_goes_as_base64(body, content_type):
    got = answer(body, content_type)
    assert got["json"] is None
    assert base64.b64decode(got["body_b64"]) == body


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_an_empty_body_is_neither(content_type):
    got = answer(b"", content_type)
    assert (got["json"], got["body_b64"], got["ok"]) == (None, None, True)


@pytest.mark.parametrize(("status", "ok"), [(399, True), (400, False)])
def test_from_400_on_an_answer_is_not_ok(status, ok):
    assert answer(b"", None, status=status)["ok"] is ok


def test_an_error_status_is_passed_on_with_its_body():
    got = answer(b'{"error":"no"}', "application/json", status=404)
    assert (got["ok"], got["status"], got["json"], got["error"]) == (False, 404, {"error": "no"}, None)


def test_a_cut_body_says_so():
    fault = UpstreamFault("truncated", "cut")
    got = answer(b'{"a":1}', "application/json", fault=fault, truncated=True)
    assert (got["ok"], got["truncated"], got["error"], got["code"]) == (False, True, "cut", "truncated")
    assert base64.b64decode(got["body_b64"]) == b'{"a":1}'


def test_a_refusal_carries_code_and_reason():
    got = answer(b"", None, status=400, fault=bad_request("no"))
    assert (got["ok"], got["status"], got["error"], got["code"]) == (False, 400, "no", "bad_request")
    assert (got["truncated"], got["json"], got["body_b64"]) == (False, None, None)


def test_a_request_that_was_not_begun_is_refused_in_the_manner_that_was_asked():
    fault = busy("full", 2000)
    got = strict(frames.refusal("i", fault, events.StreamMode(wanted=True, lines=True)))
    assert got == SUMMED | {
        "bytes": 0,
        "last_seq": 0,
        "lines": 0,
        "eot_seen": False,
        "t_ms": 0,
        "ok": False,
        "error": "full",
        "code": "busy",
        "retry_after_ms": 2000,
    }
    got = strict(frames.refusal("i", fault, events.StreamMode(wanted=False, lines=False)))
    assert (got["event"], got["status"], got["ok"]) == ("relay.response", 503, False)
    assert (got["code"], got["retry_after_ms"], got["headers"]) == ("busy", 2000, {})
    assert got["truncated"] is False


JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]))


@given(st.sampled_from(sorted(PUBLISHED)), JUNK, JUNK)
def test_whatever_is_echoed_is_strict_json(name, identifier, ts_peer):
    try:
        event = ask(event=name, id=identifier, ts_peer=ts_peer)
    except events.NotAnEvent:
        return
    echoed = strict(frames.pong(event, 1, "me"))
    assert echoed.get("id") == event.id
    assert strict(frames.lines(event.id, []))["id"] == event.id


# -- requests in pieces ------------------------------------------------------------------------

LONGEST = "x" * limits.HEADER_VALUE_MAX


def part(step: str = "begin", **fields: Any) -> events.Part:
    return ask(event=f"http.upload.{step}", upload_id="u", **fields).part


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("text/plain", "text/plain"),
        (LONGEST, LONGEST),
        (f"{LONGEST}x", None),
        (["text/plain"], None),
        (None, None),
        (5, None),
    ],
    ids=["usual", "longest", "longer", "list", "none", "number"],
)
def test_the_content_type_of_an_upload_is_a_header_or_nothing(given, kept):
    assert part(content_type=given).content_type == kept


@pytest.mark.parametrize("name", ["total", "total_chunks"])
@pytest.mark.parametrize(
    ("given", "total"), [(1, 1), (7, 7), (0, 0), (-1, 0), (True, 0), ("5", 0), (1.5, 0), (None, 0)]
)
def test_the_number_of_pieces_is_a_count_or_unknown(name, given, total):
    assert part(**{name: given}).total == total


def test_a_piece_without_a_number_is_none_of_the_pieces():
    assert part("chunk", b64="YQ==").seq == 0
    assert part("chunk", seq="1", b64="YQ==").seq == 0
    assert (part("chunk", seq=3, b64="YQ==").seq, part("chunk", seq=3, b64="YQ==").data) == (3, b"a")


def test_only_a_chunk_has_bytes_and_only_an_end_ends():
    assert [part(step, b64="YQ==").data for step in ("begin", "chunk", "end")] == [None, b"a", None]
    assert [part(step).ends for step in ("begin", "chunk", "end")] == [False, False, True]


def test_a_part_knows_the_size_of_its_message():
    text = '{"event":"http.upload.begin","upload_id":"u"}'
    assert events.read(text).part.size == len(text)


@pytest.mark.parametrize("word", [{"a": 1}, ["yes"], 1.0, None, [True]])
def test_a_stream_that_is_asked_for_by_no_word_is_not_wanted(word):
    assert events.stream_mode({"stream": word}) == events.StreamMode(wanted=False, lines=False)


def test_chunks_are_asked_for_by_their_own_name_if_they_have_one():
    assert strict(frames.upload_missing("i", None, [0])) == {
        "event": "http.upload.missing",
        "id": "i",
        "missing": [0],
    }
    assert strict(frames.upload_missing("i", 7, [1]))["upload_id"] == 7


def test_a_refusal_without_stream_has_no_body():
    said = strict(frames.refusal("i", bad_request("x"), events.StreamMode(wanted=False, lines=False)))
    assert (said["body_b64"], said["json"]) == (None, None)
