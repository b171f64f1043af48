"""Rights and quotas of keys, as peers meet them: dialogues with the engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from desks import ALICE, BOB, CAROL, NDJSON, Desk, only, short

from relay.commands import Start
from relay.rights import Quota, Register, Rights
from wire.origin import Origin

TWO = {"ollama": Origin.parse("http://127.0.0.1:8080"), "other": Origin.parse("http://127.0.0.1:9")}


def desk(default: Rights | None = None, **alice: Any) -> Desk:
    register = Register({ALICE: Rights("alice", **alice)}, default)
    return Desk(register=register, targets=TWO)


def refusal(commands: list[Any]) -> tuple[str, str | None]:
    frame = only(commands)
    return frame["code"], frame.get("scope")


def test_who_is_not_in_the_register_gets_no_sign_of_life() -> None:
    assert short(desk().ask(key=BOB)) == ["note dropped"]
    assert "start 1" in short(desk().ask(key=ALICE))
    assert "start 1" in short(desk(default=Rights()).ask(key=BOB))


def test_allowed_peers_and_the_register_admit_side_by_side() -> None:
    register = Register({ALICE: Rights("alice")}, None)
    both = Desk(register=register, allow_peers=frozenset({BOB}))
    assert "start 1" in short(both.ask(key=ALICE))
    assert "start 2" in short(both.ask(key=BOB))
    assert short(both.ask(key=CAROL)) == ["note dropped"]


@pytest.mark.parametrize(
    ("rights", "asked", "scope"),
    [
        ({"services": ("other",)}, {}, "service"),
        ({"paths": ("/api/tags",)}, {}, "path"),
        ({"models": ("x",)}, {}, "model"),
        ({"models": ("x",)}, {"json": {"MODEL": "y"}}, "model"),
        ({"models": ("m",)}, {"json": {"model": "m", "name": "y"}}, "model"),
        ({"models": ("m",)}, {"json": {"messages": []}}, "model"),
        ({"models": ("m",)}, {"method": "GET", "path": "/v1/models/y", "json": None}, "model"),
        ({"options": False}, {"json": {"model": "m", "keep_alive": 5}}, "options"),
        ({"options": False}, {"json": {"model": "m", "options": {"num_ctx": 5}}}, "options"),
        ({"models": ()}, {}, "model"),
        ({"services": ()}, {}, "service"),
    ],
)
def test_a_refusal_names_the_right_that_is_lacking(rights: Any, asked: Any, scope: str) -> None:
    assert refusal(desk(**rights).ask(**asked)) == ("denied", scope)


@pytest.mark.parametrize(
    ("rights", "asked"),
    [
        ({"services": ("ollama",)}, {}),
        ({"paths": ("/api/*",)}, {}),
        ({"models": ("m",)}, {}),
        ({"models": ("m:*",)}, {}),
        ({"models": ("m",)}, {"method": "GET", "path": "/api/tags", "json": None}),
        ({"options": False}, {"json": {"model": "m", "options": {"temperature": 1}}}),
        ({"admin": True}, {"path": "/api/pull"}),
    ],
)
def test_what_is_allowed_goes_through(rights: Any, asked: Any) -> None:
    assert "start 1" in short(desk(**rights).ask(**asked))


def test_admin_is_one_keys_and_not_everybodys() -> None:
    both = desk(default=Rights(), admin=True)
    assert refusal(both.ask(key=BOB, path="/api/pull"))[0] == "denied"
    assert "start 2" in short(both.ask(key=ALICE, path="/api/pull"))


def test_a_key_runs_and_queues_no_more_than_its_share() -> None:
    shared = desk(default=Rights(), running=1, queued=1)
    assert "start 1" in short(shared.ask("a"))
    assert short(shared.ask("b")) == ["note request"]
    assert refusal(shared.ask("c")) == ("busy", "peer_queue")
    assert "start 4" in short(shared.ask("a", BOB))
    assert "start 5" in short(shared.ask("b", BOB))
    assert "start 2" in short(shared.engine.closed(1, shared.now))


def test_a_key_that_may_run_nothing_waits_in_vain_and_holds_up_nobody() -> None:
    shared = desk(default=Rights(), running=0)
    shared.ask("a")
    assert "start 2" in short(shared.ask("a", BOB))


def test_requests_over_the_quota_are_refused_with_the_time_to_wait() -> None:
    shared = desk(requests=Quota(2, 60, "2/minute"))
    shared.ask("a")
    shared.ask("b")
    frame = only(shared.ask("c"))
    assert (frame["code"], frame["scope"]) == ("busy", "requests")
    assert frame["retry_after_ms"] == pytest.approx(30_000, abs=2)
    shared.wait(30.1)
    assert "note request" in short(shared.ask("c"))


def test_refused_requests_cost_nothing_of_the_quota() -> None:
    shared = desk(requests=Quota(1, 60, "1/minute"))
    for number in range(5):
        assert refusal(shared.ask(number, path="/api/pull"))[0] == "denied"
    assert "start 6" in short(shared.ask("a"))


DONE = b'{"done":true,"prompt_eval_count":70,"eval_count":50}\n'


@pytest.mark.parametrize(
    ("body", "left"),
    [(DONE, False), (b'{"response":"a"}\n' * 99 + b'{"done":true}\n', False), (b'{"done":true}\n', True)],
)
def test_tokens_are_those_the_upstream_tells_or_else_lines(body: bytes, left: bool) -> None:
    shared = desk(tokens=Quota(100, 86_400, "100/day"))
    tag = next(command.tag for command in shared.ask("a") if isinstance(command, Start))
    shared.engine.head(tag, 200, NDJSON, shared.now)
    shared.engine.data(tag, body, shared.now)
    shared.engine.eof(tag, shared.now)
    shared.engine.closed(tag, shared.now)
    if left:
        assert "start 2" in short(shared.ask("b"))
    else:
        assert refusal(shared.ask("b")) == ("busy", "tokens")


def test_tokens_of_an_answer_without_stream_count_as_well() -> None:
    shared = desk(tokens=Quota(100, 86_400, "100/day"))
    shared.ask("a", stream=None, path="/v1/chat/completions")
    shared.engine.head(1, 200, {"content-type": "application/json"}, shared.now)
    shared.engine.data(1, b'{"usage":{"prompt_tokens":90,"completion_tokens":20}}', shared.now)
    shared.engine.eof(1, shared.now)
    shared.engine.closed(1, shared.now)
    assert refusal(shared.ask("b")) == ("busy", "tokens")


def test_new_rules_hold_for_new_requests_and_end_no_stream() -> None:
    shared = desk(default=Rights())
    shared.ask("a")
    shared.engine.policy = replace(shared.engine.policy, register=Register({}, None))
    assert short(shared.ask("b")) == ["note dropped"]
    assert "begin" in short(shared.engine.head(1, 200, NDJSON, shared.now))
