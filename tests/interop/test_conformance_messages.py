"""docs/protocol.md, table "Conformance", rows M, E and R: messages, events and requests, asked by the SDK."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from harness import Relay, running_node
from interop.conformance import Asker, Stream, fresh
from interop.sdk import Peers
from scripted import Scripted, Visit

from relay.events import STREAM_WORDS, StreamMode
from relay.nkn.devnode import certificate
from relay.policy import Policy
from wire import limits
from wire.origin import Origin

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Stage:
    """A node, a relay of its own process with three targets, and what stands behind them."""

    node: str
    relay: Relay
    upstream: Scripted
    secure: Scripted


async def _idle(visit: Visit) -> None:
    """A stream that begins and then says nothing more."""
    await visit.head()
    await visit.chunk(b'{"response":"a"}\n')
    await visit.go_on.wait()


async def _drip(visit: Visit) -> None:
    """Twelve lines with pauses that are short; all together they are not."""
    await visit.head()
    for number in range(12):
        await visit.chunk(b'{"response":"%d","done":%s}\n' % (number, b"true" if number == 11 else b"false"))
        await asyncio.sleep(0.04)
    await visit.rest()


async def _mute(visit: Visit) -> None:
    """Not even a head."""
    await visit.go_on.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    context, _ = certificate.make("127.0.0.1")
    scripts = {"idle": _idle, "drip": _drip, "mute": _mute}
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with (
            running_node() as node,
            Scripted(scripts) as upstream,
            Scripted(tls=context) as secure,
            Relay(
                tmp_path_factory.mktemp("relay"),
                node,
                upstream.url,
                RELAY_TARGETS=json.dumps({"ollama": upstream.url, "secure": secure.url, "down": down}),
            ) as relay,
        ):
            yield Stage(node, relay, upstream, secure)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["client", "multi"])
async def asker(request: pytest.FixtureRequest, stage: Stage, shared_peers: Peers) -> Asker:
    shape = {"client": {}, "multi": {"numSubClients": 2}}[request.param]
    return Asker(
        shared_peers, await shared_peers.open(request.param, stage.node, **shape), stage.relay.address
    )


# -- M: messages ----------------------------------------------------------------------------------


async def test_m1_a_json_object_in_a_text_payload_is_acted_upon(asker: Asker) -> None:
    identifier = fresh()
    await asker.peer.send(
        asker.address, json.dumps({"event": "relay.ping", "id": identifier, "é": "\U0001f600"})
    )
    [pong] = await asker.heard(identifier)
    assert pong["event"] == "relay.pong"


async def test_m2_a_binary_payload_holding_utf8_json_is_accepted(asker: Asker) -> None:
    identifier = fresh() + "é"
    text = json.dumps({"event": "relay.ping", "id": identifier}, ensure_ascii=False)
    await asker.peer.send(asker.address, text.encode())
    [pong] = await asker.heard(identifier)
    assert (pong["event"], pong["id"]) == ("relay.pong", identifier)


@pytest.mark.parametrize("event", ["RELAY.PING", "Relay.Ping", "rElAy.PiNg", "PING"])
async def test_m3_event_is_matched_in_any_case(asker: Asker, event: str) -> None:
    assert (await asker.call(event))["event"] == "relay.pong"


async def test_m4_unknown_fields_are_ignored(asker: Asker) -> None:
    identifier = fresh()
    req = {"path": "/api/version", "queue_pos": 5, "resume": {"have": 3}, "target": None}
    await asker.tell(event="relay.http", id=identifier, req=req, future=[1], upload_id="x", codec="zstd")
    [answer] = await asker.heard(identifier)
    assert (answer["ok"], answer["json"]["path"]) == (True, "/api/version")


@pytest.mark.parametrize(
    "event",
    [
        "relay.selfprobe",
        "resolve_tunnels",
        "relay.response.end",
        "relay.pong",
        "x",
        "",
        None,
        5,
        ["relay.ping"],
    ],
)
async def test_m5_unknown_events_are_dropped_and_counted(asker: Asker, stage: Stage, event: object) -> None:
    identifier, before = fresh(), len(stage.relay.log)
    await asker.tell(event=event, id=identifier, ts=1)
    await stage.relay.tells("reason=unknown_event", before)
    await asker.silence()
    assert asker.so_far(identifier) == []


@pytest.mark.parametrize(
    "message",
    ["", "hello", "[]", '"relay.ping"', "5", "null", '{"event":"relay.ping"', b"\xff\xfe", b"\x00" * 9],
    ids=repr,
)
async def test_m6_what_is_no_json_object_is_dropped_and_counted(
    asker: Asker, stage: Stage, message: str | bytes
) -> None:
    before, heard = len(stage.relay.log), len(asker.so_far(None))
    assert await asker.peer.send(asker.address, message) is None
    await stage.relay.tells("reason=not_json", before)
    await asker.silence()
    assert len(asker.so_far(None)) == heard


async def test_m7_answers_go_to_the_address_without_its_sub_client_prefix(
    stage: Stage, shared_peers: Peers
) -> None:
    seed = "5a" * 32
    whole = await shared_peers.open("whole", stage.node, seed=seed, identifier="who", numSubClients=2)
    part = await shared_peers.open("part", stage.node, seed=seed, identifier="__7__.who")
    hearing = Asker(shared_peers, whole, stage.relay.address)
    await part.send(stage.relay.address, '{"event":"relay.ping","id":"seven"}')
    [pong] = await hearing.heard("seven")
    assert pong["event"] == "relay.pong"
    assert part.arrived == 0


async def test_m8_an_unsealed_message_is_dropped_and_counted(
    stage: Stage, shared_peers: Peers, tmp_path: Path
) -> None:
    async with Relay(tmp_path, stage.node, stage.upstream.url) as relay:
        asker = Asker(shared_peers, await shared_peers.open("unsealed", stage.node), relay.address)
        text = json.dumps({"event": "relay.ping", "id": "unsealed"})
        await asker.peer.send(asker.address, text, encrypt=False, noReply=True)
        await asker.silence()
        assert asker.so_far("unsealed") == []
    assert " nkn_unsealed_dropped=1 " in relay.log
    assert " event_ping=2 " in relay.log


# -- E: events ------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["relay.ping", "ping"])
async def test_e1_ping_is_answered_by_pong(asker: Asker, event: str) -> None:
    identifier = fresh()
    await asker.tell(event=event, id=identifier, ts_peer=1_700_000_000_123)
    [pong] = await asker.heard(identifier)
    assert set(pong) == {"event", "id", "ts", "addr", "ts_peer"}
    assert (pong["event"], pong["addr"], pong["ts_peer"]) == ("relay.pong", asker.address, 1_700_000_000_123)
    assert pong["ts"] > 1_700_000_000_000
    heard = len(asker.so_far(None))
    await asker.tell(event=event)
    bare = (await asker.heard(None, heard + 1))[-1]
    assert set(bare) == {"event", "ts", "addr"}


@pytest.mark.parametrize("event", ["relay.info", "info"])
async def test_e2_info_tells_what_the_relay_offers(asker: Asker, event: str) -> None:
    info = await asker.call(event)
    published = {"event", "id", "ts", "addr", "services", "verify_default", "workers", "max_body_b"}
    assert set(info) == published | {"version", "protocol", "features", "limits"}
    assert (info["event"], info["addr"]) == ("relay.info", asker.address)
    assert info["services"] == ["down", "ollama", "secure"]
    assert (info["verify_default"], info["workers"], info["max_body_b"]) == (True, 4, 2_097_152)


@pytest.mark.parametrize("event", ["relay.http", "http.request", "relay.fetch"])
async def test_e3_http_is_answered_by_one_response_or_by_a_stream(asker: Asker, event: str) -> None:
    [answer] = await asker.http(event, path="/api/version")
    assert (answer["event"], answer["ok"]) == ("relay.response", True)
    stream = Stream(await asker.http(event, path="/api/chat", method="POST", json={}, stream="chunks"))
    # Counted, as they came: the network may change their order.
    assert (stream.events.count("begin"), stream.events.count("end"), stream.end["ok"]) == (1, 1, True)
    assert "relay.response" not in stream.events


async def test_e4_health_tells_of_every_target_and_echoes_the_id(asker: Asker) -> None:
    identifier = fresh()
    await asker.tell(event="relay.health", id=identifier)
    [health] = await asker.heard(identifier)
    assert set(health) == {"event", "id", "ts", "addr", "services"}
    assert (health["event"], health["id"], health["addr"]) == ("relay.health", identifier, asker.address)
    assert all(set(service) == {"name", "ok", "detail"} for service in health["services"])
    assert [(service["name"], service["ok"]) for service in health["services"]] == [
        ("down", False),
        ("ollama", True),
        ("secure", True),
    ]


# -- R: what stands in `req` ------------------------------------------------------------------------


@pytest.mark.parametrize("service", [None, "ollama", "ollama_farm", "llm"])
async def test_r1_service_and_path_with_its_default_and_aliases(
    asker: Asker, stage: Stage, service: str | None
) -> None:
    named = {} if service is None else {"service": service}
    answer = await asker.response(**named, path="/api/ps?x=%20y")
    assert (answer["status"], answer["json"]) == (200, {"path": "/api/ps", "method": "GET"})
    assert stage.upstream.last.target == "/api/ps?x=%20y"


async def test_r2_a_url_on_a_target_is_its_service_and_path(asker: Asker, stage: Stage) -> None:
    assert (await asker.response(url=f"{stage.upstream.url}/api/tags"))["json"]["path"] == "/api/tags"
    for url, code in [
        (f"{stage.upstream.url}/api/pull", "denied"),
        (f"{stage.upstream.url}/../etc", "bad_request"),
        ("http://127.0.0.1:1/api/tags", "denied"),
        ("http://169.254.169.254/latest/meta-data", "denied"),
        (f"https://{stage.upstream.origin}/api/tags", "denied"),
        (f"http://{stage.upstream.origin}@example.com/", "denied"),
    ]:
        assert (await asker.response(url=url, service="ollama", path="/api/tags"))["code"] == code, url


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [(None, "/api/tags", "GET"), ("head", "/api/tags", "HEAD"), ("POST", "/api/embed", "POST")],
)
async def test_r3_method_with_get_as_its_default(
    asker: Asker, stage: Stage, method: str | None, path: str, sent: str
) -> None:
    answer = await asker.response(path=path, **({} if method is None else {"method": method}))
    assert (answer["status"], stage.upstream.last.method) == (200, sent)


async def test_r4_headers_reach_the_upstream_but_for_those_the_relay_makes(
    asker: Asker, stage: Stage
) -> None:
    headers = {"X-API-Key": "k", "Authorization": "Bearer t", "Accept": "text/x", "X-Number": 5}
    await asker.response(
        path="/api/tags", headers={**headers, "Origin": "http://x", "Host": "y", "Cookie": "z"}
    )
    seen = stage.upstream.last.headers
    assert {name: seen.get(name.lower()) for name in headers} == {**headers, "X-Number": "5"}
    assert seen["host"] == stage.upstream.origin
    assert not {"origin", "cookie"} & set(seen)


async def test_r5_json_is_sent_as_json(asker: Asker, stage: Stage) -> None:
    value = {"model": "m", "é": [1, 2.5, None, True, "\U0001f600", 12345678901234567890]}
    await asker.response(path="/api/show", method="POST", json=value)
    assert stage.upstream.last.json == value
    assert stage.upstream.last.headers["content-type"] == "application/json"


async def test_r6_body_b64_is_sent_byte_for_byte(asker: Asker, stage: Stage) -> None:
    body = b'{"model":"m",  "raw":"\xc3\xa9"}\n'
    headers = {"Content-Type": "application/x-own"}
    encoded = base64.b64encode(body).decode()
    await asker.response(path="/api/show", method="POST", body_b64=encoded, headers=headers)
    assert (stage.upstream.last.body, stage.upstream.last.headers["content-type"]) == (
        body,
        "application/x-own",
    )


@pytest.mark.parametrize("data", ['{"model": "é"}', {"model": "é"}], ids=["text", "object"])
async def test_r7_data_is_a_body_too(asker: Asker, stage: Stage, data: object) -> None:
    await asker.response(path="/api/show", method="POST", data=data)
    assert stage.upstream.last.json == {"model": "é"}


async def test_r8_timeout_ms_is_the_longest_silence_of_a_stream_that_has_begun(asker: Asker) -> None:
    stream = await asker.stream(path="/api/chat?case=drip", timeout_ms=400)
    assert (stream.end["ok"], len(stream.lines)) == (True, 12)
    stream = await asker.stream(path="/api/chat?case=idle", timeout_ms=100)
    assert stream.lines == ['{"response":"a"}']
    assert (stream.end["ok"], stream.end["code"], stream.end["truncated"]) == (False, "timeout", True)


@pytest.mark.parametrize(("case", "stream"), [("mute", None), ("mute", "lines"), ("drip", None)])
async def test_r9_timeout_ms_is_the_total_time_otherwise(asker: Asker, case: str, stream: str | None) -> None:
    frames = await asker.http(
        path=f"/api/chat?case={case}", method="POST", json={}, timeout_ms=100, stream=stream
    )
    assert (frames[-1]["ok"], frames[-1]["code"]) == (False, "timeout")
    assert len(frames) == 1


async def test_r10_timeout_ms_is_30_s_unless_said() -> None:
    policy = Policy({"ollama": Origin.parse("http://127.0.0.1:1")})
    assert limits.TIMEOUT_MS == 30_000
    assert policy.judge({}, StreamMode(wanted=False, lines=False)).timeout_s == 30.0


async def test_r11_certificates_are_checked_unless_said(asker: Asker, stage: Stage) -> None:
    for said in ({}, {"verify": True}, {"insecure_tls": False}):
        answer = await asker.response(service="secure", path="/api/tags", **said)
        assert (answer["ok"], answer["code"]) == (False, "upstream_refused")
        assert "certificate" in answer["error"]
    assert stage.secure.visits == [] or all(
        visit.asked.target != "/api/tags" for visit in stage.secure.visits
    )


@pytest.mark.parametrize(
    "said", [{"verify": False}, {"verify": "0"}, {"insecure_tls": True}, {"insecure_tls": 1}]
)
async def test_r12_verify_false_and_insecure_tls_are_honoured(asker: Asker, said: dict[str, Any]) -> None:
    answer = await asker.response(service="secure", path="/api/ps", **said)
    assert (answer["ok"], answer["json"]["path"]) == (True, "/api/ps")


@pytest.mark.parametrize("word", sorted(STREAM_WORDS))
async def test_r14_each_word_for_a_stream_and_the_header(asker: Asker, stage: Stage, word: str) -> None:
    for said in ({"stream": word}, {"stream": word.upper()}, {"headers": {"x-relay-STREAM": word}}):
        frames = await asker.http(path="/api/tags", **said)
        events = [frame["event"] for frame in frames]  # as they came: the network may change their order
        assert (events.count("relay.response.begin"), events.count("relay.response.end")) == (1, 1)
        assert "x-relay-stream" not in stage.upstream.last.headers
    for said in ({"stream": "no"}, {"stream": False}, {"headers": {"X-Relay-Stream": "0"}}, {}):
        assert (await asker.response(path="/api/tags", **said))["ok"]
