"""The whole line with the unmodified SDK as peer: SDK → node → relay (a process of its own) → HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Ollamalike, Relay

pytestmark = pytest.mark.node


class Asker:
    """The SDK's side of the DM API."""

    def __init__(self, peer: Any, relay: Relay) -> None:
        self._peer = peer
        self._relay = relay

    async def tell(self, **event: Any) -> None:
        assert await self._peer.send(self._relay.address, json.dumps(event)) is None  # acknowledged

    async def frames(self, identifier: str, last: str) -> list[dict[str, Any]]:
        """All frames of a request, once one with the event `last` is there."""
        found: list[dict[str, Any]] = []

        def mine(event: dict[str, Any]) -> bool:
            if event["event"] != "message":
                return False
            frame = json.loads(event["text"])
            return frame.get("id") == identifier

        count = 1
        while not any(frame["event"] == last for frame in found):
            events = await self._peer._peers.wait(mine, count)
            found = [json.loads(event["text"]) for event in events]
            count = len(found) + 1
        return found

    async def whole(self, identifier: str, last: str = "relay.response.end") -> list[dict[str, Any]]:
        """As `frames`, and every line up to last_seq is there: frames may overtake each other."""
        found = await self.frames(identifier, last)
        wanted = next(frame for frame in found if frame["event"] == last).get("last_seq", 0)
        async with asyncio.timeout(10):
            while len(lines(found)) < wanted:
                await asyncio.sleep(0.02)
                found = await self.frames(identifier, last)
        return found


def lines(frames: list[dict[str, Any]]) -> dict[int, str]:
    return {
        line["seq"]: line["line"]
        for frame in frames
        if frame["event"] == "relay.response.lines"
        for line in frame["lines"]
    }


@pytest.fixture(params=["client", "multi1", "multi2", "multi4+original"])
async def asker(request: pytest.FixtureRequest, peers: Any, node: str, relay: Relay) -> Asker:
    shape = {
        "client": {},
        "multi1": {"numSubClients": 1},
        "multi2": {"numSubClients": 2},
        "multi4+original": {"numSubClients": 4, "originalClient": True},
    }[request.param]
    return Asker(await peers.open("peer", node, **shape), relay)


def generate(identifier: str, **body: Any) -> dict[str, Any]:
    req = {"path": "/api/generate", "method": "POST", "json": {"model": "m", **body}, "stream": "chunks"}
    return {"event": "relay.http", "id": identifier, "req": req}


async def test_a_stream_arrives_whole_and_every_line_once(asker: Asker) -> None:
    await asker.tell(**generate("s1", lines=60))
    found = await asker.whole("s1")
    assert [frame["event"] for frame in found].count("relay.response.begin") == 1
    assert [frame["event"] for frame in found].count("relay.response.end") == 1
    begin = next(frame for frame in found if frame["event"] == "relay.response.begin")
    assert (begin["ok"], begin["status"], begin["headers"]["content-type"]) == (
        True,
        200,
        "application/x-ndjson",
    )
    numbers = [line["seq"] for f in found if f["event"] == "relay.response.lines" for line in f["lines"]]
    assert sorted(numbers) == list(range(1, 62))
    words = [json.loads(line)["response"] for _, line in sorted(lines(found).items())]
    assert "".join(words) == "".join(f"wörd {index} " for index in range(60))
    end = next(frame for frame in found if frame["event"] == "relay.response.end")
    assert (end["ok"], end["lines"], end["last_seq"], end["done_seen"], end["eot_seen"]) == (
        True,
        61,
        61,
        True,
        True,
    )
    assert (end["truncated"], end["error"]) == (False, None)
    text = "\n".join(line for _, line in sorted(lines(found).items())) + "\n"
    assert end["bytes"] == len(text.encode())


async def test_every_event_and_alias_is_answered(asker: Asker) -> None:
    for index, event in enumerate(["relay.ping", "ping", "PING", "Relay.Ping"]):
        await asker.tell(event=event, id=f"p{index}", ts_peer=index)
        (pong,) = await asker.frames(f"p{index}", "relay.pong")
        assert (pong["ts_peer"], pong["addr"]) == (index, asker._relay.address)
    for event in ("relay.info", "info"):
        await asker.tell(event=event, id=event)
        (info,) = await asker.frames(event, "relay.info")
        assert (info["services"], info["workers"], info["max_body_b"], info["verify_default"]) == (
            ["ollama"],
            4,
            2097152,
            True,
        )
    await asker.tell(event="relay.health", id="h")
    (health,) = await asker.frames("h", "relay.health")
    assert [(service["name"], service["ok"]) for service in health["services"]] == [("ollama", True)]
    for event in ("relay.http", "http.request", "relay.fetch"):
        await asker.tell(event=event, id=event, req={"service": "llm", "path": "/api/version"})
        (answer,) = await asker.frames(event, "relay.response")
        assert (answer["ok"], answer["status"], answer["body_b64"]) == (True, 200, None)
        assert answer["json"]["version"] == "0.24.0"


