"""Peers that acknowledge, are slow, vanish, or send requests in pieces: dialogues with the engine."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from desks import ALICE, BOB, DONE, NDJSON, Desk, frames_of, only, short

from relay.commands import Command, Effort, Hold, Send, Start
from wire import limits

LINE = b'{"response":"' + b"x" * 40_000 + b'"}\n'


def sent(commands: list[Command]) -> list[Send]:
    return [command for command in commands if isinstance(command, Send) and command.number is not None]


def begun(desk: Desk, **req: Any) -> int:
    start = next(command for command in desk.ask(**req) if isinstance(command, Start))
    for frame in sent(desk.engine.head(start.tag, 200, NDJSON, desk.now)):
        desk.engine.acknowledged(start.tag, frame.number or 0, desk.now)
    return start.tag


def acknowledge(desk: Desk, tag: int, frames: list[Send]) -> list[Command]:
    return [
        command for frame in frames for command in desk.engine.acknowledged(tag, frame.number or 0, desk.now)
    ]


# -- signs of life ----------------------------------------------------------------------------


def test_the_first_keepalive_comes_soon_and_is_made_sure_of() -> None:
    desk = Desk()
    desk.ask()
    assert desk.wait(0.9) == []
    (alive,) = desk.wait(0.1)
    assert isinstance(alive, Send)
    assert json.loads(alive.text)["state"] == "loading"
    assert alive.effort is Effort.SURE
    assert desk.wait(9.0) == []
    assert short(desk.wait(1.0)) == ["keepalive"]


def test_a_peer_that_vanishes_while_a_model_is_loaded_ends_the_request() -> None:
    desk = Desk()
    desk.ask(timeout_ms=3_600_000)
    acknowledge(desk, 1, sent(desk.wait(1.0)))
    vanished = desk.now
    while desk.now < vanished + 60:
        commands = desk.wait(1.0)
        if "abort 1" in short(commands):
            break
        assert {*short(commands)} <= {"keepalive"}
    assert desk.now - vanished == pytest.approx(limits.GONE_S)
    end = only(commands)
    assert (end["code"], end["ok"]) == ("peer_gone", False)
    assert desk.engine.counts["ended_peer_gone"] == 1


def test_one_that_never_acknowledged_gets_its_whole_answer() -> None:
    desk = Desk()
    desk.ask(timeout_ms=3_600_000)
    for _ in range(30):
        assert short(desk.wait(10.0)) == ["keepalive"]


def test_one_that_acknowledged_an_earlier_request_is_missed_at_once() -> None:
    desk = Desk()
    tag = begun(desk, identifier="first")
    desk.engine.data(tag, DONE, desk.now)
    desk.engine.eof(tag, desk.now)
    desk.engine.closed(tag, desk.now)
    desk.ask("second", timeout_ms=3_600_000)
    codes = [frame.get("code") for _ in range(60) for frame in frames_of(desk.wait(1.0))]
    assert "peer_gone" in codes


def test_an_acknowledged_stream_of_another_address_says_nothing_of_this_one() -> None:
    desk = Desk()
    begun(desk)
    desk.ask("other", BOB, timeout_ms=3_600_000)
    codes = [
        frame.get("code") for _ in range(60) for frame in frames_of(desk.wait(1.0)) if frame["id"] == "other"
    ]
    assert "peer_gone" not in codes


@pytest.mark.parametrize(
    "say",
    [
        {"event": "relay.ack", "seq": 0},
        {"event": "relay.response.missing", "missing": [1]},
        {"event": "relay.resume", "have": 0},
    ],
)
def test_whatever_a_peer_says_of_its_request_is_a_sign_of_life(say: dict[str, Any]) -> None:
    desk = Desk()
    tag = begun(desk, timeout_ms=3_600_000)
    desk.engine.data(tag, b'{"a":1}\n', desk.now)
    for _ in range(12):
        assert "end" not in short(desk.wait(10.0))
        desk.say(say["event"], id="i", **{name: value for name, value in say.items() if name != "event"})
    assert desk.engine.statistics()["running"] == 1


def test_an_acknowledgement_of_an_unknown_or_strange_request_is_passed_over() -> None:
    desk = Desk()
    assert desk.say("relay.ack", id="nobody", seq=5) == []
    begun(desk)
    assert desk.say("relay.ack", BOB, id="i", seq=5) == []


# -- slow peers -------------------------------------------------------------------------------


def test_a_peer_that_does_not_keep_up_holds_its_own_upstream_and_no_other() -> None:
    desk = Desk()
    tag = begun(desk)
    other = begun(desk, identifier="other")
    frames: list[Send] = []
    held: list[Command] = []
    for _ in range(20):
        commands = desk.engine.data(tag, LINE, desk.now)
        frames += sent(commands)
        held += [command for command in commands if isinstance(command, Hold)]
    assert held == [Hold(tag, held=True)]
    assert Hold(other, held=True) not in desk.engine.data(other, LINE, desk.now)
    commands = acknowledge(desk, tag, frames)
    assert [command for command in commands if isinstance(command, Hold)] == [Hold(tag, held=False)]
    assert desk.engine.counts["held"] == 1


def test_how_far_the_peer_has_got_lets_its_upstream_go_on() -> None:
    desk = Desk()
    tag = begun(desk)
    for _ in range(20):
        desk.engine.data(tag, LINE, desk.now)
    assert "go on 1" in short(desk.say("relay.ack", id="i", seq=20))


def test_an_upstream_that_is_held_is_not_late() -> None:
    desk = Desk()
    tag = begun(desk, timeout_ms=2_000)
    frames = [frame for _ in range(20) for frame in sent(desk.engine.data(tag, LINE, desk.now))]
    assert "end" not in short(desk.wait(20.0))
    acknowledge(desk, tag, frames)
    assert "end" not in short(desk.wait(1.9))
    assert frames_of(desk.wait(0.2))[-1]["code"] == "timeout"


def test_a_peer_that_moved_is_not_held_for_what_went_astray() -> None:
    desk = Desk()
    tag = begun(desk)
    for _ in range(20):
        desk.engine.data(tag, LINE, desk.now)
    text = json.dumps({"event": "relay.resume", "id": "i", "have": 20})
    commands = desk.engine.message("elsewhere", ALICE, text, desk.now)
    assert "go on 1" in short(commands)


def test_batch_ms_shortens_the_window() -> None:
    desk = Desk()
    tag = begun(desk, batch_ms=20)
    desk.engine.data(tag, b'{"a":1}\n', desk.now)
    assert "lines" not in short(desk.engine.data(tag, b'{"a":2}\n', desk.now))
    assert "lines" not in short(desk.wait(0.019))
    assert "lines" in short(desk.wait(0.002))


@pytest.mark.parametrize("value", [-1, 81, 1.5, True, "20", [], 10**400])
def test_a_batch_ms_that_is_none_is_a_bad_request(value: Any) -> None:
    refused = only(Desk().ask(batch_ms=value))
    assert refused["code"] == "bad_request"
    assert "batch_ms" in refused["error"]


# -- requests in pieces -----------------------------------------------------------------------

REQ = {"path": "/api/chat", "method": "POST", "stream": "chunks"}
BODY = json.dumps({"model": "m", "messages": ["x" * 100]}).encode()


def pieces(count: int = 3) -> list[dict[str, Any]]:
    size = -(-len(BODY) // count)
    names = {"id": "i", "upload_id": "u"}
    chunks = [BODY[at : at + size] for at in range(0, len(BODY), size)]
    return [
        {"event": "http.upload.begin", **names, "req": REQ, "total_chunks": count},
        *(
            {
                "event": "http.upload.chunk",
                **names,
                "seq": seq,
                "total": count,
                "b64": base64.b64encode(data).decode(),
            }
            for seq, data in enumerate(chunks, 1)
        ),
        {"event": "http.upload.end", **names, "total": count},
    ]


def hear(desk: Desk, *parts: dict[str, Any]) -> list[Command]:
    return [command for part in parts for command in desk.hear(json.dumps(part))]


def test_a_request_in_pieces_is_a_request_as_any_other() -> None:
    desk = Desk()
    commands = hear(desk, *pieces())
    start = next(command for command in commands if isinstance(command, Start))
    assert start.request.body == BODY
    assert start.request.headers == {"Content-Type": "application/json"}
    assert start.request.stream.wanted
    assert desk.engine.statistics()["uploads"] == 0


def test_what_is_missing_is_asked_for_by_the_name_that_the_peer_gave_it() -> None:
    desk = Desk()
    begin, first, second, third, end = pieces()
    hear(desk, begin, third, end)
    wanted = only(desk.wait(limits.GAP_FIRST_S))
    assert wanted == {"event": "http.upload.missing", "id": "i", "upload_id": "u", "missing": [1, 2]}
    assert "start 1" in short(hear(desk, first, second))


def test_a_piece_that_cannot_be_read_is_asked_for_again() -> None:
    desk = Desk()
    begin, first, second, third, end = pieces()
    hear(desk, begin, {**first, "b64": "?"}, second, third, end)
    assert only(desk.wait(limits.GAP_FIRST_S))["missing"] == [1]


def test_pieces_that_come_again_execute_nothing_twice() -> None:
    desk = Desk()
    hear(desk, *pieces())
    assert [word for word in short(hear(desk, *pieces())) if word.startswith("start")] == []
    assert desk.engine.counts["dropped_upload_repeated"] == 6  # the first end as well


def test_the_same_rules_hold_as_for_a_request_in_one_piece() -> None:
    desk = Desk()
    begin, *others = pieces()
    begin["req"] = {**REQ, "path": "/api/pull"}
    assert frames_of(hear(desk, begin, *others))[0]["code"] == "denied"
    begin["req"], begin["id"] = {**REQ, "json": {}}, "j"
    again = [{**other, "id": "j"} for other in others]
    refused = frames_of(hear(desk, begin, *again))[0]
    assert (refused["code"], "beside an upload" in refused["error"]) == ("bad_request", True)


def test_an_upload_by_its_own_name_alone_is_understood() -> None:
    desk = Desk()
    parts = [{name: value for name, value in part.items() if name != "id"} for part in pieces()]
    assert "start 1" in short(hear(desk, *parts))
    assert only(desk.wait(1.0))["id"] == "u"


def test_one_without_any_name_is_refused() -> None:
    desk = Desk()
    begin = {name: value for name, value in pieces()[0].items() if name not in {"id", "upload_id"}}
    assert only(hear(desk, begin))["code"] == "bad_request"


def test_one_of_which_nothing_more_comes_ends_with_a_word() -> None:
    desk = Desk()
    hear(desk, *pieces()[:2])
    said = frames_of([command for _ in range(70) for command in desk.wait(1.0)])
    assert said[-1]["event"] == "relay.response.end"
    assert said[-1]["code"] == "upload_incomplete"
    assert desk.wait(100) == []


def test_cancelling_gives_it_up_and_what_still_comes_of_it_is_passed_over() -> None:
    desk = Desk()
    hear(desk, *pieces()[:2])
    assert only(desk.say("relay.cancel", id="i"))["code"] == "cancelled"
    assert desk.engine.statistics()["uploads"] == 0
    assert frames_of(hear(desk, *pieces()[1:])) == []
    assert desk.engine.counts["dropped_upload_cancelled"] == len(pieces()) - 1
    assert only(hear(desk, pieces()[0]))["code"] == "cancelled"
    assert desk.engine.statistics()["uploads"] == 0
    assert desk.wait(100) == []


def test_cancelling_one_of_which_nobody_knows_how_its_peer_wants_the_answer_is_silent() -> None:
    desk = Desk()
    hear(desk, pieces()[1])
    assert frames_of(desk.say("relay.cancel", id="i")) == []
    assert desk.engine.statistics()["uploads"] == 0


def test_an_upload_with_an_id_that_is_none_is_refused() -> None:
    refused = only(hear(Desk(), {**pieces()[0], "id": []}))
    assert (refused["code"], "id must be" in refused["error"]) == ("bad_request", True)


def test_only_so_many_addresses_are_remembered_as_listening() -> None:
    desk = Desk()
    runs = desk.engine._runs
    for number in range(limits.SHARED_KEYS_MAX + 5):
        runs.listens(str(number))
    assert not runs.is_listener("4")
    assert runs.is_listener("5")


# -- found by the simulator -------------------------------------------------------------------


def test_a_peer_whose_first_sign_of_life_is_what_it_lacks_is_held_at_once() -> None:
    desk = Desk()
    desk.ask()
    desk.engine.head(1, 200, NDJSON, desk.now)
    for _ in range(2 + limits.HOLD_B // len(LINE)):
        assert "hold 1" not in short(desk.engine.data(1, LINE, desk.now))
    assert "hold 1" in short(desk.say("relay.response.missing", id="i", missing=[1]))


def test_an_upstream_is_read_on_when_a_peer_that_lacks_something_says_so() -> None:
    desk = Desk()
    tag = begun(desk, timeout_ms=1000)
    held = False
    while not held:
        held = f"hold {tag}" in short(desk.engine.data(tag, LINE, desk.now))
    desk.now += limits.GONE_S  # what was under way is lost by now
    assert f"go on {tag}" in short(desk.say("relay.response.missing", id="i", missing=[1]))


def test_an_upload_that_was_refused_ends_once() -> None:
    desk = Desk()
    begin, *others = pieces()
    begin["req"] = {**REQ, "path": "/api/pull"}
    assert [frame["event"] for frame in frames_of(hear(desk, begin, *others))] == ["relay.response.end"]
    assert desk.engine.statistics()["uploads"] == 0
    assert desk.engine.due_at() is None


def test_a_request_that_comes_whole_takes_the_place_of_its_pieces() -> None:
    desk = Desk()
    hear(desk, pieces()[0])
    assert "start 1" in short(desk.ask("i"))
    assert desk.engine.statistics()["uploads"] == 0


def test_a_keepalive_of_one_who_waits_always_names_its_place() -> None:
    desk = Desk(workers=1, per_peer=1)
    desk.ask("first")
    desk.ask("i")
    (first,) = [frame for frame in sent(desk.wait(1.0)) if json.loads(frame.text)["id"] == "i"]
    desk.now += 10.0
    assert desk.engine.acknowledged(2, first.number or 0, desk.now) == []
    places = {frame["id"]: frame.get("position") for frame in frames_of(desk.wait(0.0))}
    assert places == {"first": None, "i": 1}


@pytest.mark.parametrize("turned", [False, True], ids=["begin first", "begin last"])
def test_an_upload_that_is_refused_for_a_piece_ends_in_the_form_its_request_asks_for(turned: bool) -> None:
    desk = Desk()
    begin, first, *_ = pieces()
    parts = [begin, {**first, "seq": 9}]
    (end,) = frames_of(hear(desk, *(reversed(parts) if turned else parts)))
    assert (end["event"], end["code"]) == ("relay.response.end", "bad_request")
