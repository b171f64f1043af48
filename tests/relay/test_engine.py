"""All exchanges of one relay: dialogues of events in and commands out, in order."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

import pytest
from desks import ALICE, BOB, CAROL, DONE, NAMES, NDJSON, TERMINAL, Desk, frames_of, only, short
from hypothesis import given
from hypothesis import strategies as st

from relay.commands import Command, Effort, Note, Probe, Send, Start
from relay.events import ALIASES
from relay.retained import Retained
from relay.station import FEATURES, PROTOCOL
from wire import limits
from wire.errors import upstream_broke, upstream_refused
from wire.origin import Origin

# -- ping, info, health ---------------------------------------------------------------------


@pytest.mark.parametrize("event", ["relay.ping", "ping", "PING", "Relay.Ping"])
def test_ping(event):
    desk = Desk()
    commands = desk.say(event, id="p", ts_peer=5)
    assert short(commands) == ["pong", "note ping"]
    assert only(commands) == {
        "event": "relay.pong",
        "id": "p",
        "ts": 1_100_000,
        "addr": "relay.ab",
        "ts_peer": 5,
    }
    assert commands[0].dest == f"alice.{ALICE.hex()}"
    assert commands[0].number is None


@pytest.mark.parametrize("event", ["relay.info", "info", "INFO"])
def test_info(event):
    desk = Desk(targets={"b": Origin.parse("http://b"), "a": Origin.parse("http://a")}, verify_default=False)
    commands = desk.say(event, id=1)
    assert short(commands) == ["info", "note info"]
    assert only(commands) == {
        "event": "relay.info",
        "id": 1,
        "ts": 1_100_000,
        "addr": "relay.ab",
        "services": ["a", "b"],
        "verify_default": False,
        "workers": 4,
        "max_body_b": 100,
        "version": "0.1",
        "protocol": PROTOCOL,
        "features": list(FEATURES),
        "limits": {
            "peer_streams": 3,
            "queue": 8,
            "message_b": limits.DM_MAX_B,
            "line_b": limits.LINE_MAX_B,
            "upload_b": limits.UPLOAD_B,
            "keepalive_s": 10.0,
        },
    }


def test_health_is_asked_once_and_answered_to_all_who_wait():
    desk = Desk(targets={"b": Origin.parse("http://b/x"), "a": Origin.parse("https://a")})
    commands = desk.say("relay.health", id="h1")
    assert commands == [Probe({"b": "http://b:80/x", "a": "https://a:443"})]
    assert desk.say("RELAY.HEALTH", BOB, id="h2") == []
    services = [{"name": "a", "ok": True, "detail": "HTTP 200"}]
    answers = desk.engine.probed(services, 101.0)
    assert [command.dest.partition(".")[0] for command in answers] == ["alice", "bob"]
    assert frames_of(answers) == [
        {"event": "relay.health", "id": name, "ts": 1_101_000, "addr": "relay.ab", "services": services}
        for name in ("h1", "h2")
    ]
    assert desk.engine.probed(services, 102.0) == []
    assert short(desk.say("relay.health", id="h3")) == ["probe"]


def test_health_questions_are_bounded():
    desk = Desk(queue=2)
    desk.say("relay.health", id=1)
    desk.say("relay.health", id=2)
    assert short(desk.say("relay.health", id=3)) == ["note dropped"]
    assert desk.engine.counts["dropped_health_queue_full"] == 1
    assert [frame["id"] for frame in frames_of(desk.engine.probed([], 101.0))] == [1, 2]


# -- one request ------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["relay.http", "http.request", "relay.fetch", "HTTP.Request"])
def test_a_stream_from_request_to_end(event):
    desk = Desk()
    req = {
        "service": "llm",
        "path": "/api/chat?x",
        "method": "post",
        "json": {"model": "m"},
        "stream": "lines",
    }
    commands = desk.say(event, id="i", req=req)
    assert short(commands) == ["note request", "start 1"]
    assert commands[0].fields == {
        "tag": 1,
        "peer": "alice.01010101…",
        "method": "POST",
        "path": "/api/chat",
        "service": "ollama",
    }
    request = commands[1].request
    assert (request.url, request.method) == ("http://127.0.0.1:8080/api/chat?x", "POST")
    assert (request.body, request.stream.wanted, request.stream.lines) == (b'{"model":"m"}', True, True)

    commands = desk.engine.head(1, 200, NDJSON, 100.1)
    assert short(commands) == ["note head", "begin"]
    assert commands[1].dest == f"alice.{ALICE.hex()}"
    assert (commands[1].tag, commands[1].number) == (1, 1)
    commands = desk.engine.data(1, b'{"a":1}\n', 100.2)
    assert short(commands) == ["lines", "lazy 1"]
    assert (commands[0].tag, commands[0].number) == (1, 2)
    assert desk.engine.data(1, DONE, 100.21) == []
    assert desk.engine.due_at() == pytest.approx(100.29)
    assert short(desk.engine.acknowledged(1, 2, 100.22)) == ["lines"]
    commands = desk.engine.eof(1, 100.3)
    assert short(commands) == ["end", "note end", "abort 1"]
    assert only(commands)["ok"] is True
    assert commands[1].fields == {"tag": 1, "code": "ok"}
    assert desk.engine.closed(1, 100.4) == []
    assert desk.engine.counts == Counter(event_http=1, ended_ok=1)
    assert desk.engine.due_at() == 100.3 + limits.RETAIN_S
    assert desk.engine.statistics()["retained_b"] > 0
    assert desk.engine.advance(100.3 + limits.RETAIN_S) == []
    assert desk.engine.statistics()["retained_b"] == 0
    assert desk.engine.due_at() is None


def test_the_answer_goes_where_the_question_came_from():
    desk = Desk()
    src = f"some.name.{BOB.hex()}"
    data = json.dumps({"event": "http.request", "id": 1, "req": {"path": "/api/tags"}})
    desk.engine.message(src, BOB, data, 100.0)
    desk.engine.head(1, 200, {}, 100.0)
    assert [command.dest for command in desk.engine.eof(1, 100.0) if isinstance(command, Send)] == [src]


def test_an_answer_without_stream():
    desk = Desk()
    assert short(desk.ask(stream=None)) == ["note request", "start 1"]
    assert short(desk.engine.head(1, 200, {"content-type": "application/json"}, 100.0)) == ["note head"]
    assert desk.engine.data(1, b'{"a":1}', 100.0) == []
    commands = desk.engine.eof(1, 100.0)
    assert short(commands) == ["response", "note end", "abort 1"]
    assert only(commands)["json"] == {"a": 1}


def test_an_answer_over_the_limit_is_cut_and_its_upstream_closed():
    desk = Desk()
    desk.ask(stream=False)
    desk.engine.head(1, 200, {}, 100.0)
    commands = desk.engine.data(1, b"x" * 101, 100.0)
    assert short(commands) == ["response", "note end", "abort 1"]
    frame = only(commands)
    assert (frame["truncated"], len(base64.b64decode(frame["body_b64"]))) == (True, 100)
    assert desk.engine.data(1, b"x", 100.0) == []
    assert desk.engine.eof(1, 100.0) == []


def test_the_header_asks_for_a_stream_too_and_does_not_go_on():
    desk = Desk()
    commands = desk.ask(stream=None, headers={"x-relay-STREAM": "chunks", "X-A": "b"})
    assert commands[1].request.stream.wanted
    assert commands[1].request.headers == {"X-A": "b", "Content-Type": "application/json"}


@pytest.mark.parametrize("fault", [upstream_refused("no one there"), upstream_broke("it broke")])
@pytest.mark.parametrize("begun", [False, True])
def test_an_upstream_that_fails_ends_the_stream(fault, begun):
    desk = Desk()
    desk.ask()
    if begun:
        desk.engine.head(1, 200, NDJSON, 100.0)
    commands = desk.engine.failed(1, fault, 100.0)
    assert short(commands) == ["end", "note end", "abort 1"]
    frame = only(commands)
    assert (frame["ok"], frame["code"], frame["error"]) == (False, fault.code, fault.detail)
    assert desk.engine.closed(1, 100.0) == []
    assert desk.engine.counts[f"ended_{fault.code}"] == 1


def test_a_stream_without_its_end_mark_is_told_apart():
    desk = Desk()
    desk.ask()
    desk.engine.head(1, 200, NDJSON, 100.0)
    desk.engine.data(1, b'{"done":false}\n', 100.0)
    frame = only(desk.engine.eof(1, 100.0))
    assert (frame["ok"], frame["code"], frame["done_seen"]) == (False, "upstream_broke", False)


def test_a_worker_that_ends_without_a_result_still_ends_the_stream():
    desk = Desk()
    desk.ask()
    commands = desk.engine.closed(1, 100.0)
    assert short(commands) == ["end", "note end"]
    assert only(commands)["code"] == "internal"
    assert desk.engine.statistics()["running"] == 0


def test_a_timeout_frees_the_upstream():
    desk = Desk()
    desk.ask(timeout_ms=5000)
    assert short(desk.wait(1.0)) == ["keepalive"]
    assert desk.engine.due_at() == 105.0
    assert desk.wait(3.9) == []
    commands = desk.wait(0.1)
    assert short(commands) == ["end", "note end", "abort 1"]
    assert only(commands)["code"] == "timeout"
    assert desk.engine.due_at() == 105.0 + limits.RETAIN_S


def test_keepalives_before_begin():
    desk = Desk()
    desk.ask(timeout_ms=60_000)
    assert desk.engine.due_at() == 101.0
    commands = desk.wait(10.0)
    assert [(command.tag, command.number) for command in commands] == [(1, 1)]
    assert only(commands)["state"] == "loading"
    desk.engine.head(1, 200, NDJSON, 115.0)
    desk.now = 115.0
    assert only(desk.wait(10.0))["state"] == "generating"


def test_each_frame_is_sent_with_the_effort_that_its_exchange_wants():
    desk = Desk()
    desk.ask(timeout_ms=60_000)
    commands = [*desk.wait(10.0), *desk.engine.head(1, 200, NDJSON, 111.0)]
    commands += [*desk.engine.data(1, b"a\n" + DONE, 111.0), *desk.engine.eof(1, 112.0)]
    sent = [command for command in commands if isinstance(command, Send)]
    assert list(zip(short(sent), [command.effort.value for command in sent], strict=True)) == [
        ("keepalive", "sure"),
        ("begin", "sure"),
        ("lines", "lean"),
        ("end", "sure"),
    ]


def test_a_refusal_is_sure_and_what_a_peer_can_ask_again_is_sent_once():
    desk = Desk()
    answers = [desk.ask(None), desk.say("ping"), desk.say("info")]
    desk.say("relay.health", id="h")
    answers.append(desk.engine.probed([], 101.0))
    assert [commands[0].effort.value for commands in answers] == ["sure", "once", "once", "once"]


def test_many_requests_are_each_asked_when_they_are_due_and_no_earlier():
    desk = Desk(workers=4, per_peer=4)
    for number, seconds in enumerate((5, 3, 9, 3)):
        desk.ask(number, timeout_ms=seconds * 1000)
    assert desk.engine.due_at() == 101.0
    assert [frame["id"] for frame in frames_of(desk.wait(1.0))] == [0, 1, 2, 3]
    assert desk.engine.due_at() == 103.0
    assert [frame["id"] for frame in frames_of(desk.wait(2.0))] == [1, 3]
    assert desk.engine.due_at() == 105.0
    desk.say("relay.cancel", id=0)
    assert desk.engine.due_at() == 109.0
    assert [frame["id"] for frame in frames_of(desk.wait(6.0))] == [2]
    # What is left are the times at which frames are forgotten.
    for ended in (103.0, 103.0, 105.0, 109.0):
        assert desk.engine.due_at() <= ended + limits.RETAIN_S
    assert desk.wait(limits.RETAIN_S) == []
    assert desk.engine.due_at() is None


def test_a_little_may_wait_while_a_frame_is_under_way_and_not_once_it_is_acknowledged():
    desk = Desk()
    desk.ask("i")
    assert "lazy 1" not in short(desk.engine.head(1, 200, NDJSON, 100.0)), "the first line is waited for"
    assert short(desk.engine.data(1, b"a\n", 100.0)) == ["lines", "lazy 1"]
    assert short(desk.engine.data(1, b"b\n", 100.01)) == []
    assert short(desk.engine.acknowledged(1, 2, 100.02)) == ["lines"]
    assert short(desk.engine.acknowledged(1, 3, 100.03)) == ["eager 1"]
    assert short(desk.engine.data(1, b"c\n", 100.04)) == ["lines", "lazy 1"]
    assert short(desk.engine.data(1, DONE, 100.05)) == []
    assert short(desk.engine.eof(1, 100.06)) == ["lines", "end", "note end", "abort 1"]


# -- cancel ---------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
def test_cancel_while_running(begun):
    desk = Desk()
    desk.ask("i")
    if begun:
        desk.engine.head(1, 200, NDJSON, 100.0)
        desk.engine.data(1, b"a\n", 100.0)
        desk.engine.data(1, b"b\n", 100.0)
    commands = desk.say("relay.cancel", id="i")
    assert short(commands) == [*(["lines"] if begun else []), "end", "note end", "abort 1"]
    end = frames_of(commands)[-1]
    assert (end["ok"], end["code"], end["truncated"], end["last_seq"]) == (
        False,
        "cancelled",
        begun,
        2 * begun,
    )
    assert desk.engine.statistics()["running"] == 1
    assert desk.engine.data(1, b"c\n", 100.0) == []
    assert desk.engine.closed(1, 100.0) == []
    assert desk.engine.statistics()["running"] == 0


def test_cancel_while_queued_never_starts_it():
    desk = Desk(workers=1, per_peer=1)
    desk.ask("a")
    desk.ask("b")
    commands = desk.say("Relay.Cancel", id="b")
    assert short(commands) == ["end", "note end"]
    assert only(commands)["code"] == "cancelled"
    assert desk.engine.statistics()["waiting"] == 0
    assert desk.engine.closed(1, 100.0) != []
    assert desk.engine.due_at() == 100.0 + limits.RETAIN_S


@pytest.mark.parametrize("identifier", ["other", None, 1, ["i"]])
def test_cancel_of_what_is_not_there_is_counted(identifier):
    desk = Desk()
    desk.ask("i")
    assert short(desk.say("relay.cancel", id=identifier)) == ["note dropped"]
    assert desk.engine.counts["dropped_cancel_of_unknown_id"] == 1
    assert desk.engine.statistics()["running"] == 1


def test_a_cancel_that_overtakes_its_request_still_ends_it():
    desk = Desk()
    desk.say("relay.cancel", id="i")
    refused = desk.ask("i")
    assert short(refused) == ["end", "note refused"]
    assert only(refused)["code"] == "cancelled"
    assert desk.engine.statistics()["running"] == 0
    assert short(desk.ask("i", BOB))[-1] == "start 2"  # of another key


def test_an_id_is_free_again_some_time_after_a_cancel_that_met_nothing():
    desk = Desk()
    desk.say("relay.cancel", id="i")
    desk.now += limits.CANCELS_TTL_S
    assert short(desk.ask("i"))[-1] == "start 1"


def test_a_late_cancel_of_what_has_ended_changes_nothing():
    desk = Desk()
    desk.ask("i")
    desk.engine.head(1, 200, NDJSON, desk.now)
    desk.engine.data(1, DONE, desk.now)
    sent = frames_of(desk.engine.eof(1, desk.now))
    assert short(desk.say("relay.cancel", id="i")) == ["note dropped"]
    assert frames_of(desk.ask("i"))[-1] == sent[-1]


def test_a_cancel_of_what_has_ended_or_of_no_id_is_not_remembered():
    desk = Desk()
    desk.ask("i")
    desk.say("relay.cancel", id="i")
    assert desk.engine.statistics()["ids"] == 1
    for fields in ({"id": "i"}, {}):
        desk.say("relay.cancel", **fields)
        assert desk.engine.statistics()["ids"] == 1


def test_cancels_of_nothing_are_remembered_in_bounded_memory():
    desk = Desk()
    for number in range(limits.CANCELS_MAX + 10):
        desk.say("relay.cancel", id=number)
    assert len(desk.engine._cancelled) <= limits.CANCELS_MAX


def test_only_the_key_that_asked_can_cancel():
    desk = Desk()
    desk.ask("i", ALICE)
    assert short(desk.say("relay.cancel", BOB, id="i")) == ["note dropped"]
    assert short(desk.say("relay.cancel", ALICE, id="i")) == ["end", "note end", "abort 1"]
    assert short(desk.say("relay.cancel", ALICE, id="i")) == ["note dropped"]


# -- admission ------------------------------------------------------------------------------


def test_one_key_never_holds_every_worker():
    desk = Desk(workers=3, per_peer=2)
    assert [short(desk.ask(f"a{number}"))[-1] for number in range(3)] == [
        "start 1",
        "start 2",
        "note request",
    ]
    assert short(desk.ask("b", BOB))[-1] == "start 4"
    assert short(desk.ask("c", CAROL)) == ["note request"]
    assert short(desk.engine.closed(4, 100.0))[-1] == "start 5"
    assert short(desk.engine.closed(1, 100.0))[-1] == "start 3"


def test_those_who_wait_hear_their_place_and_are_started_in_order():
    desk = Desk(workers=1, per_peer=1)
    desk.ask("a", ALICE)
    desk.ask("b", BOB)
    desk.ask("c", CAROL)
    desk.engine.head(1, 200, NDJSON, 109.0)
    commands = desk.wait(10.0)
    assert [
        (command.dest.partition(".")[0], frame["state"], frame["position"])
        for command, frame in zip(commands, frames_of(commands), strict=True)
    ] == [("bob", "queued", 1), ("carol", "queued", 2)]
    desk.engine.eof(1, 110.0)
    assert short(desk.engine.closed(1, 110.0)) == ["start 2"]
    commands = desk.wait(10.0)
    assert [(frame["state"], frame.get("position")) for frame in frames_of(commands)] == [
        ("loading", None),
        ("queued", 1),
    ]


@pytest.mark.parametrize("stream", [True, False])
def test_when_the_queue_is_full_the_answer_is_busy_and_when_to_come_back(stream):
    desk = Desk(workers=1, per_peer=1, queue=1)
    desk.ask("a", ALICE)
    desk.ask("b", BOB)
    commands = desk.ask("c", CAROL, stream=stream)
    assert short(commands) == ["end" if stream else "response", "note refused"]
    frame = only(commands)
    assert (frame["id"], frame["ok"], frame["code"]) == ("c", False, "busy")
    assert frame["retry_after_ms"] == limits.RETRY_AFTER_MS
    assert desk.engine.counts["refused_busy"] == 1
    desk.engine.closed(1, 100.0)
    assert short(desk.ask("c", CAROL)) == ["note request"]


def test_waiting_for_ever_is_refused_as_busy():
    desk = Desk(workers=1, per_peer=1)
    desk.ask("a", timeout_ms=10**7)
    desk.ask("b", BOB)
    commands = desk.wait(limits.QUEUE_WAIT_S)
    ends = [frame for frame in frames_of(commands) if frame["event"] == "relay.response.end"]
    assert [(frame["id"], frame["code"]) for frame in ends] == [("b", "busy")]
    assert desk.engine.statistics()["waiting"] == 0
    assert "abort 2" not in short(commands)


# -- ids --------------------------------------------------------------------------------------


def test_a_repeated_id_is_not_executed_again_while_it_runs():
    desk = Desk(workers=2, per_peer=1)
    desk.ask("i")
    commands = desk.ask("i")
    assert short(commands) == ["keepalive"]
    assert (only(commands)["state"], only(commands)["last_seq"]) == ("loading", 0)
    desk.ask("queued")
    commands = desk.ask("queued")
    assert short(commands) == ["keepalive"]
    assert (only(commands)["state"], only(commands)["position"]) == ("queued", 1)
    assert desk.engine.counts["repeated"] == 2
    assert (desk.engine.statistics()["running"], desk.engine.statistics()["waiting"]) == (1, 1)


@pytest.mark.parametrize("stream", [True, False])
def test_a_repeated_id_is_answered_again_after_its_end_and_refused_as_replayed_later(stream):
    desk = Desk()
    desk.ask("i", stream=stream)
    first = desk.say("relay.cancel", id="i")
    last = "end" if stream else "response"
    for _ in range(2):
        desk.now += limits.AGAIN_PAUSE_S
        commands = desk.ask("i", stream=stream)
        assert short(commands) == [last]
        assert frames_of(commands) == frames_of(first)
    desk.engine.closed(1, 100.0)
    desk.now = 100.0 + limits.RETAIN_S
    desk.engine.advance(desk.now)
    for _ in range(2):
        commands = desk.ask("i", stream=stream)
        assert short(commands) == [last, "note refused"]
        assert (only(commands)["code"], only(commands)["ok"]) == ("replayed", False)
    desk.now = 100.0 + limits.ANSWERED_TTL_S - 0.001
    assert only(desk.ask("i", stream=stream))["code"] == "replayed"
    desk.now += 0.001
    assert short(desk.ask("i", stream=stream))[0] == "note request"


def test_ids_of_two_keys_and_of_two_kinds_do_not_collide():
    desk = Desk(workers=4)
    started = [desk.ask("1", ALICE), desk.ask("1", BOB), desk.ask(1, ALICE)]
    assert [short(commands)[-1] for commands in started] == ["start 1", "start 2", "start 3"]
    desk.say("relay.cancel", BOB, id="1")
    desk.engine.closed(2, 100.0)
    assert only(desk.say("relay.cancel", ALICE, id="1"))["id"] == "1"
    assert [frame["code"] for frame in frames_of(desk.ask("1", BOB))] == ["cancelled"]
    assert desk.engine.counts["repeated"] == 1
    assert short(desk.ask(1, ALICE)) == ["keepalive"]


def test_a_refused_id_may_be_used_again():
    desk = Desk()
    assert only(desk.ask("i", path="/api/pull"))["code"] == "denied"
    assert short(desk.ask("i")) == ["note request", "start 2"]


def test_only_so_many_ended_ids_are_remembered(monkeypatch):
    monkeypatch.setattr(limits, "ANSWERED_MAX", 3)
    desk = Desk()
    for number in range(4):
        desk.ask(number)
        desk.say("relay.cancel", id=number)
        desk.engine.closed(number + 1, desk.now)
    assert only(desk.ask(3))["code"] == "cancelled"
    assert short(desk.ask(0))[-1].startswith("start")
    assert short(desk.engine.head(5, 200, NDJSON, desk.now)) == ["note head", "begin"]
    assert [frame["event"] for frame in frames_of(desk.say("relay.resume", id=0))] == [
        "relay.response.begin",
        "relay.response.keepalive",
    ], "nothing of the first request of that id"


@pytest.mark.parametrize("identifier", ["x" * 257, "\ud800", 1.5, True, ["i"], {"a": 1}, 2**53, None])
@pytest.mark.parametrize("stream", [True, False])
def test_a_bad_id_is_a_bad_request_without_id(identifier, stream):
    desk = Desk()
    commands = desk.ask(identifier, stream=stream)
    assert short(commands) == ["end" if stream else "response", "note refused"]
    frame = only(commands)
    assert ("id" in frame, frame["ok"], frame["code"]) == (False, False, "bad_request")
    assert "id" in frame["error"]


# -- what is asked for again --------------------------------------------------------------------


def stream_of(desk: Desk, *lines: bytes, identifier: Any = "i", end: bool = True, tag: int = 1) -> list[str]:
    """Ask for a stream; the frames of its answer, one for each of the lines."""
    desk.ask(identifier)
    commands = desk.engine.head(tag, 200, NDJSON, desk.now)
    for line in lines:
        commands += desk.engine.data(tag, line, desk.now)
        desk.now += limits.BATCH_MS / 1000
        commands += desk.engine.advance(desk.now)
    if end:
        commands += [*desk.engine.eof(tag, desk.now), *desk.engine.closed(tag, desk.now)]
    return [command.text for command in commands if isinstance(command, Send)]


@pytest.mark.parametrize(
    ("missing", "again"),
    [
        ([2], [2]),
        ([0], [0]),
        ([-1], [4]),
        ([3, -1, 0, 1], [0, 1, 3, 4]),
        ([2, 2, 2], [2]),
        (["x", None, 1.5, True, [], 2**53, -2, 1], [1]),
        ([], []),
        ("1", []),
        ({"1": 1}, []),
    ],
)
def test_frames_that_are_missing_are_sent_again_word_for_word_and_in_order(missing, again):
    desk = Desk()
    sent = stream_of(desk, b"a\n", b"b\n", DONE)
    commands = desk.say("Relay.Response.Missing", id="i", missing=missing)
    assert [command.text for command in commands] == [sent[index] for index in again]
    assert {(command.dest, command.tag, command.number, command.effort) for command in commands} <= {
        (f"alice.{ALICE.hex()}", None, None, Effort.SPARE)
    }
    assert desk.engine.counts["sent_again"] == len(again)
    assert desk.engine.counts["asked_too_late"] == 0


def test_a_frame_is_sent_again_at_most_once_in_a_while():
    desk = Desk()
    sent = stream_of(desk, b"a\n", DONE)
    assert len(desk.say("relay.response.missing", id="i", missing=[1])) == 1
    assert desk.say("relay.response.missing", id="i", missing=[1]) == []
    assert [command.text for command in desk.say("relay.resume", id="i")] == [sent[0], sent[2], sent[3]]
    desk.now += limits.AGAIN_PAUSE_S
    assert [command.text for command in desk.say("relay.response.missing", id="i", missing=[1])] == [sent[1]]


def test_what_was_not_sent_yet_is_neither_sent_nor_gone():
    desk = Desk()
    desk.ask("i")
    assert desk.say("relay.response.missing", id="i", missing=[-1, 0, 1]) == []
    desk.engine.head(1, 200, NDJSON, 100.0)
    desk.engine.data(1, b"a\n", 100.0)
    assert desk.engine.data(1, b"held\n", 100.01) == []
    commands = desk.say("relay.response.missing", id="i", missing=[0, 1, 2, 3, -1])
    assert short(commands) == ["begin", "lines"]


def test_of_an_ended_stream_what_was_never_there_is_gone():
    desk = Desk()
    stream_of(desk, b"a\n", DONE)
    commands = desk.say("relay.response.missing", id="i", missing=[2, 3, 4])
    assert frames_of(commands)[1:] == [{"event": "relay.response.gone", "id": "i", "missing": [3, 4]}]
    assert commands[1].effort is Effort.ONCE
    assert desk.engine.counts["asked_too_late"] == 2


def test_after_a_while_all_is_gone():
    desk = Desk()
    stream_of(desk, b"a\n", DONE)
    desk.wait(limits.RETAIN_S)
    assert only(desk.say("relay.response.missing", id="i", missing=[-1, 0, 1]))["missing"] == [0, 1, -1]
    assert only(desk.say("relay.resume", id="i", have=1)) == {
        "event": "relay.response.gone",
        "id": "i",
        "missing": [-1],
    }


def test_what_had_to_go_early_is_gone_and_the_rest_is_not():
    desk = Desk()
    desk.engine._answered.retained = Retained(peer_b=limits.RETAIN_STREAM_B + 1000)
    sent = stream_of(desk, *(b"%d\n" % number for number in range(20)), DONE)
    commands = desk.say("relay.response.missing", id="i", missing=[0, 1, 20, 21, -1])
    assert [command.text for command in commands[:-1]] == [sent[20], sent[21], sent[22]]
    assert frames_of(commands)[-1]["missing"] == [0, 1]
    assert desk.engine.statistics()["retained_dropped"] == 20


@pytest.mark.parametrize("event", ["relay.response.missing", "relay.resume"])
@pytest.mark.parametrize("identifier", [None, ["i"], 1.5, "x" * 257])
def test_without_an_id_nothing_is_answered(event, identifier):
    desk = Desk()
    stream_of(desk, DONE)
    assert desk.say(event, id=identifier, missing=[1]) == []


@pytest.mark.parametrize("running", [True, False])
def test_an_id_of_another_key_is_nobodys(running):
    desk = Desk()
    stream_of(desk, b"secret\n", DONE, end=not running)
    for event in ("relay.response.missing", "relay.resume"):
        commands = desk.say(event, BOB, id="i", missing=[0, 1, 2, -1], have=0)
        assert short(commands) == ["gone"]
        assert commands[0].dest == f"bob.{BOB.hex()}"
    assert only(desk.say("relay.resume", BOB, id="never heard of"))["missing"] == [-1]
    if running:
        assert desk.engine.eof(1, desk.now)[0].dest == f"alice.{ALICE.hex()}"


@pytest.mark.parametrize(
    ("have", "again"),
    [
        (0, [0, 1, 2, 3]),
        (1, [0, 2, 3]),
        (2, [0, 3]),
        (3, [0]),
        (10**9, [0]),
        (-1, [0, 1, 2, 3]),
        (None, [0, 1, 2, 3]),
        ("2", [0, 1, 2, 3]),
    ],
)
def test_who_was_away_gets_what_follows_and_how_far_the_stream_is(have, again):
    desk = Desk()
    sent = stream_of(desk, b"a\n", b"b\n", b"c\n", end=False)
    commands = desk.say("Relay.RESUME", id="i", have=have)
    assert [command.text for command in commands[:-1]] == [sent[index] for index in again]
    alive = frames_of(commands)[-1]
    assert (alive["event"], alive["last_seq"]) == ("relay.response.keepalive", 3)
    assert alive["state"] == "generating"
    sent += [command.text for command in desk.engine.data(1, DONE, desk.now) if isinstance(command, Send)]
    sent += [command.text for command in desk.engine.eof(1, desk.now) if isinstance(command, Send)]
    desk.now += limits.AGAIN_PAUSE_S
    wanted = [*again, *(index for index in (4, 5) if index not in again)]
    assert [command.text for command in desk.say("relay.resume", id="i", have=have)] == [
        sent[index] for index in wanted if index != 4 or have != 10**9
    ]


def test_what_follows_goes_to_where_the_peer_is_now():
    desk = Desk()
    stream_of(desk, b"a\n", end=False)
    there = f"elsewhere.{ALICE.hex()}"
    event = json.dumps({"event": "relay.resume", "id": "i", "have": 1})
    commands = desk.engine.message(there, ALICE, event, desk.now)
    assert short(commands) == ["begin", "keepalive"]
    commands += desk.engine.data(1, DONE, desk.now)
    commands += desk.engine.eof(1, desk.now)
    assert {command.dest for command in commands if isinstance(command, Send)} == {there}
    assert short(desk.say("relay.response.missing", id="i", missing=[1])) == ["lines"], "to whoever asks"


def test_a_request_without_stream_is_answered_again_too():
    desk = Desk()
    desk.ask("i", stream=None)
    assert desk.ask("i", stream=None) == []
    assert desk.say("relay.resume", id="i") == []
    assert desk.say("relay.response.missing", id="i", missing=[-1]) == []
    desk.engine.head(1, 200, {"content-type": "application/json"}, 100.0)
    desk.engine.data(1, b"[1]", 100.0)
    answer = desk.engine.eof(1, 100.0)[0].text
    for number, event in enumerate(
        ({"event": "relay.resume"}, {"event": "relay.response.missing", "missing": [-1]})
    ):
        desk.now = 101.0 + number
        assert [command.text for command in desk.say(**event, id="i")] == [answer]
    desk.now = 103.0
    assert [command.text for command in desk.ask("i", stream=None)] == [answer]
    assert only(desk.say("relay.response.missing", id="i", missing=[0, 1]))["missing"] == [0, 1]


DIFFERENT = [
    {"path": "/api/generate"},
    {"json": {"model": "other"}},
    {"stream": None},
    {"stream": "lines"},
    {"headers": {"X-A": "b"}},
    {"verify": False},
    {"path": "/api/pull"},
    {"service": "nope"},
]


@pytest.mark.parametrize("other", DIFFERENT)
def test_an_id_that_is_used_for_another_request_gets_no_answer_of_the_first(other):
    desk = Desk()
    stream_of(desk, b"a\n", DONE, end=False)
    assert short(desk.ask("i", **other)) == ["note dropped"]
    assert desk.engine.counts["dropped_id_of_another_request"] == 1
    desk.engine.eof(1, desk.now)
    assert only(desk.ask("i", **other))["code"] == "replayed"
    assert desk.engine.counts["refused_replayed"] == 1
    assert short(desk.ask("i")) == ["begin", "lines", "lines", "end"]


@pytest.mark.parametrize("same", [{"timeout_ms": 5000}, {"service": "llm"}, {"method": "post"}])
def test_the_same_request_may_be_put_in_other_words(same):
    desk = Desk()
    stream_of(desk, b"a\n", DONE)
    assert short(desk.ask("i", **same)) == ["begin", "lines", "lines", "end"]
    assert desk.engine.counts["repeated"] == 1


def test_a_repeated_request_is_resumed_from_the_start_whatever_it_says():
    desk = Desk()
    stream_of(desk, b"a\n", DONE)
    req = {"path": "/api/chat", "method": "POST", "json": {"model": "m"}, "stream": True}
    assert short(desk.say("relay.http", id="i", req=req, have=2)) == ["begin", "lines", "lines", "end"]


def test_who_waited_in_vain_may_ask_again_under_the_same_id():
    desk = Desk(workers=1, per_peer=1)
    desk.ask("a", timeout_ms=10**7)
    desk.ask("b", BOB)
    desk.wait(limits.QUEUE_WAIT_S)
    assert desk.engine.counts["ended_busy"] == 1
    assert short(desk.ask("b", BOB)) == ["note request"]
    assert short(desk.engine.closed(1, desk.now))[-1] == "start 3"


def ask_for_all(desk: Desk, key: bytes, seconds: float, times: int) -> int:
    """Everything that a key is sent when it asks for everything again and again; bytes."""
    got = 0
    for _ in range(times):
        desk.now += seconds / times
        commands = desk.say("relay.resume", key, id="i", have=0) + desk.ask("i", key)
        commands += desk.say("relay.response.missing", key, id="i", missing=list(range(-1, 300)))
        got += sum(len(command.text) for command in commands if isinstance(command, Send))
    return got


def test_what_one_key_is_sent_again_is_bounded_however_often_it_asks():
    desk = Desk()
    stream_of(desk, *[b"x" * 30_000 + b"\n"] * 100, end=False)
    got = ask_for_all(desk, ALICE, 10.0, 200)
    allowed = limits.AGAIN_PEER_B + 10 * limits.AGAIN_PEER_B_PER_S
    assert 0.9 * allowed < got < allowed + 40_000 * 2
    assert desk.engine.statistics()["again_cut_short"] > 0


def test_small_frames_count_for_what_they_cost():
    desk = Desk()
    stream_of(desk, *[b"x\n"] * 3000, end=False)
    before = desk.engine.counts["sent_again"]
    ask_for_all(desk, ALICE, 1.0, 20)
    allowed = (limits.AGAIN_PEER_B + limits.AGAIN_PEER_B_PER_S) / limits.AGAIN_FRAME_B
    assert 0.5 * allowed < desk.engine.counts["sent_again"] - before < allowed


def test_what_many_keys_are_sent_again_is_bounded_too(monkeypatch):
    desk = Desk(workers=60, per_peer=1)
    keys = [bytes([number]) * 32 for number in range(10, 60)]
    for tag, key in enumerate(keys, 1):
        monkeypatch.setitem(NAMES, key, f"peer{key[0]}")
        desk.ask("i", key)
        desk.engine.head(tag, 200, NDJSON, desk.now)
        desk.engine.data(tag, (b"x" * 30_000 + b"\n") * 30, desk.now)
    got = sum(ask_for_all(desk, key, 0.02, 2) for key in keys)
    alive = len(keys) * 4 * 200
    assert got < limits.AGAIN_ALL_B + 1.0 * limits.AGAIN_ALL_B_PER_S + 50 * 40_000 + alive


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("req", "code", "status"),
    [
        ({"service": "nope"}, "bad_request", 400),
        ({"path": "//evil.example/"}, "bad_request", 400),
        ({"path": "/api/pull"}, "denied", 403),
        ({"url": "http://evil.example/api/chat"}, "denied", 403),
        ({"json": {"model": "x:cloud"}}, "denied", 403),
        ({"json": {}, "data": "x"}, "bad_request", 400),
        ({"timeout_ms": 0}, "bad_request", 400),
        ({"headers": {"X": "a\r\nb"}}, "bad_request", 400),
    ],
)
def test_what_the_policy_refuses_is_answered_in_the_manner_that_was_asked(req, code, status):
    desk = Desk()
    commands = desk.ask(stream="dm", **req)
    assert short(commands) == ["end", "note refused"]
    frame = only(commands)
    assert (frame["ok"], frame["code"], frame["last_seq"], frame["bytes"]) == (False, code, 0, 0)
    assert (frame["truncated"], frame["t_ms"]) == (False, 0)
    frame = only(desk.ask(stream="no", **req))
    assert (frame["event"], frame["ok"], frame["status"]) == ("relay.response", False, status)
    assert (frame["code"], frame["headers"], frame["truncated"]) == (code, {}, False)
    assert desk.engine.counts[f"refused_{code}"] == 2
    assert desk.engine.statistics()["running"] == 0


def test_a_url_on_a_target_is_accepted():
    commands = Desk().ask(url="http://127.0.0.1:8080/api/chat", path=None)
    assert commands[1].request.url == "http://127.0.0.1:8080/api/chat"


def test_verify_false_is_honoured_or_refused():
    assert Desk().ask(verify=False)[1].request.verify is False
    assert Desk().ask(insecure_tls=True)[1].request.verify is False
    assert Desk().ask()[1].request.verify is True
    assert only(Desk(allow_unverified=False).ask(verify=False))["code"] == "denied"


def test_a_note_of_a_refusal_is_one_printable_line():
    desk = Desk()
    note = desk.ask(service="\x1b[2J\n" * 50)[-1]
    assert note.event == "refused"
    assert note.fields["why"].isprintable()


def test_strangers_get_silence_and_are_counted():
    desk = Desk(allow_peers=frozenset({ALICE}))
    for event in ALIASES:
        assert short(desk.say(event, BOB, id="i", req={"path": "/api/tags"})) == ["note dropped"]
    assert short(desk.hear("junk", BOB)) == ["note dropped"]
    assert desk.engine.counts == Counter(dropped_stranger=len(ALIASES) + 1)
    assert short(desk.say("ping", ALICE)) == ["pong", "note ping"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("junk", "not_json"),
        (b"\xff", "not_json"),
        ("[]", "not_json"),
        ('{"event":"ping","x":NaN}', "not_json"),
        ("{}", "unknown_event"),
        ('{"event":"relay.response.end","id":"i"}', "unknown_event"),
        ('{"event":"relay.selfprobe"}', "unknown_event"),
        (b" " * (limits.DM_MAX_B + 1), "too_large"),
    ],
)
def test_what_is_no_event_is_dropped_and_counted(data, reason):
    desk = Desk()
    commands = desk.hear(data)
    assert short(commands) == ["note dropped"]
    assert commands[0].fields == {"peer": "alice.01010101…", "reason": reason}
    assert desk.engine.counts == Counter({f"dropped_{reason}": 1})


# -- the end of the relay -----------------------------------------------------------------------


def test_stopping_ends_what_runs_and_what_waits_and_refuses_what_comes():
    desk = Desk(workers=1, per_peer=1)
    desk.ask("a")
    desk.ask("b", BOB)
    desk.ask("c", CAROL, stream=False)
    desk.engine.head(1, 200, NDJSON, 100.0)
    commands = desk.engine.stop(101.0)
    assert short(commands) == ["end", "note end", "abort 1", "end", "note end", "response", "note end"]
    assert [frame["code"] for frame in frames_of(commands)] == ["shutdown"] * 3
    assert desk.engine.stop(101.0) == []
    assert only(desk.ask("d"))["code"] == "shutdown"
    assert desk.engine.closed(1, 102.0) == []
    assert [frame["code"] for frame in frames_of(desk.ask("b", BOB))] == ["shutdown"], "kept to the last"
    assert desk.engine.due_at() == 101.0 + limits.RETAIN_S
    assert short(desk.say("ping")) == ["pong", "note ping"]


def test_events_of_unknown_or_ended_requests_give_no_frames():
    desk = Desk()
    desk.ask("i")
    desk.say("relay.cancel", id="i")
    for tag in (1, 99):
        assert frames_of(desk.engine.head(tag, 200, {}, 100.0)) == []
        assert desk.engine.data(tag, b"x", 100.0) == []
        assert desk.engine.eof(tag, 100.0) == []
        assert desk.engine.failed(tag, upstream_broke("x"), 100.0) == []
        assert desk.engine.acknowledged(tag, 5, 100.0) == []
        assert desk.engine.closed(tag, 100.0) == []
    assert desk.engine.statistics()["running"] == 0


def test_statistics_tell_the_ledger():
    desk = Desk(workers=1, per_peer=1)
    desk.ask("a")
    desk.ask("b")
    desk.say("ping")
    desk.say("nonsense")
    assert desk.engine.statistics() == {
        "event_http": 2,
        "event_ping": 1,
        "dropped_unknown_event": 1,
        "running": 1,
        "waiting": 1,
        "peak_waiting": 1,
        "uploads": 0,
        "uploads_b": 0,
        "ids": 0,
        "retained_b": 0,
        "retained_dropped": 0,
        "again_cut_short": 0,
    }


def test_ids_are_forgotten_in_time_even_if_nothing_happens():
    desk = Desk()
    desk.ask("answered")
    desk.say("relay.cancel", id="answered")
    desk.say("relay.cancel", id="never came")
    desk.say("http.upload.begin", id="given up", total_chunks=1, req={"path": "/api/tags"})
    desk.say("relay.cancel", id="given up")
    assert limits.CANCELS_TTL_S == limits.UPLOAD_SILENCE_S
    for seconds, left in ((0.0, 4), (limits.CANCELS_TTL_S, 1), (limits.ANSWERED_TTL_S, 0)):
        desk.engine.tidy(desk.now + seconds)
        assert desk.engine.statistics()["ids"] == left


# -- promises ---------------------------------------------------------------------------------

NASTY: list[Any] = [
    None, True, False, 0, -1, 1.5, float("inf"), 2**63, 10**400, "", "i", "\ud800", "\0", "x" * 300, [], {},
    [[]], {"a": None}, "true", "lines", "ollama", "//evil", "/api/chat", "/api/tags", "POST", "http://127.0.0.1:8080/",
    "http://evil/", {"X-Relay-Stream": "1"}, {"Host": "a\r\nb"}, {"model": "x:cloud"}, "e30=", "{}",
]  # fmt: skip
VALUE = st.sampled_from(NASTY)
FIELDS = [
    *("service", "path", "url", "method", "headers", "json", "body_b64", "data"),
    *("timeout_ms", "verify", "insecure_tls", "stream"),
]
REQ = st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=7)
MESSAGE = st.fixed_dictionaries(
    {"event": st.sampled_from([*ALIASES, "RELAY.HTTP"])},
    optional={
        "id": VALUE,
        "req": REQ | VALUE,
        "ts_peer": VALUE,
        "ts": VALUE,
        "missing": VALUE | st.lists(VALUE),
        "have": VALUE,
        "seq": VALUE,
        "upload_id": VALUE,
        "total_chunks": VALUE,
        "total": VALUE,
        "b64": VALUE,
        "content_type": VALUE,
    },
)


def write(value: Any) -> str:
    return json.dumps(value).replace("Infinity", "1e999")


@given(st.lists(MESSAGE | st.text() | st.binary(), min_size=1, max_size=8))
def test_no_message_raises_and_each_gets_at_most_one_terminal_frame(messages):
    desk = Desk(workers=2, per_peer=1, queue=2)
    open_requests = 0
    for message in messages:
        commands = desk.hear(write(message) if isinstance(message, dict) else message)
        frames = frames_of(commands)
        assert sum(frame["event"] in TERMINAL for frame in frames) <= 1
        assert all("\n" not in command.text for command in commands if isinstance(command, Send))
        for command in commands:
            if isinstance(command, Send):
                assert command.text.encode().decode() == command.text
                json.loads(command.text, parse_constant=pytest.fail)
            if isinstance(command, Note):
                assert all(str(value).isprintable() for value in command.fields.values())
        open_requests += "note request" in short(commands)
    ledger = desk.engine.counts
    uploaded = ledger["event_upload"] - ledger["dropped_upload_repeated"]
    heard = sum(count for name, count in ledger.items() if name.startswith("event_"))
    dropped = ledger["dropped_not_json"] + ledger["dropped_unknown_event"]
    assert heard + dropped == len(messages)
    ended = len([frame for frame in frames_of(desk.engine.stop(desk.now)) if frame["event"] in TERMINAL])
    cancelled = ledger["ended_cancelled"]
    assert ended == open_requests - cancelled
    settled = (
        open_requests
        + ledger["repeated"]
        + ledger["dropped_id_of_another_request"]
        + sum(count for name, count in ledger.items() if name.startswith("refused_"))
    )
    assert ledger["event_http"] <= settled <= ledger["event_http"] + uploaded


OPS = ["ask", "head", "data", "eof", "failed", "closed", "ack", "cancel", "advance", "missing", "resume"]
LIVES = st.lists(
    st.tuples(
        st.sampled_from(OPS),
        st.integers(0, 5),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(LIVES)
def test_any_life_of_a_relay_gives_every_request_exactly_one_end_and_nothing_after(ops):
    desk = Desk(workers=2, per_peer=1, queue=4)
    engine, keys = desk.engine, (ALICE, BOB, CAROL)
    started: list[int] = []
    opened: list[tuple[str, Any]] = []
    ended: Counter[tuple[str, Any]] = Counter()
    sent: set[str] = set()

    def take_again(commands: list[Command]) -> None:
        """What is sent again was sent before, word for word, but for keepalives and what is gone."""
        for frame, command in zip(frames_of(commands), commands, strict=True):
            word = frame["event"].rpartition(".")[2]
            # A keepalive may be the same as one of the same moment.
            assert word in {"keepalive", "gone"} or command.text in sent
            assert (command.tag, command.number) == (None, None)

    def take(commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Start):
                started.append(command.tag)
                assert len(started) <= 2
            if isinstance(command, Send):
                frame = json.loads(command.text)
                sent.add(command.text)
                name = (command.dest, frame.get("id"))
                assert not ended[name]
                ended[name] += frame["event"] in TERMINAL

    for step, (what, number, who) in enumerate(ops):
        tag = started[number % len(started)] if started else 0
        if what == "ask":
            commands = desk.ask(number, keys[who], stream=bool(step % 2))
            if "note request" in short(commands):
                opened.append((f"{NAMES[keys[who]]}.{keys[who].hex()}", number))
                take(commands)
        elif what in {"missing", "resume"}:
            wanted = {"missing": [-1, 0, number, step]} if what == "missing" else {"have": number - 1}
            take_again(
                desk.say(f"relay.{'response.' * (what == 'missing')}{what}", keys[who], id=number, **wanted)
            )
        elif what == "cancel":
            take(desk.say("relay.cancel", keys[who], id=number))
        elif what == "advance":
            take(desk.wait(number * 3))
        elif what == "head":
            take(engine.head(tag, 200, NDJSON, desk.now))
        elif what == "data":
            take(engine.data(tag, b"x\n" * number, desk.now))
        elif what == "eof":
            take(engine.eof(tag, desk.now))
        elif what == "failed":
            take(engine.failed(tag, upstream_broke("x"), desk.now))
        elif what == "ack":
            take(engine.acknowledged(tag, number, desk.now))
        elif tag:
            started.remove(tag)
            take(engine.closed(tag, desk.now))
        # What each wants is known without asking all of them.
        wanted = [running.exchange.due_at() for running in engine._runs._runs.values()]
        wanted.append(engine._answered.retained.due_at())
        assert engine.due_at() == min((due for due in wanted if due is not None), default=None)
    take(engine.stop(desk.now))
    while started:
        take(engine.closed(started.pop(), desk.now))
    assert len(set(opened)) == len(opened)
    assert ended == Counter(opened)
    assert (engine.statistics()["running"], engine.statistics()["waiting"]) == (0, 0)
    engine.advance(desk.now + limits.RETAIN_S)
    assert engine.due_at() is None
    assert engine.statistics()["retained_b"] == 0
    assert (engine._runs._runs, engine._runs._tags) == ({}, {}), "nothing is kept of what ended"
