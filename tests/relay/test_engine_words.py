"""Where each word of the relay goes, what its notes tell, and what a peer is owed at one moment."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from desks import ALICE, NDJSON, Desk, frames_of, short

from relay.commands import Note, Send
from wire import limits, redact

ADDRESS = f"alice.{ALICE.hex()}"


def places(commands: list[Any]) -> set[str]:
    return {command.dest for command in commands if isinstance(command, Send)}


def piece(step: str, **fields: Any) -> dict[str, Any]:
    req = {"path": "/api/chat", "method": "POST", "stream": True}
    return {"event": f"http.upload.{step}", "id": "u", "upload_id": "u", "req": req, "total": 2} | fields


def chunk(seq: int) -> dict[str, Any]:
    bare = {name: value for name, value in piece("chunk").items() if name != "req"}
    return bare | {"seq": seq, "b64": base64.b64encode(b'{"model":').decode()}


def test_a_note_tells_what_the_upstream_answered() -> None:
    desk = Desk()
    desk.ask()
    assert desk.engine.head(1, 404, NDJSON, desk.now)[0] == Note("head", {"tag": 1, "status": 404})


def test_a_refusal_goes_to_who_asked_and_its_note_tells_of_it() -> None:
    send, note = Desk().ask(path="/api/pull")
    assert isinstance(send, Send)
    assert send.dest == ADDRESS
    assert isinstance(note, Note)
    assert note.event == "refused"
    assert {**note.fields, "why": ""} == {"peer": redact.key(ADDRESS), "code": "denied", "why": ""}
    assert "/api/pull" in note.fields["why"]


def test_what_is_missing_of_an_upload_is_asked_of_who_sends_it() -> None:
    desk = Desk()
    desk.hear(json.dumps(piece("begin")))
    desk.hear(json.dumps(piece("end")))
    asked = desk.wait(limits.GAP_FIRST_S)
    assert short(asked) == ["missing"]
    assert places(asked) == {ADDRESS}


def test_an_upload_that_is_given_up_takes_no_word_from_others() -> None:
    desk = Desk()
    desk.ask()
    desk.hear(json.dumps(piece("begin")))
    lost_at = desk.engine._uploads.due_at() or 0.0
    desk.now += 1000.0
    assert lost_at < desk.now
    said = frames_of(desk.engine.advance(desk.now))
    assert [(frame["id"], frame["event"]) for frame in said if frame["event"].endswith("end")] == [
        ("i", "relay.response.end"),
        ("u", "relay.response.end"),
    ]


@pytest.mark.parametrize("word", ["cancel", "whole"])
def test_pieces_of_what_was_given_up_are_passed_over_for_a_while(word: str) -> None:
    desk = Desk()
    desk.hear(json.dumps(piece("begin")))
    if word == "cancel":
        desk.say("relay.cancel", id="u")
    else:
        desk.ask("u")
        desk.say("relay.cancel", id="u")
    desk.now += 1.0
    desk.hear(json.dumps(chunk(1)))
    assert desk.engine.statistics()["uploads"] == 0
    desk.hear(json.dumps(piece("begin", id="v", upload_id="v")))
    assert desk.engine.statistics()["uploads"] == 1


def test_whoever_acknowledges_by_a_word_of_its_own_is_missed_at_once_the_next_time() -> None:
    desk = Desk()
    desk.ask("a", timeout_ms=3_600_000)
    desk.say("relay.ack", id="a", seq=0)
    assert desk.engine._runs.is_listener(ADDRESS)
    assert not desk.engine._runs.is_listener("bob")
    desk.ask("b", timeout_ms=3_600_000)
    said = [word for _ in range(80) for word in short(desk.wait(1.0))]
    assert "abort 2" in said


def test_a_repeated_request_is_answered_to_who_repeats_it() -> None:
    desk = Desk()
    desk.ask()
    desk.engine.head(1, 200, NDJSON, desk.now)
    desk.wait(1.0)
    again = desk.ask()
    assert "begin" in short(again)
    assert places(again) == {ADDRESS}


def test_a_note_tells_how_a_request_ended() -> None:
    desk = Desk()
    desk.ask()
    assert Note("end", {"tag": 1, "code": "cancelled"}) in desk.say("relay.cancel", id="i")


def test_a_worker_that_ends_without_a_result_is_told_in_words() -> None:
    desk = Desk()
    desk.ask()
    frames = frames_of(desk.engine.closed(1, desk.now))
    assert [frame["error"] for frame in frames] == ["the worker ended without a result"]
