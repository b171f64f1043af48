"""The node's sockets and timers, spoken to by raw clients."""

import asyncio
import contextlib
import json
import os
import ssl
from dataclasses import replace

import pytest
from nkn.devnode_raw import Raw, http, quiet, rpc, told, until
from websockets.exceptions import ConnectionClosed

from relay.nkn.devnode import DevNode, Faults, PortTaken, Ring, Times
from relay.nkn.devnode import limits as own
from relay.nkn.devnode.core import NodeCore
from relay.nkn.devnode.switchboard import Switchboard
from wire import limits

# -- HTTP ------------------------------------------------------------------------------------


async def test_rpc_answers_and_closes():
    async with DevNode() as node:
        head, _, body = (await rpc(node)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Access-Control-Allow-Origin: *" in head
        assert b"Connection: close" in head
        assert json.loads(body)["result"] == 0


async def test_preflight_is_answered_with_cors_headers():
    async with DevNode() as node:
        head, _, body = (
            await http(node, b"OPTIONS / HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n")
        ).partition(b"\r\n\r\n")
        assert b"Access-Control-Allow-Headers: Origin, X-Requested-With, Content-Type, Accept" in head
        assert body == b""


async def test_bodies_may_be_chunked_and_announced():
    async with DevNode() as node:
        request = (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
            b"4\r\nnull\r\n0\r\n\r\n"
        )
        answer = await http(node, request)
        assert b"INVALID METHOD" in answer
        reader, writer = await asyncio.open_connection(*node.rpc_url.removeprefix("http://").split(":"))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"null")
        assert b"INVALID METHOD" in await reader.read()
        writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "status", "body"),
    [
        (b"hello\r\n\r\n", b"400 Bad Request", b"400 Bad Request"),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
            b"400 Bad Request: missing required Host header",
            b"400 Bad Request: missing required Host header",
        ),
    ],
    ids=["no-http", "no-host"],
)
async def test_what_is_no_request_is_told_so(request_bytes, status, body):
    async with DevNode() as node:
        assert await http(node, request_bytes) == (
            b"HTTP/1.1 "
            + status
            + b"\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
            + body
        )


@pytest.mark.parametrize(
    "request_bytes",
    [b"", b"POST / HTTP/1.1\r\nHost: x\r\n"],
    ids=["nothing", "unfinished-head"],
)
async def test_an_unfinished_head_gets_nothing(request_bytes):
    async with DevNode(times=Times(rpc_read_s=0.05)) as node:
        assert await http(node, request_bytes) == b""


async def test_a_body_beyond_all_measure_gets_nothing(monkeypatch):
    monkeypatch.setattr(own, "RPC_MAX_B", 1000)
    async with DevNode() as node:
        with contextlib.suppress(ConnectionResetError):
            request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)
            assert await http(node, request) == b""


async def test_eight_mebibytes_are_a_request():
    async with DevNode() as node:
        body = json.dumps({"id": "x", "method": "getlatestblockheight", "pad": "x" * (8 << 20)}).encode()
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        assert told(await http(node, request))["result"] == 0


