"""A relay on paper for dialogues: an engine, its clock, and the commands in words."""

from __future__ import annotations

import json
from typing import Any

from relay.admission import Shares
from relay.commands import Abort, Command, Gather, Hold, Note, Probe, Send, Start
from relay.engine import Engine
from relay.manner import Manner
from relay.policy import Policy
from relay.station import Station
from wire.origin import Origin

ALICE, BOB, CAROL = (bytes([number]) * 32 for number in (1, 2, 3))
NAMES = {ALICE: "alice", BOB: "bob", CAROL: "carol"}
NDJSON = {"content-type": "application/x-ndjson"}
DONE = b'{"done":true}\n'
TERMINAL = {"relay.response.end", "relay.response"}


class Desk:
    """An engine, its clock, and everything it ever sent."""

    def __init__(self, *, workers: int = 4, per_peer: int = 3, queue: int = 8, **rules: Any) -> None:
        rules.setdefault("targets", {"ollama": Origin.parse("http://127.0.0.1:8080")})
        self.engine = Engine(
            Policy(**rules),
            Shares(workers, per_peer, queue),
            Manner(keepalive_s=10.0, max_body_b=100, epoch_s=1000.0),
            Station("relay.ab", "0.1"),
        )
        self.now = 100.0

    def hear(self, data: str | bytes, key: bytes = ALICE) -> list[Command]:
        return self.engine.message(f"{NAMES[key]}.{key.hex()}", key, data, self.now)

    def say(self, event: str, key: bytes = ALICE, **fields: Any) -> list[Command]:
        return self.hear(json.dumps({"event": event, **fields}), key)

    def ask(self, identifier: Any = "i", key: bytes = ALICE, **req: Any) -> list[Command]:
        asked = {"path": "/api/chat", "method": "POST", "json": {"model": "m"}, "stream": True} | req
        return self.say("relay.http", key, id=identifier, req=asked)

    def wait(self, seconds: float) -> list[Command]:
        self.now += seconds
        return self.engine.advance(self.now)


def frames_of(commands: list[Command]) -> list[dict[str, Any]]:
    return [json.loads(command.text) for command in commands if isinstance(command, Send)]


def short(commands: list[Command]) -> list[str]:
    """Each command in a word or two; frames by the last word of their event."""
    found = []
    for command in commands:
        match command:
            case Send():
                found.append(json.loads(command.text)["event"].rpartition(".")[2])
            case Start(tag, _):
                found.append(f"start {tag}")
            case Abort(tag):
                found.append(f"abort {tag}")
            case Gather(tag, lazy):
                found.append(f"{'lazy' if lazy else 'eager'} {tag}")
            case Hold(tag, held):
                found.append(f"{'hold' if held else 'go on'} {tag}")
            case Probe():
                found.append("probe")
            case Note():
                found.append(f"note {command.event}")
    return found


def only(commands: list[Command]) -> dict[str, Any]:
    [frame] = frames_of(commands)
    return frame
