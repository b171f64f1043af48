"""The whole line with the unmodified SDK as peer: SDK → node → relay (a process of its own) → HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest

from relay.nkn.devnode import DevNode

pytestmark = pytest.mark.node
ROOT = Path(__file__).resolve().parents[2]


class Ollamalike:
    """An HTTP server that answers as told, counts connections and sees them close."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.open = 0
        self.go_on = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            length = next(
                (int(h.split(":")[1]) for h in head.split("\r\n") if h.lower().startswith("content-length")),
                0,
            )
            body = await reader.readexactly(length)
            self.seen.append((method, path, body))
            asked = json.loads(body) if body.startswith(b"{") else {}
            answer = asyncio.create_task(self._answer(writer, path, asked))
            # A client that leaves is seen as the end of what it sends.
            gone = asyncio.create_task(reader.read(1))
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            answer.cancel()
            gone.cancel()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, path: str, asked: dict[str, Any]) -> None:
        if path == "/api/version":
            self._plain(
                writer, "application/json; charset=utf-8", b'{"version":"0.24.0","big":12345678901234567890}'
            )
        elif path == "/v1/models":
            self._plain(writer, "text/plain", b"\x00\xff not json")
        elif path == "/api/tags":
            self._plain(writer, "application/json", b'{"models":[' + b" " * 3_000_000 + b"]}")
        elif path == "/api/show":
            self._plain(writer, "application/json", b'{"error":"model \'x\' not found"}', "404 Not Found")
        else:
            await self._stream(writer, asked)
        await writer.drain()

    def _plain(self, writer: asyncio.StreamWriter, kind: str, body: bytes, status: str = "200 OK") -> None:
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def _stream(self, writer: asyncio.StreamWriter, asked: dict[str, Any]) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for index in range(asked["lines"]):
            self._chunk(writer, {"model": "m", "response": f"wörd {index} ", "done": False})
            await writer.drain()
            if asked.get("hold") == index:
                await self.go_on.wait()
            elif asked.get("hold") is None:
                await asyncio.sleep(0.002)
        self._chunk(writer, {"model": "m", "response": "", "done": True, "done_reason": "stop"})
        writer.write(b"0\r\n\r\n")

    def _chunk(self, writer: asyncio.StreamWriter, line: dict[str, Any]) -> None:
        raw = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        writer.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")


class Relay:
    """`python -m relay` as a process of its own."""

    def __init__(self, folder: Path, rpc: str, target: str, **env: str) -> None:
        self._env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("RELAY_", "NKN_"))},
            "NKN_RPC_ADDR": rpc,
            "RELAY_TARGETS": json.dumps({"ollama": target}),
            **env,
        }
        self._file = folder / "relay.env"
        self.address = ""

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", "--debug", "--env-file", str(self._file)),
            cwd=ROOT,
            env=self._env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            line = (await self.process.stdout.readline()).decode()
        assert line.startswith("→ NKN ready: relay."), line
        self.address = line.split()[-1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        self.log = (await self.process.stderr.read()).decode()
        async with asyncio.timeout(10):
            await self.process.wait()


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


@pytest.fixture
async def upstream() -> AsyncIterator[Ollamalike]:
    async with Ollamalike() as server:
        yield server


@pytest.fixture
async def node() -> AsyncIterator[str]:
    """A real node if NKN_TEST_RPC names one, else the development node."""
    real = os.environ.get("NKN_TEST_RPC")
    if real:
        yield real
        return
    async with DevNode() as started:
        yield started.rpc_url


@pytest.fixture
async def relay(tmp_path: Path, node: str, upstream: Ollamalike) -> AsyncIterator[Relay]:
    async with Relay(tmp_path, node, upstream.url, RELAY_KEEPALIVE_S="0.3") as started:
        yield started


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