async def test_the_head_of_an_answer_is_a_real_nodes():
    async with DevNode() as node:
        lines = [line.partition(b": ")[0] for line in (await rpc(node)).split(b"\r\n\r\n")[0].split(b"\r\n")]
        assert lines == [
            b"HTTP/1.1 200 OK",
            b"Access-Control-Allow-Headers",
            b"Access-Control-Allow-Origin",
            b"Content-Type",
            b"Date",
            b"Content-Length",
            b"Connection",
        ]
        head = await http(node, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Content-Length" not in head
        old = await http(node, b"GET / HTTP/1.0\r\n\r\n")
        assert old.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"Connection" not in old


async def test_an_unfinished_body_gets_an_empty_answer():
    async with DevNode(times=Times(rpc_read_s=0.05)) as node:
        answer = await http(node, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{}")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"Content-Length: 0\r\nConnection: close\r\n\r\n")


async def test_a_client_that_goes_away_is_no_trouble():
    async with DevNode() as node:
        _, writer = await asyncio.open_connection(*node.rpc_url.removeprefix("http://").split(":"))
        writer.close()
        await writer.wait_closed()
        assert b"200 OK" in await rpc(node)


async def test_rpc_failures_end_after_their_number():
    async with DevNode(faults=Faults(rpc_failure="429", rpc_failures=2)) as node:
        answers = [await rpc(node) for _ in range(3)]
        assert [answer[9:12] for answer in answers] == [b"429", b"429", b"200"]
        assert b"Access-Control" not in answers[0]
        node.faults = replace(node.faults, rpc_failures=1)
        assert (await rpc(node))[9:12] == b"429"
        node.faults = Faults(rpc_failure="refuse")
        assert await rpc(node) == b""
        assert node.statistics()["rpc_failed"] == 4


async def test_slow_rpc_answers_in_the_end():
    async with DevNode(faults=Faults(rpc_failure="slow"), times=Times(rpc_slow_s=0.01)) as node:
        assert b'"result":0' in await rpc(node)
        assert node.statistics()["rpc_failed"] == 1


# -- websocket -------------------------------------------------------------------------------


async def test_a_message_from_socket_to_socket():
    async with DevNode() as node, Raw(node.ws_url, "alice") as alice, Raw(node.ws_url, "bob") as bob:
        await alice.register()
        await bob.register()
        await alice.send(bob, "through")
        assert await bob.message() == "through"
        assert (node.statistics()["clients"], node.statistics()["sockets"]) == (2, 2)


async def test_new_blocks_come_by_themselves_also_to_strangers():
    async with DevNode(block_s=0.01) as node, Raw(node.ws_url) as stranger:
        hashes = {(await stranger.control("updateSigChainBlockHash"))["Result"] for _ in range(3)}
        assert len(hashes) == 3


async def test_without_blocks_there_are_none():
    async with DevNode(block_s=0) as node, Raw(node.ws_url) as client:
        await client.register()
        assert node.ring.chain.height == 0


async def test_too_large_a_frame_closes_with_1009():
    async with DevNode() as node, Raw(node.ws_url) as client:
        await client.register()
        with contextlib.suppress(ConnectionClosed):
            await client.socket.send(bytes(limits.NODE_FRAME_MAX_B + 1))
        assert await client.gone() == 1009


async def test_the_largest_frame_is_read():
    async with DevNode() as node, Raw(node.ws_url) as client:
        await client.register()
        await client.socket.send(bytes(limits.NODE_FRAME_MAX_B))
        await until(lambda: node.statistics().get("dropped_unreadable"))


def link_of(node):
    return next(iter(node._life.board.links.values()))


async def test_the_answer_to_a_ping_is_a_sign_of_life():
    async with DevNode(times=Times(ping_s=0.05)) as node, Raw(node.ws_url) as client:
        await client.register()
        heard_at = link_of(node)._liveness._heard_at
        await until(lambda: link_of(node)._liveness._heard_at > heard_at)


async def test_an_unsolicited_pong_is_a_sign_of_life_and_a_ping_is_none():
    async with DevNode() as node, Raw(node.ws_url) as client:
        await client.register()
        heard_at = link_of(node)._liveness._heard_at
        await (await client.socket.ping())
        assert link_of(node)._liveness._heard_at == heard_at
        await client.socket.pong()
        await until(lambda: link_of(node)._liveness._heard_at > heard_at)


async def test_silence_is_dropped_though_the_client_pings():
    async with DevNode(times=Times(pong_timeout_s=0.2)) as node, Raw(node.ws_url) as client:
        await client.register()

        async def ping():
            while True:
                await client.socket.ping()
                await asyncio.sleep(0.02)

        pinging = asyncio.create_task(ping())
        assert await client.gone() == 1006
        await asyncio.gather(pinging, return_exceptions=True)
        assert node.statistics()["silent_dropped"] == 1


async def test_a_client_that_does_not_read_is_dropped(monkeypatch):
    monkeypatch.setattr(own, "QUEUE_MAX_B", 300_000)
    async with DevNode() as node, Raw(node.ws_url) as alice, Raw(node.ws_url, "bob", max_queue=1) as bob:
        await alice.register()
        await bob.register()
        bob.socket.transport.pause_reading()
        big = alice.frame(bob, "x" * 200_000)
        for count in range(1, 200):
            await alice.socket.send(big)
            await until(lambda count=count: node.statistics().get("routed") == count)
            if node.statistics().get("slow_dropped"):
                break
        assert node.statistics()["slow_dropped"] == 1
        await until(lambda: node.statistics()["clients"] == 1)
        assert node.statistics()["queued_b"] == 0


# -- faults ----------------------------------------------------------------------------------


async def test_refused_sockets_are_closed_a_little_later():
    times = Times(refused_close_s=0.01)
    async with DevNode(faults=Faults(refuse=True), times=times) as node, Raw(node.ws_url) as client:
        with pytest.raises(AssertionError):
            await client.register()
        assert await client.gone() == 1006
        assert node.statistics()["refused_42003"] == 1


async def test_sockets_are_cut_by_age():
    async with DevNode(faults=Faults(cut_every_s=0.05)) as node, Raw(node.ws_url) as client:
        assert await client.gone() == 1006
        assert node.statistics()["cuts"] == 1


async def test_sockets_are_cut_by_frames():
    async with (
        DevNode(faults=Faults(cut_after_frames=2)) as node,
        Raw(node.ws_url) as alice,
        Raw(node.ws_url, "bob") as bob,
    ):
        await alice.register()
        await bob.register()
        for text in "123":
            await alice.send(bob, text)
        assert [await bob.message(), await bob.message()] == ["1", "2"]
        assert await alice.gone() == 1006
        async with Raw(node.ws_url) as again:
            await again.register()
            await again.send(bob, "one too many")
            assert await bob.gone() == 1006
        assert node.statistics()["cuts"] == 2


async def test_a_frozen_node_says_nothing_until_it_is_thawed():
    async with DevNode(block_s=0.01) as node, Raw(node.ws_url) as alice, Raw(node.ws_url, "bob") as bob:
        await alice.register()
        await bob.register()
        node.faults = Faults(frozen=True)
        height = node.ring.chain.height
        await alice.send(bob, "late")
        asked = asyncio.create_task(rpc(node))
        dialled = asyncio.create_task(Raw(node.ws_url, "carol").__aenter__())
        done, _ = await asyncio.wait([asked, dialled], timeout=0.05)
        assert not done
        assert node.ring.chain.height == height
        assert node.statistics().get("delivered", 0) == 0
        node.faults = Faults()
        assert await bob.message() == "late"
        assert b"result" in await asked
        carol = await dialled
        await carol.register()
        await carol.__aexit__()


async def test_what_is_read_already_waits_for_the_thaw(monkeypatch):
    take, nodes = Switchboard.take, []

    def take_and_freeze(board, link, message):
        take(board, link, message)
        if not message.is_text:
            nodes[0].faults = Faults(frozen=True)

    monkeypatch.setattr(Switchboard, "take", take_and_freeze)
    async with DevNode(block_s=0) as node, Raw(node.ws_url) as alice, Raw(node.ws_url, "bob") as bob:
        nodes.append(node)
        await alice.register()
        await bob.register()
        for text in "123":
            await alice.send(bob, text)
        await until(lambda: node.statistics().get("frames"))
        await asyncio.sleep(0.02)
        assert node.statistics()["frames"] == 1
        nodes[0] = DevNode()
        node.faults = Faults()
        assert [await bob.message() for _ in range(3)] == ["1", "2", "3"]


async def test_what_is_under_way_arrives_after_the_thaw(monkeypatch):
    put, nodes = Switchboard._put, []

    def freeze_and_put(board, number, frame):
        if isinstance(frame, bytes):
            nodes[0].faults = Faults(frozen=True)
        put(board, number, frame)

    monkeypatch.setattr(Switchboard, "_put", freeze_and_put)
    async with DevNode(faults=Faults(delay_ms=5)) as node, Raw(node.ws_url) as alice:
        nodes.append(node)
        await alice.register()
        await alice.send(alice, "slow")
        await until(lambda: node.statistics().get("delivered"))
        assert node.statistics()["queued_b"]
        node.faults = Faults()
        assert await alice.message() == "slow"


async def test_all_sockets_are_cut_by_hand():
    async with DevNode() as node, Raw(node.ws_url) as client:
        await client.register()
        node.cut()
        assert await client.gone() == 1006


async def test_a_mute_node_relays_but_never_writes_again():
    async with DevNode() as node, Raw(node.ws_url) as alice, Raw(node.ws_url, "bob") as bob:
        await alice.register()
        node.faults = Faults(mute=True)
        await bob.register()
        await until(lambda: all(client["silenced"] for client in node.clients()))
        await bob.send(alice, "into the void")
        await until(lambda: node.statistics().get("delivered"))
        node.faults = Faults()
        assert await quiet(alice)


async def test_delayed_frames_overtake_each_other_and_may_find_nobody():
    faults = Faults(reorder=0.5, reorder_ms=30, duplicate=0.2)
    async with DevNode(faults=faults, seed=1) as node, Raw(node.ws_url) as alice:
        await alice.register()
        async with Raw(node.ws_url, "bob") as bob:
            await bob.register()
            for number in range(20):
                await alice.send(bob, str(number))
            await until(lambda: node.statistics().get("routed") == 20)
            copies = 20 + node.statistics()["duplicated"]
            got = [int(await bob.message()) for _ in range(copies)]
            assert set(got) == set(range(20))
            assert got != sorted(got)
            node.faults = Faults(delay_ms=30)
            await alice.send(bob)
            await until(lambda: node.statistics()["routed"] == 21)
        await until(lambda: node.statistics().get("gone_meanwhile"))


async def test_lost_frames_are_counted():
    async with DevNode(faults=Faults(loss=1)) as node, Raw(node.ws_url) as alice:
        await alice.register()
        await alice.send(alice)
        await until(lambda: node.statistics().get("lost") == 1)


async def test_pushes_by_fault_and_by_hand():
    async with DevNode(faults=Faults(wrong_node_push_s=0.05)) as node, Raw(node.ws_url) as client:
        await client.register()
        for _ in range(2):
            assert (await client.control(""))["Error"] == 48001
        node.faults = Faults()
        node.push_wrong_node()
        assert (await client.control(""))["Result"]["addr"] == node.place.ws


# -- ports, seeds, rings -----------------------------------------------------------------------


async def test_a_taken_port_is_named_and_nothing_stays_open():
    async with DevNode(wss_port=0) as node:
        ports = {
            "rpc_port": int(node.rpc_url.rpartition(":")[2]),
            "ws_port": int(node.ws_url.rpartition(":")[2]),
            "wss_port": int(node.wss_url.rpartition(":")[2]),
        }
        for option, port in ports.items():
            other = DevNode(**{option: port})
            with pytest.raises(
                PortTaken, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use"
            ) as raised:
                await other.start()
            assert raised.value.option == option
    with pytest.raises(PortTaken, match="no-such-host"):
        await DevNode("no-such-host.invalid").start()


async def test_the_same_port_is_free_again_after_the_stop():
    async with DevNode() as node, Raw(node.ws_url) as client:
        await client.register()
        port = int(node.ws_url.rpartition(":")[2])
        await node.stop()
        assert await client.gone() == 1006
        async with DevNode(ws_port=port) as again:
            assert again.ws_url == node.ws_url


async def test_a_seed_makes_the_same_node():
    places = []
    for _ in range(2):
        async with DevNode(seed=7) as node:
            places.append((node.place.id, node.place.public_key, node.ring.chain.latest))
    assert places[0] == places[1]
    assert DevNode().place.id != DevNode().place.id


async def test_clients_are_told_the_advertised_host():
    async with DevNode("0.0.0.0") as node:
        assert node.rpc_url.startswith("http://127.0.0.1:")
    async with DevNode(advertise="::1") as node:
        assert node.ws_url.startswith("ws://[::1]:")
        assert node.wss_url == ""
    async with DevNode(advertise="gpu.example", wss_port=0) as node:
        assert node.wss_url.startswith("wss://gpu.example:")


async def test_wss_with_the_certificate_made_for_it():
    async with DevNode(wss_port=0) as node:
        trust = ssl.create_default_context(cadata=node.certificate_pem.decode())
        async with Raw(node.wss_url, ssl=trust) as alice, Raw(node.ws_url, "bob") as bob:
            await alice.register()
            await bob.register()
            await bob.send(alice, "from ws to wss")
            assert await alice.message() == "from ws to wss"
        with pytest.raises(ssl.SSLCertVerificationError):
            await Raw(node.wss_url, ssl=ssl.create_default_context()).__aenter__()


async def test_nodes_of_a_ring_route_to_each_other_and_tell_again():
    ring = Ring(os.urandom)
    async with (
        DevNode(ring=ring, node_id=b"\x00" * 32, times=Times(rehome_s=0.05)) as low,
        Raw(low.ws_url) as alice,
        Raw(low.ws_url, "bob") as bob,
    ):
        await alice.register()
        await bob.register()
        pushed = [alice, bob]
        async with DevNode(ring=ring, node_id=b"\x00" * 31 + b"\x01", block_s=0.01) as high:
            for client in pushed:
                for _ in range(2):
                    assert (await client.control(""))["Result"]["addr"] == high.place.ws
            async with Raw(high.ws_url, "bob") as moved:
                await moved.register()
                await alice.send(moved, "across")
                assert await moved.message() == "across"
            assert ring.chain.height == 0
        assert [member.place for member in ring.members] == [low.place]


async def test_two_nodes_of_a_ring_have_two_places():
    ring = Ring(os.urandom)
    async with DevNode(ring=ring, node_id=b"\x01" * 32) as node:
        with pytest.raises(ValueError, match="the same id"):
            await DevNode(ring=ring, node_id=b"\x01" * 32).start()
        assert [member.place for member in ring.members] == [node.place]


async def test_faults_of_the_node_itself_are_not_hidden(monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("a bug")

    node = DevNode()
    monkeypatch.setattr(Switchboard, "look", fail)
    monkeypatch.setattr(NodeCore, "text", fail)
    await node.start()
    async with Raw(node.ws_url) as client:
        await client.socket.send("{}")
        assert await client.gone() == 1006
    assert "a fault of the node itself" in caplog.text
    await until(node._life._timers[0].done)
    with pytest.raises(RuntimeError, match="a bug"):
        await node.stop()
