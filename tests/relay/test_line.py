"""The whole line in Python: `relay ask|ping|info` and `Peer`, through a relay on the development node."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Ollamalike, Relay
from scripted import NDJSON, Scripted, Visit

from relay import peer as relay_peer
from relay.nkn import MultiClient, NknTimeoutError
from relay.nkn.devnode import DevNode, Faults
from relay.peer import Peer, PeerError, connect, text_of
from relay.reader import Piece
from wire import limits

NOBODY = "relay.8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"


async def command(*words: str, **env: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `python -m relay …`."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", *words),
        cwd=ROOT,
        env=os.environ | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    return child.returncode or 0, out.decode(), err.decode()


async def test_ask_prints_the_words_and_what_it_took(relay: Relay, node: str) -> None:
    code, out, err = await command("ask", relay.address, "hello", "--rpc", node, "--model", "m")
    assert (code, err) == (0, "")
    words, _, table = out.partition("\n")
    assert words == "wörd 0 wörd 1 wörd 2 "
    assert "lines in frames     4 in" in table
    assert "ok=true done_seen=true" in table


async def test_ask_takes_the_first_model_there_is(relay: Relay, node: str, upstream: Ollamalike) -> None:
    upstream.models = [{"name": "first"}, {"name": "second"}]
    code, out, _ = await command("ask", relay.address, "hello", "--rpc", node, "--quiet")
    assert (code, out) == (0, "wörd 0 wörd 1 wörd 2 \n")
    assert json.loads(upstream.seen[-1][2])["model"] == "first"


async def test_ask_says_that_there_is_no_model(relay: Relay, node: str, upstream: Ollamalike) -> None:
    upstream.models = []
    code, _, err = await command("ask", relay.address, "hello", "--rpc", node)
    assert code == 1
    assert "has no model; pull one there" in err


async def test_ask_tells_an_answer_that_is_not_whole(tmp_path: Path, node: str, upstream: Ollamalike) -> None:
    async with Relay(tmp_path, node, "http://127.0.0.1:9") as relay:
        code, _, err = await command("ask", relay.address, "x", "--rpc", node, "--model", "m")
    assert code == 1
    assert "upstream_refused" in err


HOSTILE_LINES = [
    rb'{"response":"\u001b[2J\u001b]0;x\u0007a\rb\u009b1m\n\tc"}',
    rb'{"response":" half \ud83d of a letter"}',
    rb'["\"done\":true","done":true',
    b'[{"done":true}]',
    b'{"done":true,' + b'"x":[' * 50_000,
    b'{"response":"","done":true,"eval_count":"x","eval_duration":"y"}',
]


async def test_ask_prints_nothing_that_a_terminal_would_obey_and_lives_through_any_line(
    tmp_path: Path, node: str
) -> None:
    async def hostile(visit: Visit) -> None:
        await visit.whole(NDJSON, *(line + b"\n" for line in HOSTILE_LINES))

    async with Scripted({"": hostile}) as upstream, Relay(tmp_path, node, upstream.url) as relay:
        words = ("ask", relay.address, "x", "--rpc", node, "--model", "\x1b[31mm")
        code, out, err = await command(*words)
    assert (code, err) == (0, "")
    assert out.startswith("[2J]0;xab1m\n\tc half  of a letter\n  model")
    assert not set("\x1b\x07\x9b") & set(out)


async def test_ask_ends_without_a_word_when_nobody_reads_on(relay: Relay, node: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "ask", relay.address, "x", "--rpc", node, "--model", "m"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    child.stdout._transport.close()
    assert (await child.stderr.read()).decode() == ""
    assert await child.wait() == 1


async def test_ctrl_c_in_the_middle_frees_the_upstream(
    relay: Relay, node: str, upstream: Ollamalike, tmp_path: Path
) -> None:
    upstream.hold = 1
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "ask", relay.address, "x", "--rpc", node, "--model", "m"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert await child.stdout.read(4) != b""
    assert upstream.open == 1
    child.send_signal(signal.SIGINT)
    assert await child.wait() == 130
    async with asyncio.timeout(10):
        while upstream.open:
            await asyncio.sleep(0.01)


async def test_on_a_terminal_ask_tells_what_it_waits_for(
    tmp_path: Path, node: str, upstream: Ollamalike
) -> None:
    upstream.late = True
    terminal, theirs = pty.openpty()
    async with Relay(tmp_path, node, upstream.url, RELAY_KEEPALIVE_S="0.2") as relay:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", "ask", relay.address, "x", "--rpc", node, "--model", "m"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        while b"s loading" not in shown:
            shown += await asyncio.to_thread(os.read, terminal, 1024)
        upstream.go_on.set()
        out, _ = await child.communicate()
    assert out.decode().startswith("wörd 0 wörd 1 wörd 2 ")
    assert os.read(terminal, 1024).endswith(b"\r\x1b[K")
    os.close(terminal)


async def test_ping_and_info(relay: Relay, node: str) -> None:
    code, out, _ = await command("ping", relay.address, "--rpc", node, "--count", "2")
    assert code == 0
    assert out.count("pong") == 2
    assert "p50" in out
    code, out, _ = await command("info", relay.address, "--rpc", node)
    facts = json.loads(out)
    assert (code, facts["services"], facts["protocol"]) == (0, ["ollama"], 1)
    assert "cancel" in facts["features"]


async def _sixty(visit: Visit) -> None:
    await visit.head()
    for number in range(60):
        await visit.chunk(b'{"response":"w%d ","done":false}\n' % number)
        await asyncio.sleep(0.02)
    await visit.rest(b'{"response":"","done":true}\n')


@pytest.mark.parametrize("loss", [0.1, 0.4])
async def test_ask_prints_every_word_once_over_a_network_that_loses(tmp_path: Path, loss: float) -> None:
    async with (
        DevNode() as node,
        Scripted({"": _sixty}) as upstream,
        Relay(tmp_path, node.rpc_url, upstream.url, RELAY_KEEPALIVE_S="1") as relay,
    ):
        node.faults = Faults(loss=loss, duplicate=0.05, reorder=0.1, reorder_ms=50)
        words = ("ask", relay.address, "x", "--rpc", node.rpc_url, "--model", "m", "--quiet")
        code, out, err = await command(*words)
        lost = node.statistics()["lost"]
    assert (code, err) == (0, "")
    assert out == "".join(f"w{number} " for number in range(60)) + "\n"
    assert len(upstream.visits) == 1
    assert lost > 0


async def test_a_seed_file_is_made_once_and_is_the_same_peer_again(
    relay: Relay, node: str, tmp_path: Path
) -> None:
    file = tmp_path / "me.seed"
    for _ in range(2):
        code, _, _ = await command(
            "ping", relay.address, "--rpc", node, "--count", "1", "--seed-file", str(file)
        )
        assert code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text().strip()) == 64


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ask", "nonsense", "x"], "is no NKN address"),
        (["ping", NOBODY, "--seed-file", "/proc/none/seed"], "/proc/none/seed"),
        (["--env-file", "/proc/none/env"], "cannot be made"),
    ],
)
async def test_what_cannot_be_used_ends_with_exit_code_2_and_a_sentence(words: list[str], said: str) -> None:
    code, _, err = await command(*words)
    assert (code, "Traceback" in err) == (2, False)
    assert said in err


async def test_every_mistake_in_env_is_one_line_that_names_its_key(tmp_path: Path) -> None:
    file = tmp_path / "broken.env"
    file.write_text("NKN_SEED_HEX=abc\nRELAY_WORKERS=many\nRELAY_TARGETS=[]\n")
    file.chmod(0o600)
    code, out, err = await command("--env-file", str(file))
    assert (code, out) == (2, "")
    assert sorted(line.partition(":")[0] for line in err.splitlines()) == [
        "NKN_SEED_HEX",
        "RELAY_TARGETS",
        "RELAY_WORKERS",
    ]


async def test_a_relay_without_network_says_so_goes_on_trying_and_ends_on_sigterm(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "--env-file", str(tmp_path / "env")),
        cwd=ROOT,
        env=os.environ | {"NKN_RPC_ADDR": "http://127.0.0.1:9"},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stderr is not None
    assert b"made" in await child.stderr.readline()
    failed = (await child.stderr.readline()).decode()
    assert "127.0.0.1:9" in failed
    assert "trying again" in failed
    child.terminate()
    assert await child.wait() == 0


async def test_the_env_file_is_never_overwritten(tmp_path: Path, node: str, upstream: Ollamalike) -> None:
    async with Relay(tmp_path, node, upstream.url) as first:
        made = (tmp_path / "relay.env").read_text()
    async with Relay(tmp_path, node, upstream.url) as second:
        assert second.address == first.address
    assert (tmp_path / "relay.env").read_text() == made


async def test_a_stranger_gets_no_sign_of_life_and_an_allowed_peer_does(
    tmp_path: Path, node: str, upstream: Ollamalike
) -> None:
    options: dict[str, Any] = {"rpc_server_addr": [node], "response_timeout": 0.5}
    async with MultiClient(**options) as friend, MultiClient(**options) as stranger:
        await asyncio.gather(friend.wait_connected(10), stranger.wait_connected(10))
        heard: list[Any] = []
        stranger.on_message(heard.append)
        async with Relay(tmp_path, node, upstream.url, RELAY_ALLOW_PEERS=friend.addr) as relay:
            assert (await Peer(relay.address, friend).call("relay.ping"))["addr"] == relay.address
            for event in ("relay.ping", "relay.info", "relay.health", "nonsense"):
                with pytest.raises(NknTimeoutError):
                    await stranger.send(relay.address, json.dumps({"event": event, "id": "1"}))
    assert heard == []
    assert "reason=stranger" in relay.log


async def test_a_peer_has_many_answers_at_once(relay: Relay, node: str) -> None:
    async with MultiClient(num_sub_clients=2, rpc_server_addr=[node]) as client:
        await client.wait_connected(10)
        peer = Peer(relay.address, client)

        async def one(lines: int) -> list[str]:
            request: dict[str, Any] = {"path": "/api/generate", "method": "POST", "json": {"lines": lines}}
            return [text_of(piece) async for piece in peer.request(request)]

        answers = await asyncio.gather(*(one(count) for count in (1, 2, 3, 40)))
    assert [len(answer) for answer in answers] == [2, 3, 4, 41]


async def test_a_relay_that_is_not_there_is_a_sentence(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ASK_SILENCE_S", 0.05)
    client = await connect(None, [node])
    try:
        peer = Peer(NOBODY, client)
        with pytest.raises(PeerError, match="Is the relay running there"):
            await peer.call("relay.ping", timeout=0.05)
        with pytest.raises(PeerError, match="RELAY_ALLOW_PEERS"):
            [piece async for piece in peer.request({"path": "/"})]
    finally:
        await client.close()


async def test_no_node_is_a_sentence() -> None:
    with pytest.raises(PeerError, match="no NKN node was reached"):
        await relay_peer.connect(None, ["http://127.0.0.1:9"], timeout=0.2)


@pytest.mark.parametrize("line", ["", "no json", "[]", '{"response":5}', '{"message":{"content":null}}'])
def test_a_line_without_words_has_none(line: str) -> None:
    assert text_of(Piece(1, line=line)) == ""
