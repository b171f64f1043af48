"""docs/protocol.md, table "Conformance", rows X: peers that exist already, doing what their code does."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from harness import Relay, running_node
from interop.conformance import Asker, Stage, Stream, fresh
from interop.sdk import Peers
from scripted import Scripted, Visit

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]


async def _ollama_without(visit: Visit) -> None:
    """Ollama's answer to a path that it has not."""
    await visit.whole("text/plain", b"404 page not found", status="404 Not Found")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("relay")
    async with (
        running_node() as node,
        Scripted({"none": _ollama_without}) as upstream,
        Relay(folder, node, upstream.url) as relay,
    ):
        yield Stage(node, relay, upstream)


# -- the LLM node of Hydra: MultiClient "hydra" of 4, `http.request`, ids `g-…`, keys in headers ---------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hydra(stage: Stage, shared_peers: Peers) -> Asker:
    client = await shared_peers.open("hydra", stage.node, identifier="hydra", numSubClients=4)
    return Asker(shared_peers, client, stage.relay.address)


async def ask(hydra: Asker, path: str, *, stream: str = "", **req: Any) -> list[dict[str, Any]]:
    """One of its calls; the frames of the answer."""
    identifier = f"g-{fresh()}"
    headers = {
        "Content-Type": "application/json",
        "X-API-Key": "k-1",
        "Authorization": "Bearer k-1",
        "Accept": "application/x-ndjson" if stream else "application/json",
        **({"X-Relay-Stream": stream} if stream else {}),
    }
    asked = {"service": "ollama_farm", "path": path, "headers": headers, **req}
    await hydra.tell(event="http.request", id=identifier, req=asked)
    return await hydra.whole(identifier)


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/api/tags"])
async def test_x1_hydra_lists_models(hydra: Asker, stage: Stage, path: str) -> None:
    [answer] = await ask(hydra, path, method="GET", timeout_ms=10_000)
    assert (answer["event"], answer["ok"], answer["json"]["path"]) == ("relay.response", True, path)
    seen = stage.upstream.last.headers
    assert (seen["x-api-key"], seen["authorization"]) == ("k-1", "Bearer k-1")
    assert "x-relay-stream" not in seen
    [answer] = await ask(hydra, f"{path}?case=none", method="GET")
    assert (answer["ok"], answer["status"]) == (False, 404), "it goes on to its next path"


async def test_x2_hydra_shows_a_model_by_name(hydra: Asker, stage: Stage) -> None:
    [answer] = await ask(hydra, "/api/show", method="POST", json={"name": "llama3.2"}, timeout_ms=15_000)
    assert (answer["ok"], answer["status"]) == (True, 200)
    assert stage.upstream.last.json == {"name": "llama3.2"}


async def test_x3_hydras_pull_is_refused_as_a_stream_is(hydra: Asker) -> None:
    json_body = {"name": "llama3.2", "stream": True}
    frames = await ask(hydra, "/api/pull", stream="lines", method="POST", json=json_body, timeout_ms=600_000)
    [end] = frames
    assert (end["event"], end["ok"], end["code"]) == ("relay.response.end", False, "denied")
    assert (end["last_seq"], end["lines"]) == (0, 0)
    assert "RELAY_ALLOW_ADMIN" in end["error"]


@pytest.mark.parametrize("word", ["chunks", "lines"])
async def test_x4_hydras_chat_streams(hydra: Asker, word: str) -> None:
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    frames = await ask(hydra, "/api/chat", stream=word, method="POST", json=body, timeout_ms=180_000)
    stream = Stream(frames)
    assert (stream.events[0], stream.events[-1], stream.end["ok"]) == ("begin", "end", True)
    assert [json.loads(line)["done"] for line in stream.lines] == [False, False, False, True]


async def test_x5_hydras_chat_without_stream(hydra: Asker, stage: Stage) -> None:
    body = {"model": "llama3.2", "messages": [], "stream": False}
    [answer] = await ask(hydra, "/api/chat", method="POST", json=body, timeout_ms=120_000)
    assert (answer["event"], answer["ok"], answer["json"]["path"]) == ("relay.response", True, "/api/chat")
    assert stage.upstream.last.json == body


async def test_x6_hydras_health_has_its_id(hydra: Asker) -> None:
    identifier = f"g-{fresh()}"
    await hydra.tell(event="relay.health", id=identifier)
    [health] = await hydra.heard(identifier)
    assert (health["event"], health["services"][0]["ok"]) == ("relay.health", True)
    assert {"id", "ts", "addr", "services"} <= set(health)


async def test_x7_hydras_self_probe_is_passed_over(hydra: Asker, stage: Stage) -> None:
    before = len(stage.relay.log)
    await hydra.tell(event="relay.selfprobe", ts=1_700_000_000_000)
    await stage.relay.tells("reason=unknown_event", before)


# -- the first site: MultiClient "webui" of 4, absolute URLs, no acknowledgement asked for ---------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def webui(stage: Stage, shared_peers: Peers) -> Asker:
    client = await shared_peers.open("webui", stage.node, identifier="webui", numSubClients=4)
    return Asker(shared_peers, client, stage.relay.address)


FORGOTTEN = {"noReply": True, "maxHoldingSeconds": 120}


async def test_x8_the_site_streams_from_an_absolute_url(webui: Asker, stage: Stage) -> None:
    identifier = fresh()
    body = {"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    req = {
        "url": f"{stage.upstream.url}/api/chat",
        "method": "POST",
        "headers": {"Content-Type": "application/json"},
        "json": body,
        "timeout_ms": 180_000,
        "verify": False,
        "stream": "chunks",
    }
    await webui.tell(FORGOTTEN, event="http.request", id=identifier, req=req)
    stream = Stream(await webui.whole(identifier))
    assert (stream.end["ok"], len(stream.lines)) == (True, 4)
    assert (stage.upstream.last.target, stage.upstream.last.json) == ("/api/chat", body)


async def test_x9_the_site_measures_the_round_trip_with_info(webui: Asker) -> None:
    seen = len(webui.so_far(None))
    await webui.tell({"responseTimeout": 60_000}, event="relay.info")
    info = (await webui.heard(None, seen + 1))[-1]
    assert (info["event"], info["addr"]) == ("relay.info", webui.address)


async def test_x10_the_site_sends_pictures_in_body_b64(webui: Asker, stage: Stage) -> None:
    picture = base64.b64encode(bytes(range(256)) * 3_000).decode()
    body = json.dumps({"model": "llava", "prompt": "what is it?", "images": [picture]}).encode()
    identifier = fresh()
    req = {
        "url": f"{stage.upstream.url}/api/generate",
        "method": "POST",
        "headers": {"Content-Type": "application/json"},
        "body_b64": base64.b64encode(body).decode(),
        "stream": "chunks",
        "timeout_ms": 120_000,
    }
    await webui.tell(FORGOTTEN, event="http.request", id=identifier, req=req)
    assert Stream(await webui.whole(identifier)).end["ok"]
    assert stage.upstream.last.body == body