async def test_answers_without_stream(asker: Asker, upstream: Ollamalike) -> None:
    await asker.tell(event="relay.http", id="bytes", req={"path": "/v1/models"})
    (answer,) = await asker.frames("bytes", "relay.response")
    assert (answer["json"], base64.b64decode(answer["body_b64"])) == (None, b"\x00\xff not json")
    await asker.tell(event="relay.http", id="cut", req={"url": f"{upstream.url}/api/tags"})
    (answer,) = await asker.frames("cut", "relay.response")
    assert (answer["truncated"], len(base64.b64decode(answer["body_b64"]))) == (True, 2097152)
    await asker.tell(
        event="relay.http", id="gone", req={"path": "/api/show", "method": "POST", "json": {"model": "x"}}
    )
    (answer,) = await asker.frames("gone", "relay.response")
    assert (answer["ok"], answer["status"], answer["json"]) == (False, 404, {"error": "model 'x' not found"})


async def test_cancel_closes_the_upstream_and_ends_the_stream(
    asker: Asker, upstream: Ollamalike, until: Any
) -> None:
    await asker.tell(**generate("c", lines=50, hold=3))
    await asker.frames("c", "relay.response.lines")
    assert upstream.open == 1
    await asker.tell(event="relay.cancel", id="c")
    found = await asker.frames("c", "relay.response.end")
    end = next(frame for frame in found if frame["event"] == "relay.response.end")
    assert (end["ok"], end["code"], end["done_seen"]) == (False, "cancelled", False)
    await until(lambda: upstream.open == 0)


async def test_keepalives_come_while_nothing_else_does(asker: Asker) -> None:
    await asker.tell(**generate("k", lines=5, hold=0))
    found = await asker.frames("k", "relay.response.keepalive")
    alive = next(frame for frame in found if frame["event"] == "relay.response.keepalive")
    assert alive["state"] in {"loading", "generating"}
    await asker.tell(event="relay.cancel", id="k")
    await asker.frames("k", "relay.response.end")


async def test_errors_always_end_the_stream(asker: Asker) -> None:
    for identifier, req, code in [
        ("pull", {"path": "/api/pull", "method": "POST", "json": {"model": "x"}}, "denied"),
        ("else", {"url": "http://169.254.169.254/latest"}, "denied"),
        ("who", {"service": "nobody", "path": "/"}, "bad_request"),
        ("crlf", {"path": "/api/tags\r\nX: y"}, "bad_request"),
    ]:
        await asker.tell(event="relay.http", id=identifier, req={**req, "stream": "lines"})
        (end,) = await asker.frames(identifier, "relay.response.end")
        assert (end["ok"], end["code"]) == (False, code)
        assert end["error"]


async def test_sigterm_ends_open_streams_with_an_end_frame(asker: Asker, relay: Relay) -> None:
    await asker.tell(**generate("t", lines=5, hold=0))
    await asker.frames("t", "relay.response.begin")
    relay.process.terminate()
    found = await asker.frames("t", "relay.response.end")
    end = next(frame for frame in found if frame["event"] == "relay.response.end")
    assert (end["ok"], end["code"]) == (False, "shutdown")
    assert await relay.process.wait() == 0


async def test_an_upstream_that_is_down_ends_the_stream_and_names_it(
    tmp_path: Path, peers: Any, node: str
) -> None:
    async with Relay(tmp_path, node, "http://127.0.0.1:9") as relay:
        asker = Asker(await peers.open("peer", node, numSubClients=2), relay)
        await asker.tell(**generate("d", lines=1))
        (end,) = await asker.frames("d", "relay.response.end")
        assert (end["ok"], end["code"], end["truncated"]) == (False, "upstream_refused", False)
        assert "127.0.0.1:9" in end["error"]


async def test_the_log_shows_no_prompt_and_no_seed(
    tmp_path: Path, peers: Any, node: str, upstream: Ollamalike
) -> None:
    async with Relay(tmp_path, node, upstream.url) as relay:
        asker = Asker(await peers.open("peer", node), relay)
        await asker.tell(**generate("l", lines=2, prompt="canary-of-a-prompt"))
        await asker.whole("l")
    seed = (tmp_path / "relay.env").read_text().partition("NKN_SEED_HEX=")[2][:64]
    assert "request" in relay.log
    assert "canary" not in relay.log
    assert seed not in relay.log


@pytest.mark.engine
async def test_a_real_answer_arrives_whole_and_every_line_once(tmp_path: Path, peers: Any, node: str) -> None:
    farm = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "farm", "--mode", "embedded", "--front-port", "0", "--back-port", "0"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        url = (await farm.stdout.readline()).decode().split()[-1]
        async with Relay(tmp_path, node, url) as relay:
            asker = Asker(await peers.open("peer", node, numSubClients=2), relay)
            body = {"model": "smollm2:135m", "prompt": "Name three colours.", "options": {"num_predict": 40}}
            req = {"path": "/api/generate", "method": "POST", "json": body, "stream": "chunks"}
            await asker.tell(event="relay.http", id="real", req=req)
            found = await asker.whole("real")
    finally:
        farm.terminate()
        await farm.wait()
    end = next(frame for frame in found if frame["event"] == "relay.response.end")
    numbers = [line["seq"] for f in found if f["event"] == "relay.response.lines" for line in f["lines"]]
    assert sorted(numbers) == list(range(1, end["last_seq"] + 1))
    told = [json.loads(line) for _, line in sorted(lines(found).items())]
    assert [line["done"] for line in told] == [False] * (len(told) - 1) + [True]
    assert "".join(line["response"] for line in told).strip()
    assert 1 < told[-1]["eval_count"] <= 40
    assert (end["ok"], end["done_seen"]) == (True, True)
    assert end["bytes"] == sum(len(line.encode()) + 1 for line in lines(found).values())
