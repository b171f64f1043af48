"""Ping, info and health; how they are spelt stands in test_engine.py and test_frames.py."""

from __future__ import annotations

import json

import pytest

from relay import events
from relay.admission import Shares
from relay.commands import Note, Probe, Send
from relay.inquiry import Inquiry
from relay.manner import Manner
from relay.policy import Policy
from relay.station import Station
from wire.origin import Origin

STATION = Station("relay.ab", "0.1")
POLICY = Policy({"b": Origin.parse("http://b/x"), "a": Origin.parse("https://a")})


def inquiry(queue: int = 2) -> Inquiry:
    return Inquiry(POLICY, Shares(queue=queue), Manner(epoch_s=1000.0), STATION)


def event(name: str, identifier: events.RequestId = "i", **more: object) -> events.Event:
    return events.read(json.dumps({"event": name, "id": identifier, **more}))


def test_a_ping_is_answered_with_the_time_of_the_day():
    pong, note = inquiry().answer("bob", event("ping", ts_peer=7), 100.0)
    assert json.loads(pong.text) == {
        "event": "relay.pong",
        "id": "i",
        "ts": 1_100_000,
        "addr": "relay.ab",
        "ts_peer": 7,
    }
    assert (pong.dest, note) == ("bob", Note("ping", {"peer": note.fields["peer"]}))


def test_info_tells_the_stations_facts():
    answer, note = inquiry().answer("bob", event("info"), 100.0)
    told = json.loads(answer.text)
    facts = STATION.facts(POLICY, Shares(queue=2), Manner(epoch_s=1000.0))
    assert told == {"event": "relay.info", "id": "i", "ts": 1_100_000, "addr": "relay.ab", **facts}
    assert (answer.dest, note.event) == ("bob", "info")


def test_health_is_asked_once_for_all_who_wait_and_answered_to_each():
    one = inquiry()
    assert one.answer("bob", event("relay.health", 1), 100.0) == [
        Probe({"b": "http://b:80/x", "a": "https://a:443"})
    ]
    assert one.answer("eve", event("relay.health", 2), 100.0) == []
    assert one.answer("mal", event("relay.health", 3), 100.0) is None, "too many wait"
    services = [{"name": "a", "ok": False, "detail": "no answer"}]
    answers = one.probed(services, 101.0)
    assert [(send.dest, json.loads(send.text)["id"]) for send in answers] == [("bob", 1), ("eve", 2)]
    assert all(isinstance(send, Send) and json.loads(send.text)["services"] == services for send in answers)
    assert one.probed(services, 102.0) == []
    assert len(one.answer("mal", event("relay.health", 3), 103.0)) == 1


@pytest.mark.parametrize("queue", [1, 5])
def test_as_many_wait_for_health_as_may_wait_for_a_worker(queue):
    one = inquiry(queue)
    answers = [one.answer("bob", event("relay.health", number), 100.0) for number in range(queue + 1)]
    assert [answer is None for answer in answers] == [False] * queue + [True]


def test_a_note_tells_who_asked():
    commands = inquiry().answer("alice.ab", event("relay.info"), 1.0)
    assert commands is not None
    assert commands[-1] == Note("info", {"peer": "alice.ab"})
