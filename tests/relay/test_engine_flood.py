"""Fifty thousand messages from one key and from a thousand: the ledger adds up, and memory has its bounds."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from desks import NDJSON, Desk, short

from relay.commands import Abort, Send, Start
from relay.rights import Register, Rights
from wire import limits

MESSAGES = 50_000
SECONDS = 10.0


def event(dice: random.Random, number: int) -> dict[str, Any]:
    """One of what floods are made of."""
    identifier = dice.choice([number, number % 50, f"i{number}"])
    req = {"path": "/api/chat", "method": "POST", "json": {"model": "m"}, "stream": dice.choice([True, None])}
    return dice.choice(
        [
            {"event": "relay.http", "id": identifier, "req": req},
            {"event": "relay.http", "id": identifier, "req": req | {"path": "/api/pull"}},
            {"event": "relay.ping"},
            {"event": "relay.cancel", "id": identifier},
            {"event": "relay.resume", "id": identifier, "have": 0},
            {"event": "relay.response.missing", "id": identifier, "missing": [0, 1, -1]},
            {"event": "relay.ack", "id": identifier, "seq": 1},
            {
                "event": "http.upload.chunk",
                "id": f"u{number % 99}",
                "seq": number % 7,
                "total": 9,
                "b64": "eA==",
            },
            {"event": "nonsense"},
        ]
    )


def flood(desk: Desk, keys: list[bytes], dice: random.Random) -> dict[int, tuple[bytes, Any]]:
    """All of it within ten seconds, with workers that answer meanwhile; requests that run in the end."""
    running: dict[int, tuple[bytes, Any]] = {}
    for number in range(MESSAGES):
        desk.now += SECONDS / MESSAGES
        key = keys[number % len(keys)]
        commands = desk.engine.message(f"x.{key.hex()}", key, json.dumps(event(dice, number)), desk.now)
        if number % 7 == 0 and running:
            tag = next(iter(running))
            commands += desk.engine.head(tag, 200, NDJSON, desk.now)
            commands += desk.engine.data(tag, b'{"response":"x"}\n{"done":true}\n', desk.now)
            commands += desk.engine.eof(tag, desk.now)
            commands += desk.engine.closed(tag, desk.now)
            running.pop(tag)
        while commands:
            command = commands.pop(0)
            if isinstance(command, Start):
                running[command.tag] = (key, None)
            elif isinstance(command, Abort) and running.pop(command.tag, None) is not None:
                commands += desk.engine.closed(command.tag, desk.now)
        if number % 500 == 0:
            desk.engine.advance(desk.now)
    return running


@pytest.mark.parametrize("count", [1, 1000])
def test_a_flood_adds_up_and_stays_within_bounds(count: int) -> None:
    desk = Desk(workers=4, per_peer=3, queue=64)
    keys = [number.to_bytes(32, "big") for number in range(1, count + 1)]
    running = flood(desk, keys, random.Random(count))
    told = desk.engine.statistics()
    heard = sum(amount for name, amount in told.items() if name.startswith("event_"))
    assert heard + told["dropped_unknown_event"] == MESSAGES
    ended = sum(amount for name, amount in told.items() if name.startswith("ended_"))
    refused = sum(amount for name, amount in told.items() if name.startswith("refused_"))
    settled = ended + refused + told.get("repeated", 0) + told.get("dropped_id_of_another_request", 0)
    uploads = told["event_upload"]
    asked = told["event_http"]
    assert asked <= settled + told["running"] + told["waiting"] <= asked + uploads
    assert told["running"] == len(running) <= 4
    assert told["peak_waiting"] <= 64
    assert told["retained_b"] <= limits.RETAIN_ALL_B
    assert told["uploads_b"] <= limits.UPLOADS_ALL_B
    assert told["uploads"] <= limits.UPLOADS_PEER * count
    # A key that was quiet so far is served at once when a worker is free again.
    quiet = b"q" * 32
    while told["waiting"]:
        for tag in list(running):
            running.pop(tag)
            starts = desk.engine.closed(tag, desk.now)
            running |= {start.tag: (b"", None) for start in starts if isinstance(start, Start)}
        told = desk.engine.statistics()
    text = json.dumps({"event": "relay.http", "id": "q", "req": {"path": "/api/tags"}})
    for tag in list(running):
        desk.engine.closed(tag, desk.now)
    assert any(word.startswith("start") for word in short(desk.engine.message("q.x", quiet, text, desk.now)))


def test_strangers_cost_a_counter_and_nothing_that_stays() -> None:
    desk = Desk(register=Register({b"k" * 32: Rights("k")}, None))
    for number in range(MESSAGES):
        key = number.to_bytes(32, "big")
        commands = desk.engine.message("x.y", key, '{"event":"relay.http","id":1,"req":{}}', desk.now)
        assert not any(isinstance(command, Send) for command in commands)
    assert desk.engine.counts == {"dropped_stranger": MESSAGES}
    assert desk.engine.statistics()["retained_b"] == 0
    assert desk.engine.due_at() is None
