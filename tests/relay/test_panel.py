"""`/metrics` and `/health` of a running relay, and what its page refuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Ollamalike, Relay

from relay import panel as panels
from relay.metrics import Metrics
from relay.nkn import MultiClient
from relay.nkn.devnode import DevNode
from relay.panel import Panel
from relay.peer import Peer
from wire.errors import SettingsFault


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def raw(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    data = await reader.read()
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    return int(line.split()[1]), dict(text.split(": ", 1) for text in rest), body


async def get(port: int, path: str) -> tuple[int, str]:
    status, headers, body = await raw(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    assert int(headers["Content-Length"]) == len(body)
    return status, body.decode()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    look: Any = lambda: {"nkn": {"parts": {"a": {"ready": True}}}}  # noqa: E731
    server = await Panel(Metrics(look, 1, "0"), look, "0").open(0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_it_listens_on_loopback_alone(port: int) -> None:
    status, _ = await get(port, "/health")
    assert status == 200
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.2", port)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHOST: LocalHost:1\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: [::1]:9464\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example:9464\r\n\r\n", 403),
        (b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
    ],
)
async def test_whom_it_answers(port: int, request_: bytes, status: int) -> None:
    assert (await raw(port, request_))[0] == status


async def test_head_has_no_body(port: int) -> None:
    status, headers, body = await raw(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 100
    assert headers["Content-Type"].startswith("text/plain")


async def test_who_says_too_much_or_nothing_is_cut_and_others_are_answered(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels, "_PATIENCE_S", 0.2)
    for request in (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, b"GET /"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    assert (await get(port, "/health"))[0] == 200


async def test_not_more_than_so_many_at_once(port: int) -> None:
    crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(panels._AT_ONCE)]
    await asyncio.sleep(0.05)
    with pytest.raises((OSError, IndexError)):
        await raw(port, b"GET /health HTTP/1.1\r\n\r\n")
    for _, writer in crowd:
        writer.close()
    async with asyncio.timeout(10):
        while True:
            try:
                assert (await get(port, "/health"))[0] == 200
                break
            except (OSError, IndexError):
                await asyncio.sleep(0.02)


async def test_a_port_that_is_taken_is_a_sentence(port: int) -> None:
    with pytest.raises(SettingsFault, match=f"RELAY_METRICS_PORT: 127.0.0.1:{port} cannot be listened on"):
        await Panel(Metrics(dict, 1, "0"), dict, "0").open(port)


async def test_a_relay_on_a_taken_port_ends_with_2_and_that_sentence(tmp_path: Path, port: int) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "--env-file", str(tmp_path / "env")),
        cwd=ROOT,
        env=os.environ | {"NKN_RPC_ADDR": "http://127.0.0.1:9", "RELAY_METRICS_PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    assert (child.returncode, out) == (2, b"")
    assert err.decode().splitlines()[-1].startswith("RELAY_METRICS_PORT: ")
    assert b"Traceback" not in err


async def test_a_request_over_nkn_is_counted_and_a_lost_network_is_503(
    tmp_path: Path, upstream: Ollamalike
) -> None:
    port = free_port()
    async with (
        DevNode() as node,
        Relay(tmp_path, node.rpc_url, upstream.url, RELAY_METRICS_PORT=str(port)) as relay,
        MultiClient(num_sub_clients=2, rpc_server_addr=[node.rpc_url]) as client,
    ):
        await client.wait_connected(10)
        peer = Peer(relay.address, client)
        asked: dict[str, Any] = {
            "path": "/api/generate", "method": "POST", "json": {"model": "m", "prompt": "s3cret wörd"},
        }  # fmt: skip
        assert len([piece async for piece in peer.request(asked)]) == 4
        await relay.tells("end      tag=1 code=ok")
        status, text = await get(port, "/metrics")
        assert status == 200
        for line in (
            'relay_requests_total{outcome="ok"} 1.0',
            "relay_requests_running 0.0",
            'relay_nkn_links{state="up"} 3.0',
            "relay_first_line_seconds_count 1.0",
            'relay_events_total{event="http"} 1.0',
        ):
            assert line in text, text
        assert "s3cret" not in text + relay.log
        assert client.get_public_key()[:8] not in text
        sent = next(line for line in text.splitlines() if line.startswith("relay_frames_sent_total"))
        assert float(sent.split()[1]) >= 3
        assert "first    tag=1 s=0." in relay.log

        status, told = await get(port, "/health")
        assert (status, json.loads(told)["status"]) == (200, "connected")
        assert relay.address not in told
        await node.__aexit__(None, None, None)
        async with asyncio.timeout(20):
            while (await get(port, "/health"))[0] == 200:
                await asyncio.sleep(0.05)
        status, told = await get(port, "/health")
        assert (status, json.loads(told)["nkn"]) == (503, {"up": 0, "down": 3})


async def test_without_the_setting_nothing_listens(relay: Relay) -> None:
    listening = Path("/proc/net/tcp")
    if not listening.exists():
        pytest.skip("needs /proc")
    listing = subprocess.run(["ls", "-l", f"/proc/{relay.process.pid}/fd"], capture_output=True, text=True)
    inodes = set(re.findall(r"socket:\[\d+\]", listing.stdout))
    assert inodes
    rows = [line.split() for line in listening.read_text().splitlines()[1:]]
    assert not {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"} & inodes
