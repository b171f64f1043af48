"""docs/protocol.md, table "Conformance", rows S and P: what the owner sets and allows, met by the SDK."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from harness import ROOT, Relay, running_node
from interop.conformance import Asker, Stream, fresh
from interop.sdk import Peers
from scripted import Scripted, Visit

from relay.nkn.address import client_id
from relay.nkn.devnode import DevNode, Ring, certificate
from relay.nkn.identity import Identity
from relay.policy import INFERENCE, READING
from relay.settings import KEYS

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="module")]

FRIEND = "f1" * 32
PUBLISHED = {
    "NKN_NUM_SUBCLIENTS": "2",
    "RELAY_WORKERS": "4",
    "RELAY_MAX_BODY_B": "2097152",
    "RELAY_VERIFY_DEFAULT": "1",
    "RELAY_TARGETS": '{"ollama":"http://127.0.0.1:8080"}',
    "NKN_BRIDGE_SEED_WS": "",
}
"""Keys and defaults of the published contract, beside NKN_SEED_HEX."""


async def _hold(visit: Visit) -> None:
    await visit.head()
    await visit.chunk(b'{"response":"a"}\n')
    await visit.go_on.wait()
    await visit.rest(b'{"done":true}\n')


async def _large(visit: Visit) -> None:
    await visit.whole("application/json", b'"' + b"x" * 2_000 + b'"')


@dataclass
class Stage:
    node: str
    upstream: Scripted
    secure: Scripted


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    context, _ = certificate.make("127.0.0.1")
    scripts = {"hold": _hold, "large": _large}
    async with running_node() as node, Scripted(scripts) as upstream, Scripted(tls=context) as secure:
        yield Stage(node, upstream, secure)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain(stage: Stage, shared_peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A peer of a relay whose owner set nothing but where things are."""
    async with Relay(tmp_path_factory.mktemp("plain"), stage.node, stage.upstream.url) as relay:
        yield Asker(
            shared_peers, await shared_peers.open("plain", stage.node, numSubClients=2), relay.address
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(stage: Stage, shared_peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The one friend of a relay whose owner set everything."""
    settings = {
        "NKN_SEED_HEX": "5e" * 32,
        "NKN_NUM_SUBCLIENTS": "0",
        "NKN_IDENTIFIER": "gpu.lab",
        "NKN_RPC_ADDR": f"http://127.0.0.1:9,{stage.node}",
        "RELAY_WORKERS": "2",
        "RELAY_PEER_STREAMS": "1",
        "RELAY_QUEUE": "2",
        "RELAY_MAX_BODY_B": "1000",
        "RELAY_KEEPALIVE_S": "0.2",
        "RELAY_VERIFY_DEFAULT": "0",
        "RELAY_ALLOW_UNVERIFIED": "0",
        "RELAY_TARGETS": json.dumps({"llm": stage.upstream.url, "secure": stage.secure.url}),
        "RELAY_ALLOW_PEERS": Identity(bytes.fromhex(FRIEND)).public_key.hex(),
        "RELAY_ALLOW_ADMIN": "llm",
    }
    async with Relay(tmp_path_factory.mktemp("strict"), stage.node, "", **settings) as relay:
        friend = await shared_peers.open("friend", stage.node, seed=FRIEND)
        yield Asker(shared_peers, friend, relay.address)


# -- S: settings ----------------------------------------------------------------------------------


async def test_s1_the_published_keys_have_their_published_defaults(
    stage: Stage, shared_peers: Peers, tmp_path: Path
) -> None:
    async with Relay(tmp_path, stage.node, "", RELAY_TARGETS="") as relay:
        made = dict(
            line.split("=", 1) for line in relay.file.read_text().splitlines() if line and line[0] != "#"
        )
        seed = made.pop("NKN_SEED_HEX")
        assert relay.address == f"relay.{Identity(bytes.fromhex(seed)).public_key.hex()}"
        assert {key: made[key] for key in PUBLISHED} == PUBLISHED
        assert set(made) <= set(KEYS)
        asker = Asker(shared_peers, await shared_peers.open("defaults", stage.node), relay.address)
        info = await asker.call("relay.info")
        assert (info["workers"], info["max_body_b"], info["verify_default"]) == (4, 2_097_152, True)
        assert info["services"] == ["ollama"]
        for part in ("", "__0__.", "__1__."):
            assert await asker.peer.send(f"{part}{relay.address}", '{"event":"relay.ping"}') is None


async def test_s2_every_key_is_heeded(strict: Asker, stage: Stage, shared_peers: Peers) -> None:
    info = await strict.call("relay.info")
    address = f"gpu.lab.{Identity(bytes.fromhex('5e' * 32)).public_key.hex()}"
    assert (info["addr"], strict.address) == (address, address)
    assert (info["services"], info["workers"], info["max_body_b"]) == (["llm", "secure"], 2, 1_000)
    assert (info["verify_default"], info["limits"]["keepalive_s"]) == (False, 0.2)
    assert (info["limits"]["peer_streams"], info["limits"]["queue"]) == (1, 2)
    assert (await strict.response(path="/api/show?case=large", method="POST", json={}))["truncated"]
    stranger = await shared_peers.open("stranger", stage.node, responseTimeout=300)
    with pytest.raises(Peers.Error):
        await stranger.send(strict.address, '{"event":"relay.ping"}')


async def test_s3_a_key_has_its_share_and_the_rest_waits_or_is_refused(strict: Asker, stage: Stage) -> None:
    ids = [fresh() for _ in range(3)]
    for identifier in ids:
        req = {"path": "/api/chat?case=hold", "method": "POST", "json": {}, "stream": "chunks"}
        await strict.tell(event="relay.http", id=identifier, req=req)
        if identifier == ids[0]:
            await strict.lines(identifier, 1)
    alive = await strict.first(ids[1], "relay.response.keepalive")
    assert (alive["state"], alive["position"]) == ("queued", 1)
    [refused] = await strict.whole(ids[2])
    assert (refused["ok"], refused["code"]) == (False, "busy")
    assert refused["retry_after_ms"] > 0
    for identifier in ids[:2]:
        await strict.lines(identifier, 1)
        stage.upstream.visits[-1].go_on.set()
        assert Stream(await strict.whole(identifier)).end["ok"]


async def test_s4_bridge_nodes_come_before_any_rpc(shared_peers: Peers, stage: Stage, tmp_path: Path) -> None:
    async with DevNode() as node:
        bridge = f"ws://127.0.0.1:9,{node.ws_url}"
        async with Relay(
            tmp_path, "http://127.0.0.1:9", stage.upstream.url, NKN_BRIDGE_SEED_WS=bridge
        ) as relay:
            asker = Asker(shared_peers, await shared_peers.open("bridge", node.rpc_url), relay.address)
            assert (await asker.call("relay.ping"))["event"] == "relay.pong"


async def test_s5_the_answer_of_a_wrong_node_is_followed(
    shared_peers: Peers, stage: Stage, tmp_path: Path
) -> None:
    seed = next(
        seed
        for seed in (f"{number:064x}" for number in range(1, 99))
        if client_id(f"relay.{Identity(bytes.fromhex(seed)).public_key.hex()}")[0] >= 0x80
    )
    ring = Ring(os.urandom)
    async with (
        DevNode(ring=ring, node_id=b"\x00" * 32) as wrong,
        DevNode(ring=ring, node_id=b"\x80" + b"\x00" * 31) as right,
        Relay(
            tmp_path,
            "http://127.0.0.1:9",
            stage.upstream.url,
            NKN_SEED_HEX=seed,
            NKN_NUM_SUBCLIENTS="0",
            NKN_BRIDGE_SEED_WS=wrong.ws_url,
        ) as relay,
    ):
        assert f"connected {right.ws_url}" in relay.log
        asker = Asker(shared_peers, await shared_peers.open("ring", wrong.rpc_url), relay.address)
        assert (await asker.call("relay.ping"))["event"] == "relay.pong"


async def test_s6_env_is_made_for_its_owner_alone_and_never_overwritten(stage: Stage, tmp_path: Path) -> None:
    async with Relay(tmp_path, stage.node, stage.upstream.url) as first:
        made = first.file.read_bytes()
        assert stat.S_IMODE(first.file.stat().st_mode) == 0o600
    first.file.write_bytes(made + b"# mine\n")
    async with Relay(tmp_path, stage.node, stage.upstream.url) as second:
        assert second.address == first.address
    assert first.file.read_bytes() == made + b"# mine\n"
    seeds = {made.partition(b"NKN_SEED_HEX=")[2][:64]}
    (tmp_path / "other").mkdir()
    async with Relay(tmp_path / "other", stage.node, stage.upstream.url) as other:
        seeds.add(other.file.read_bytes().partition(b"NKN_SEED_HEX=")[2][:64])
    assert len(seeds) == 2


async def test_s7_a_mistake_is_one_line_that_names_its_key_and_exit_code_2(tmp_path: Path) -> None:
    code, out, err = await start(tmp_path, "".join(f"{key}=\x07?\n" for key in KEYS))
    assert (code, out) == (2, "")
    assert sorted(line.partition(":")[0] for line in err.splitlines()) == sorted(KEYS)


async def start(folder: Path, env: str) -> tuple[int | None, str, str]:
    """Exit code and output of a relay with this `.env`, which keeps it from starting."""
    file = folder / "broken.env"
    file.write_text(env)
    file.chmod(0o600)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "--env-file", str(file)),
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key not in KEYS},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    return child.returncode, out.decode(), err.decode()


# -- P: permissions --------------------------------------------------------------------------------

ALLOWED = [
    *(("GET", path) for path in sorted(READING)),
    *(("HEAD", path) for path in sorted(READING)),
    *(("POST", path) for path in sorted(INFERENCE)),
    ("GET", "/v1/models/smollm2:135m"),
]
PUBLISHED_PATHS = {
    "/", "/api/version", "/api/tags", "/api/ps", "/api/show", "/api/generate", "/api/chat", "/api/embed",
    "/api/embeddings", "/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings",
    "/v1/responses", "/v1/messages",
}  # fmt: skip
DENIED = [
    ("POST", "/api/pull"),
    ("POST", "/api/push"),
    ("POST", "/api/create"),
    ("POST", "/api/copy"),
    ("DELETE", "/api/delete"),
    ("POST", "/api/blobs/sha256:0123"),
    ("POST", "/api/me"),
    ("POST", "/api/signout"),
    ("POST", "/api/experimental/web_search"),
    ("POST", "/v1/audio/transcriptions"),
    ("GET", "/metrics"),
]


async def test_p1_reading_and_inference_are_allowed(plain: Asker, stage: Stage) -> None:
    assert {path for _, path in ALLOWED} >= PUBLISHED_PATHS
    for method, path in ALLOWED:
        body = {"json": {"model": "m", "stream": False}} if method == "POST" else {}
        answer = await plain.response(method=method, path=path, **body)
        assert (answer["ok"], answer["status"]) == (True, 200), path
        assert (stage.upstream.last.method, stage.upstream.last.target) == (method, path)


@pytest.mark.parametrize(("method", "path"), DENIED)
async def test_p2_what_changes_the_machine_or_spends_the_account_is_refused(
    plain: Asker, stage: Stage, method: str, path: str
) -> None:
    before = len(stage.upstream.visits)
    answer = await plain.response(method=method, path=path, json={"name": "m"})
    assert (answer["ok"], answer["status"], answer["code"]) == (False, 403, "denied")
    assert path in answer["error"]
    assert "RELAY_ALLOW_ADMIN=ollama" in answer["error"]
    assert len(stage.upstream.visits) == before


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "qwen3-coder:480B-CLOUD", "x:cloud"])
async def test_p3_models_in_the_cloud_are_refused(plain: Asker, name: str) -> None:
    for path, field in (("/api/chat", "model"), ("/v1/chat/completions", "model"), ("/api/show", "name")):
        answer = await plain.response(method="POST", path=path, json={field: name})
        assert (answer["status"], answer["code"]) == (403, "denied")
        assert "account" in answer["error"]


async def test_p4_the_owner_can_allow_all_of_it(strict: Asker, stage: Stage) -> None:
    for method, path in DENIED:
        answer = await strict.response(method=method, path=path, json={"name": "x:cloud"})
        assert (answer["ok"], answer["json"]["path"]) == (True, path)
    answer = await strict.response(service="secure", method="POST", path="/api/pull", json={})
    assert (answer["code"], stage.upstream.last.target) == ("denied", DENIED[-1][1])


@pytest.mark.parametrize("said", [{"verify": False}, {"insecure_tls": True}])
async def test_r13_an_unverified_target_is_refused_where_the_owner_says_so(
    strict: Asker, stage: Stage, said: dict[str, Any]
) -> None:
    answer = await strict.response(service="secure", path="/api/tags", **said)
    assert (answer["ok"], answer["status"], answer["code"]) == (False, 403, "denied")
    assert "RELAY_ALLOW_UNVERIFIED=0" in answer["error"]
    answer = await strict.response(service="secure", path="/api/tags", verify=True)
    assert (answer["code"], stage.secure.visits) == ("upstream_refused", [])


async def test_r15_a_target_cannot_have_credentials(tmp_path: Path) -> None:
    target = '{"ollama":"https://owner:s3cret@127.0.0.1:1"}'
    code, out, err = await start(tmp_path, f"NKN_SEED_HEX={FRIEND}\nRELAY_TARGETS={target}\n")
    assert (code, out) == (2, "")
    assert err == "RELAY_TARGETS: 'ollama': must not hold a user name or password\n"
