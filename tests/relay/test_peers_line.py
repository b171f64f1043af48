"""Over the whole line: rights that change, requests in pieces, peers that vanish or do not keep up."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from harness import ROOT, Ollamalike, Relay

from relay.nkn.devnode import DevNode, Faults
from relay.peer import Peer, PeerError, connect


@dataclass
class Listener:
    """An upstream that keeps what it was sent, says a line, and goes on for as long as somebody reads."""

    bodies: list[bytes] = field(default_factory=list)
    line: bytes = b'{"response":"a"}\n'
    endless: bool = False
    written: int = 0
    left: int = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.bodies.append(body)
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            await answer.prepare(request)
            while self.endless and b'"short"' not in body:
                await answer.write(self.line)
                self.written += len(self.line)
                await asyncio.sleep(0.005)
            await answer.write(self.line + b'{"done":true}\n')
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            raise
        return answer


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/{path:.*}", made.serve)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"  # type: ignore[attr-defined]
    yield made
    await runner.cleanup()


async def until(fact: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not fact():
            await asyncio.sleep(0.02)


def ask(peer: Peer, **json_: Any) -> Any:
    return peer.request({"path": "/api/chat", "method": "POST", "json": {"model": "m", **json_}})


async def lines(answer: Any) -> list[str]:
    return [piece.line async for piece in answer]


# -- rights -----------------------------------------------------------------------------------


async def test_the_owners_file_is_read_again_on_sighup_and_no_stream_ends(
    tmp_path: Path, node: str, upstream: Ollamalike
) -> None:
    peers = tmp_path / "peers.toml"
    async with await connect(None, [node]) as client:
        key = client.addr.rpartition(".")[2]
        peers.write_text(f'[peers.me]\nkey = "{key}"\nmodels = ["m"]\n')
        async with Relay(tmp_path, node, upstream.url, RELAY_POLICY="peers.toml") as relay:
            peer = Peer(relay.address, client)
            upstream.hold = 0
            running = asyncio.create_task(lines(ask(peer)))
            await until(lambda: upstream.seen)
            refused = ask(peer, model="other")
            assert await lines(refused) == []
            assert (refused.reader.end["code"], refused.reader.end["scope"]) == ("denied", "model")

            peers.write_text(f'[peers.me]\nkey = "{key}"\nmodels = ["other"]\n')
            relay.process.send_signal(signal.SIGHUP)
            await relay.tells("the rights of peers are as it says")
            refused = ask(peer)
            assert await lines(refused) == []
            assert refused.reader.end["scope"] == "model"

            peers.write_text("[peers.me]\nkey = 5\n")
            relay.process.send_signal(signal.SIGHUP)
            await relay.tells("the rights of peers stay as they were")
            assert "RELAY_POLICY, peers.me.key" in relay.log
            upstream.go_on.set()
            assert len(await running) == 4
            assert len(await lines(ask(peer, model="other"))) == 4


@pytest.mark.parametrize("text", [None, "x", "[default]\nrunning = -1"])
async def test_a_file_that_cannot_be_used_ends_the_start(tmp_path: Path, node: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / "peers.toml").write_text(text)
    relay = Relay(tmp_path, node, "http://127.0.0.1:9", RELAY_POLICY="peers.toml")
    with pytest.raises(AssertionError, match="RELAY_POLICY"):
        await relay.__aenter__()
    assert await relay.process.wait() == 2
    await relay.__aexit__()


# -- a relay that is killed ---------------------------------------------------------------------


async def test_a_killed_relay_is_back_at_its_address_and_the_peer_is_told(
    tmp_path: Path, node: str, listener: Listener
) -> None:
    listener.endless = True
    async with await connect(None, [node]) as client:
        async with Relay(tmp_path, node, listener.url) as relay:
            address, peer = relay.address, Peer(relay.address, client)
            answer = ask(peer)
            running = asyncio.create_task(lines(answer))
            await until(lambda: answer.reader.have > 3)
            relay.process.kill()
            await relay.process.wait()
        async with Relay(tmp_path, node, listener.url) as again:
            assert again.address == address
            assert (await peer.call("relay.ping"))["addr"] == address
            with pytest.raises(PeerError, match="was it restarted"):
                await running
            await until(lambda: listener.left == 1)


# -- requests in pieces -----------------------------------------------------------------------


@pytest.mark.parametrize("loss", [0.0, 0.15, 0.4])
async def test_a_request_of_megabytes_arrives_whole(tmp_path: Path, listener: Listener, loss: float) -> None:
    words = "ä" * 1_000_000
    faults = Faults(loss=loss, delay_ms=5, jitter_ms=5)
    async with (
        DevNode(faults=faults) as node,
        Relay(tmp_path, node.rpc_url, listener.url) as relay,
        await connect(None, [node.rpc_url]) as client,
    ):
        peer = Peer(relay.address, client)
        assert await lines(ask(peer, words=words)) == ['{"response":"a"}', '{"done":true}']
    assert [json.loads(body)["words"] for body in listener.bodies] == [words]


# -- peers that vanish, and peers that do not keep up ------------------------------------------


async def asking(relay: Relay, rpc: str) -> asyncio.subprocess.Process:
    """A peer in a process of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "ask", relay.address, "x", "--rpc", rpc, "--model", "m"),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def test_a_peer_that_is_killed_frees_the_upstream(
    tmp_path: Path, node: str, listener: Listener
) -> None:
    listener.endless = True
    async with Relay(tmp_path, node, listener.url, RELAY_KEEPALIVE_S="1") as relay:
        child = await asking(relay, node)
        await until(lambda: listener.written > 200)
        child.kill()
        await child.wait()
        await until(lambda: listener.left == 1, 40)
        await relay.tells("peer_gone")


async def test_a_stopped_peer_holds_its_own_upstream_and_nobody_elses_and_goes_on_with_every_line(
    tmp_path: Path, node: str, listener: Listener
) -> None:
    """What a phone does that looks away for a moment: nothing is read, and then all of it."""
    listener.endless, listener.line = True, b'{"response":"' + b"x" * 20_000 + b'"}\n'
    async with Relay(tmp_path, node, listener.url) as relay:
        child = await asking(relay, node)
        await until(lambda: listener.written > 200_000)
        child.send_signal(signal.SIGSTOP)
        at = -1
        async with asyncio.timeout(20):
            while at != listener.written:
                at = listener.written
                await asyncio.sleep(1)
        async with await connect(None, [node]) as client:
            other = Peer(relay.address, client)
            for _ in range(5):
                assert len(await lines(ask(other, model="short"))) == 2
        child.send_signal(signal.SIGCONT)
        await until(lambda: listener.written > at + 1_000_000)
        child.terminate()
        await child.wait()
