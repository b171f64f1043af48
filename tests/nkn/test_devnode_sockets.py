"""The websocket port byte by byte: what is refused, how it ends; as recorded from a real node."""

import asyncio
import json

import pytest
from nkn.devnode_raw import UPGRADE, Raw, Tcp, http, masked, quiet, rpc, told, until

from relay.nkn.devnode import DevNode, Faults
from relay.nkn.devnode import limits as own
from relay.nkn.devnode import wsframes as ws
from wire import limits


async def test_a_plain_get_is_refused_and_may_ask_again():
    async with DevNode() as node, Tcp(node) as client:
        for head in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            UPGRADE.replace(b"Sec-WebSocket-Key", b"X"),
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        ):
            refusal = await client.ask(head)
            assert refusal.startswith(
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
            )
            assert refusal.endswith(b"Content-Length: 12\r\n\r\nBad Request\n")
            assert b"Connection" not in refusal
        assert (await client.ask()).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert json.loads((await client.frame())[1])["Action"] == "authChallenge"


async def test_the_upgrade_is_answered_with_three_headers_and_frames_may_follow_at_once():
    async with DevNode() as node, Tcp(node) as client:
        answer = await client.ask(UPGRADE + masked(ws.PING, b"early"))
        assert answer == (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        assert (await client.frame())[0] == ws.TEXT
        assert await client.frame() == (ws.PONG, b"early")


async def test_what_is_no_http_is_told_so_and_closed():
    async with DevNode() as node, Tcp(node) as client:
        assert (await client.ask(b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert await client.end() == "fin"


async def test_connections_and_rpc_have_limits_of_their_own(monkeypatch):
    monkeypatch.setattr(own, "RATE_PER_S", 0.0)
    async with DevNode(faults=Faults(rate_burst=3)) as node:
        assert [(await rpc(node))[9:12] for _ in range(4)] == [b"200", b"200", b"200", b"429"]
        assert (await http(node, b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n"))[9:12] == b"429"
        async with Tcp(node) as client:
            for _ in range(3):
                assert (await client.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))[9:12] == b"400"
            refused = await client.ask()
        names = [line.partition(b":")[0] for line in refused.split(b"\r\n") if line]
        assert names == [b"HTTP/1.1 429 Too Many Requests", b"Date", b"Content-Length"]
        counted = node.statistics()
        assert (counted["rpc_limited"], counted["ws_limited"]) == (2, 1)
        node.faults = Faults()
        assert (await rpc(node))[9:12] == b"200"


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (masked(ws.CLOSE), b""),
        (masked(ws.CLOSE, (1000).to_bytes(2)), (1000).to_bytes(2)),
        (masked(ws.CLOSE, (1001).to_bytes(2) + b"bye"), (1001).to_bytes(2)),
        (masked(ws.CLOSE, (1005).to_bytes(2)), (1002).to_bytes(2) + b"invalid close code"),
        (b"\x81\x02{}", (1002).to_bytes(2) + b"incorrect mask flag"),
        (masked(ws.BINARY, b"x", reserved=0x40), (1002).to_bytes(2) + b"unexpected reserved bits 0x40"),
    ],
)
async def test_closes_are_answered_and_end_with_fin(sent, answered):
    async with DevNode() as node, Tcp(node) as client:
        await client.ask()
        await client.frame()
        client.writer.write(sent)
        assert await client.frame() == (ws.CLOSE, answered)
        assert await client.end() == "fin"
        await until(lambda: node.statistics()["sockets"] == 0)


async def test_too_large_a_frame_is_closed_with_1009_and_reset():
    async with DevNode() as node, Tcp(node) as client:
        await client.ask()
        await client.frame()
        head = masked(ws.BINARY, bytes(limits.NODE_FRAME_MAX_B + 1))[:100_000]
        client.writer.write(head)
        assert await client.frame() == (ws.CLOSE, (1009).to_bytes(2))
        assert await client.end() == "rst"


@pytest.mark.parametrize(("text", "code"), [(b'{"Action":"hear\xff"}', 42001), (b"\xff\xfe", 41003)])
async def test_text_that_is_not_utf8_is_judged_as_json(text, code):
    async with DevNode() as node, Tcp(node) as client:
        await client.ask()
        await client.frame()
        client.writer.write(masked(ws.TEXT, text))
        assert json.loads((await client.frame())[1])["Error"] == code
        client.writer.write(masked(ws.PING, b"still there"))
        assert await client.frame() == (ws.PONG, b"still there")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_client_that_vanishes_is_forgotten(how):
    async with DevNode() as node, Tcp(node) as client:
        await client.ask()
        await client.frame()
        assert node.statistics()["sockets"] == 1
        (client.writer.close if how == "fin" else client.writer.transport.abort)()
        await until(lambda: node.statistics()["sockets"] == 0)


async def test_a_stopped_node_says_no_word_to_anyone():
    node = DevNode()
    await node.start()
    async with Tcp(node) as client, Tcp(node) as undecided:
        await client.ask()
        await client.frame()
        undecided.writer.write(b"GET / HT")
        await until(lambda: node.statistics()["sockets"] == 1)
        await node.stop()
        assert await client.reader.read() == b""
        assert await undecided.reader.read() == b""


async def test_no_new_connection_is_accepted_by_a_frozen_node():
    async with DevNode(faults=Faults(frozen=True)) as node, Tcp(node) as client:
        asked = asyncio.create_task(client.ask())
        done, _ = await asyncio.wait([asked], timeout=0.03)
        assert not done
        node.faults = Faults()
        assert (await asked)[9:12] == b"101"


async def test_a_lying_seed_and_one_that_joins():
    async with DevNode(faults=Faults(rpc_addr="nowhere:1")) as node:
        assert told(await rpc(node, "getwsaddr", address="00" * 32))["result"]["addr"] == "nowhere:1"
        node.faults = Faults(rpc_failure="joining")
        assert told(await rpc(node, "getwsaddr", address="00" * 32))["error"]["code"] == -45022
        assert told(await rpc(node))["result"] == 0
        node.faults = Faults(rpc_failure="garbage")
        assert (await rpc(node)).endswith(b"<html>502 Bad Gateway</html>")


async def test_a_copy_for_one_that_came_back():
    async with DevNode() as node, Raw(node.ws_url) as alice:
        await alice.register()
        async with Raw(node.ws_url, "bob") as bob:
            await bob.register()
            await alice.send(bob, "twice", hold=60)
            assert await bob.message() == "twice"
        async with Raw(node.ws_url, "bob") as again:
            await again.register()
            assert await quiet(again)
            life = node._life
            life.board.act(life.core.advance(asyncio.get_running_loop().time() + 11.0))
            assert await again.message() == "twice"
