"""The adapter's edges that need no engine: bodies too large, clients that leave, a load that fails."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from farm import limits
from farm.api import words
from farm.embedded.app import OllamaApp
from farm.embedded.ask import Ask
from farm.embedded.native import NativeVoice
from farm.embedded.runner import Runner
from farm.plan import EnginePlan

PLAN = EnginePlan("/nowhere/model.gguf", slots=1, slot_tokens=2048, threads=1, batch=512)


async def call(runner: Runner, path: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What the adapter sends when it receives `messages` and then nothing more."""
    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"host", b"localhost")]}
    waiting = list(messages)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await OllamaApp(runner, 0)(scope, receive, send)
    return sent


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_that_is_too_large_is_413(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_MAX_B", 10)
    sent = await call(Runner(PLAN, 1.0), "/api/chat", part(b"{      ", more=True), part(b"      ", more=True))
    assert sent[0]["status"] == 413
    assert "larger than 10 bytes" in json.loads(sent[1]["body"])["error"]


async def test_a_client_that_leaves_in_its_body_gets_no_answer() -> None:
    assert (
        await call(Runner(PLAN, 1.0), "/api/chat", part(b"{", more=True), {"type": "http.disconnect"}) == []
    )


async def test_a_client_that_leaves_during_the_load_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EnginePlan, "argv", lambda *_: [sys.executable, "-c", "import sys; sys.stdin.read()"])
    runner = Runner(PLAN, 1.0)
    body = json.dumps({"model": "smollm2", "prompt": "x"}).encode()
    assert await call(runner, "/api/generate", part(body), {"type": "http.disconnect"}) == []
    await runner.close()
    assert runner.engine is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('print(\'{"error": "no libgomp"}\')', "no libgomp"),
        ("import sys; sys.stderr.write('boom\\n'); sys.exit(3)", "ended with code 3; its last words:\nboom"),
        ("import os; os.kill(os.getpid(), 4)", "lacks AVX2"),
        ("print('what?')", "did not start"),
    ],
)
async def test_an_engine_that_does_not_start_is_500(
    monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(EnginePlan, "argv", lambda *_: [sys.executable, "-c", script])
    body = json.dumps({"model": "smollm2", "prompt": "x"}).encode()
    sent = await call(Runner(PLAN, 1.0), "/api/generate", part(body))
    assert sent[0]["status"] == 500
    assert said in json.loads(sent[1]["body"])["error"]


async def test_too_many_waiting_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_MAX", -1)
    body = json.dumps({"model": "smollm2", "prompt": "x"}).encode()
    sent = await call(Runner(PLAN, 1.0), "/api/generate", part(body))
    assert sent[0]["status"] == 503
    assert json.loads(sent[1]["body"]) == {
        "error": "server busy, please try again.  maximum pending requests exceeded"
    }


async def test_an_engine_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnginePlan, "argv", lambda *_: [sys.executable, "-c", "import sys; sys.stdin.read()"])
    monkeypatch.setattr(limits, "ENGINE_START_S", 0.03)
    body = json.dumps({"model": "smollm2", "prompt": "x"}).encode()
    sent = await call(Runner(PLAN, 1.0), "/api/generate", part(body))
    assert sent[0]["status"] == 500
    assert "did not load its model within" in json.loads(sent[1]["body"])["error"]


def test_the_words_for_an_engine_that_is_gone() -> None:
    assert words.runner_stopped().status == 500
    assert words.input_too_long().text == "the input length exceeds the context length"
    rendered = NativeVoice(Ask("chat", "m")).rendered("p", "then")
    assert json.loads(rendered)["_debug_info"] == {"rendered_template": "p"}
