import asyncio
import contextlib
import itertools
import json

import pytest
from websockets.exceptions import ConnectionClosed

from relay.nkn import identity, sigchain
from relay.nkn.identity import Identity
from relay.nkn.nodesocket import MovedError, NodeError, NodeSocket
from relay.nkn.session import NodeInfo
from wire import limits

ALICE = Identity(b"\1" * 32)
ADDRESS = f"alice.{ALICE.public_key.hex()}"

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
async def dial():
    """Sockets that are given up at the end."""
    made = []

    def to(addr, on_frame=lambda _: None, **options):
        made.append(NodeSocket.to(NodeInfo(addr), ALICE, ADDRESS, on_frame, **options))
        return made[-1]

    yield to
    for one in made:
        one.close()
        async with asyncio.timeout(5):
            await one.closed.wait()


async def test_a_socket_is_ready_once_it_is_registered_with_a_signature(node, dial):
    one = dial(node.addr)
    assert not one.ready
    await one.registered
    assert one.ready
    (frame,) = node.texts
    digest = sigchain.challenge_digest(b"\xcc" * 32, bytes.fromhex(frame["ClientSalt"]))
    assert identity.verify(ALICE.public_key, digest, bytes.fromhex(frame["Signature"]))
    assert frame["Addr"] == ADDRESS
    assert (one.session.node_key, one.session.block_hash) == (node.KEY, node.HASH)


async def test_a_binary_frame_before_the_setclient_reply_is_not_lost(node, dial):
    async def held_first(connection, _):
        await connection.send(b"held")
        await connection.send(node.accepted)

    node.on_set_client = held_first
    got = []
    one = dial(node.addr, lambda frame: got.append((frame, one.ready)))
    await one.registered
    assert got == [(b"held", False)]


async def test_binary_frames_go_both_ways(node, dial, until):
    got = []
    one = dial(node.addr, got.append)
    await one.registered
    await one.send(b"up")
    await node.say(b"down")
    await until(lambda: node.binaries and got)
    assert (node.binaries, got) == ([b"up"], [b"down"])


async def test_without_a_challenge_it_registers_unsigned_after_the_wait(node, dial, monkeypatch):
    monkeypatch.setattr(limits, "CHALLENGE_WAIT_S", 0.05)
    node.greets = False
    one = dial(node.addr)
    await one.registered
    assert set(node.texts[0]) == {"Action", "Addr"}


async def test_a_slow_dial_does_not_take_the_time_for_the_challenge(fake_node, dial, monkeypatch):
    # The clock starts with the upgrade: else a slow path would be registered unsigned.
    monkeypatch.setattr(limits, "CHALLENGE_WAIT_S", 0.2)
    async with fake_node() as node:
        release = asyncio.Event()

        async def slow(reader, writer):
            await release.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", node.port)

            async def copy(source, sink):
                try:
                    while data := await source.read(65536):
                        sink.write(data)
                except OSError:
                    pass
                finally:
                    sink.close()

            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

        async with await asyncio.start_server(slow, "127.0.0.1", 0) as tunnel:
            one = dial(f"127.0.0.1:{tunnel.sockets[0].getsockname()[1]}")
            loop = asyncio.get_running_loop()
            loop.call_later(0.3, release.set)
            async with asyncio.timeout(5):
                await one.registered
            assert "Signature" in node.texts[0]
            one.close()
            await one.closed.wait()


async def test_a_refusal_is_an_error_with_the_nodes_words(node, dial):
    async def refuse(connection, _):
        text = json.dumps({"Action": "setClient", "Error": 42003, "Desc": "VERIFY\x1b[2J", "Result": None})
        await connection.send(text)

    node.on_set_client = refuse
    one = dial(node.addr)
    with pytest.raises(NodeError, match="42003 VERIFY"):
        await one.registered
    await one.closed.wait()
    assert one.reason.isprintable()
    assert one.cause == "refused"


async def test_a_wrong_node_answer_names_the_other_one(node, dial):
    async def elsewhere(connection, _):
        await connection.send(node.wrong_node({**node.description, "addr": "10.0.0.9:1"}, "setClient"))

    node.on_set_client = elsewhere
    one = dial(node.addr)
    with pytest.raises(MovedError) as caught:
        await one.registered
    assert caught.value.node == NodeInfo("10.0.0.9:1", node.KEY)
    await one.closed.wait()
    assert one.cause == "moved"


async def test_a_wrong_node_push_leaves_the_socket_open_for_sending(node, dial, until):
    one = dial(node.addr)
    await one.registered
    await node.say(node.wrong_node(node.description))
    assert await one.moved == NodeInfo(node.addr, node.KEY)
    await node.say(node.wrong_node(node.description))  # once a minute, until we leave
    assert one.ready
    await one.send(b"still")
    await until(lambda: node.binaries == [b"still"])


async def test_a_node_that_does_not_answer_setclient_is_left(node, dial, monkeypatch):
    monkeypatch.setattr(limits, "REGISTER_WAIT_S", 0.05)

    async def silent(*_):
        pass

    node.on_set_client = silent
    with pytest.raises(NodeError, match="did not answer setClient"):
        await dial(node.addr).registered


async def test_a_silent_node_is_left(node, dial, monkeypatch):
    monkeypatch.setattr(limits, "SILENCE_S", 0.1)
    one = dial(node.addr)
    await one.registered
    async with asyncio.timeout(5):
        await one.closed.wait()
    assert "nothing came from the node" in one.reason
    assert one.cause == "silent"
    assert not one.ready


async def test_pings_and_pongs_go_out_and_the_nodes_pongs_are_life(node, dial, until, monkeypatch):
    for name, value in (("NODE_PING_S", 0.06), ("PONG_S", 0.03), ("SILENCE_S", 0.3)):
        monkeypatch.setattr(limits, name, value)
    one = dial(node.addr)
    await one.registered
    (connection,) = node.connections
    # Twice the silence: only the answers to our pings can have kept it.
    await until(lambda: sum(frame[0] == "PING" for frame in connection.frames) >= 7)
    assert one.ready
    assert sum(frame[0] == "PONG" for frame in connection.frames) >= 3


async def test_the_first_pong_does_not_wait_for_the_time_of_registering(node, dial, until, monkeypatch):
    monkeypatch.setattr(limits, "REGISTER_WAIT_S", 60.0)
    monkeypatch.setattr(limits, "PONG_S", 0.05)
    await dial(node.addr).registered
    (connection,) = node.connections
    await until(lambda: any(frame[0] == "PONG" for frame in connection.frames))


async def test_a_node_that_reads_nothing_any_more_is_left_although_no_pong_can_go_out(
    node, dial, until, monkeypatch
):
    # A frozen node: its buffers and ours are full, so whoever waits for room waits for ever.
    monkeypatch.setattr(limits, "PONG_S", 0.05)
    monkeypatch.setattr(limits, "SILENCE_S", 0.3)
    one = dial(node.addr)
    await one.registered
    (connection,) = node.connections
    connection.transport.pause_reading()
    with pytest.raises(NodeError):
        async with asyncio.timeout(5):
            await send_until_it_fails(one)
    assert "nothing came from the node" in one.reason


async def test_closing_does_not_wait_for_a_node_that_reads_nothing_any_more(node, dial):
    one = dial(node.addr)
    await one.registered
    node.connections[0].transport.pause_reading()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):  # by then all buffers are full
            await send_until_it_fails(one)
    one.close()
    async with asyncio.timeout(5):
        await one.closed.wait()


async def test_a_large_message_goes_in_fragments_with_a_pong_behind_each(node, dial, until):
    one = dial(node.addr)
    await one.registered
    size = limits.FRAGMENT_OVER_B + 1
    data = bytes(range(256)) * (size // 256) + b"x"
    await one.send(data)
    await until(lambda: node.binaries)
    assert node.binaries == [data]
    frames = [frame for frame in node.connections[0].frames if frame[0] != "TEXT"]
    pieces = [frame for frame in frames if frame[0] != "PONG"]
    assert [name for name, _, _ in pieces[:2]] == ["BINARY", "CONT"]
    assert max(length for _, length, _ in pieces) <= limits.FRAGMENT_B
    for piece, after in itertools.pairwise(frames):
        assert piece[0] == "PONG" or piece[2] or after[0] == "PONG"


async def test_a_message_up_to_the_limit_goes_in_one_piece(node, dial, until):
    one = dial(node.addr)
    await one.registered
    await one.send(bytes(limits.FRAGMENT_OVER_B))
    await until(lambda: node.binaries)
    assert [frame for frame in node.connections[0].frames if frame[0] == "BINARY"] == [
        ("BINARY", limits.FRAGMENT_OVER_B, True)
    ]


async def test_a_small_message_is_handed_over_without_waiting(node, dial, until):
    one = dial(node.addr)
    await one.registered
    sizes = [0, 1, limits.FRAGMENT_OVER_B]
    for number, size in enumerate(sizes):
        assert one.takes(size)
        one.send_now(bytes(size))
        await until(lambda n=number: len(node.binaries) == n + 1)
    assert [len(frame) for frame in node.binaries] == sizes


async def test_the_messages_of_a_crowd_in_one_turn_of_the_loop_are_one_write_more(
    node, dial, until, monkeypatch
):
    one = dial(node.addr)
    await one.registered
    writes, write = [], one._ws.transport.write
    monkeypatch.setattr(one._ws.transport, "write", lambda data: (writes.append(len(data)), write(data)))
    for number in range(10):
        assert one.takes(1)
        one.send_now(b"%d" % number)
    assert len(writes) == limits.WRITES_AT_ONCE, "a few do not wait"
    await until(lambda: len(node.binaries) == 10)
    assert len(writes) == limits.WRITES_AT_ONCE + 1
    big = limits.FRAGMENT_OVER_B // 4
    for _ in range(10):
        assert one.takes(big)
        one.send_now(bytes(big))
    assert len(writes) == 2 * limits.WRITES_AT_ONCE + 2, "not more waits than one large message"
    await until(lambda: len(node.binaries) == 20)


async def test_a_message_that_waits_for_the_end_of_the_turn_is_not_overtaken(node, dial, until):
    one = dial(node.addr)
    await one.registered
    assert one.takes(1)
    one.send_now(b"first")
    await one.send(b"second")
    one.send_now(b"third")
    await until(lambda: len(node.binaries) == 3)
    assert node.binaries == [b"first", b"second", b"third"]


async def test_a_message_that_waits_while_the_connection_is_lost_is_no_mistake(node, dial):
    one = dial(node.addr)
    await one.registered
    one.send_now(b"first")
    one._ws.transport.abort()
    await one.closed.wait()
    assert one.cause in {"closed", "error"}


@pytest.mark.parametrize(
    "why", ["not dialled yet", "too large", "no room", "closed by us", "given up", "closed by the node"]
)
async def test_what_cannot_leave_without_waiting_is_not_taken(node, dial, until, why):
    one = dial(node.addr)
    if why == "not dialled yet":
        assert not one.takes(1)
    await one.registered
    assert one.takes(1)
    (connection,) = node.connections
    match why:
        case "too large":
            assert not one.takes(limits.FRAGMENT_OVER_B + 1)
        case "no room":
            connection.transport.pause_reading()
            sent = 0
            while one.takes(limits.FRAGMENT_OVER_B):
                one.send_now(bytes(limits.FRAGMENT_OVER_B))
                sent += 1
            connection.transport.resume_reading()
            await until(lambda: len(node.binaries) == sent)
            assert one.takes(1)
        case "closed by us":
            one.close()
            await one.closed.wait()
            assert not one.takes(1)
        case "given up":
            one._give_up(one._ws, "silent", "silent")
            assert not one.takes(1)  # though the library has not heard of it yet
        case "closed by the node":
            node.cut()
            await one.closed.wait()
            assert not one.takes(1)


async def test_the_largest_frame_of_a_node_is_read(node, dial, until):
    got = []
    one = dial(node.addr, got.append)
    await one.registered
    await node.say(bytes(limits.NODE_FRAME_MAX_B))
    await until(lambda: got)
    assert len(got[0]) == limits.NODE_FRAME_MAX_B


async def test_a_frame_beyond_what_nodes_send_ends_the_socket(node, dial):
    one = dial(node.addr)
    await one.registered
    (connection,) = node.connections
    with contextlib.suppress(ConnectionClosed):
        await connection.send(bytes(limits.NODE_FRAME_MAX_B + 2**20))
    async with asyncio.timeout(5):
        await one.closed.wait()
    assert one.reason
    assert not one.ready


@pytest.mark.parametrize("how", ["cut", "closed"])
async def test_a_node_that_goes_away_is_noticed_at_once(node, dial, how):
    one = dial(node.addr)
    await one.registered
    if how == "cut":
        node.cut()
    else:
        await node.connections[0].close(1001)
    async with asyncio.timeout(5):
        await one.closed.wait()
    assert "the node closed the connection" in one.reason
    assert one.cause == "closed"
    with pytest.raises(NodeError, match="closed the connection"):
        await one.send(b"late")


async def test_sending_before_the_websocket_stands_is_an_error(node, dial):
    one = dial(node.addr)
    with pytest.raises(NodeError):
        await one.send(b"early")
    await one.registered


async def send_until_it_fails(one):
    while True:
        await one.send(bytes(10_000))


async def test_a_send_into_a_connection_that_is_just_lost_is_a_node_error(node, dial):
    one = dial(node.addr)
    await one.registered
    node.cut()
    with pytest.raises(NodeError):
        await send_until_it_fails(one)
    await one.closed.wait()


@pytest.mark.parametrize("addr", ["127.0.0.1:1", "127.0.0.1:99999", "a:b:c:1", "[::1:80"])
async def test_a_node_that_cannot_be_dialled_is_a_node_error(dial, addr):
    one = dial(addr)
    with pytest.raises(NodeError):
        await one.registered
    assert one.cause == "error"


async def test_a_server_that_is_no_websocket_is_a_node_error(dial, fake_seed):
    class Other(fake_seed):
        async def _serve(self, reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._http((429, b"")))

    async with Other() as other:
        with pytest.raises(NodeError, match="429"):
            await dial(f"127.0.0.1:{other.port}").registered


@pytest.mark.parametrize("frame", [b"x", [b"x", b"y"]], ids=["whole", "in pieces"])
async def test_a_fault_in_what_takes_a_frame_is_told_and_does_not_cost_the_connection(
    node, dial, tidy, until, frame
):
    got = []

    def broken_at_first(data):
        got.append(data)
        if len(got) == 1:
            raise ValueError("took it badly")

    one = dial(node.addr, broken_at_first)
    await one.registered
    await node.say(frame)
    await until(lambda: got)
    await node.say(b"next")
    await until(lambda: len(got) == 2)
    assert got == [b"".join(frame) if isinstance(frame, list) else frame, b"next"]
    assert [str(context["exception"]) for context in tidy] == ["took it badly"]
    tidy.clear()
    assert one.ready


async def test_closing_says_why_and_twice_is_once(node, dial):
    one = dial(node.addr)
    await one.registered
    one.close("renewed")
    await one.closed.wait()
    one.close("again")
    assert (one.reason, one.cause) == ("renewed", "renewed")
    with pytest.raises(asyncio.CancelledError):
        await one.moved


async def test_closing_while_it_registers_tells_who_waits(node, dial, until):
    async def silent(*_):
        pass

    node.on_set_client = silent
    one = dial(node.addr)
    await until(lambda: node.texts)
    one.close("changed our mind")
    with pytest.raises(NodeError, match="changed our mind"):
        await one.registered


async def test_tls_nodes_are_dialled_by_wss(dial):
    one = dial("127.0.0.1:1", tls=True)
    assert one.uri == "wss://127.0.0.1:1"
    with pytest.raises(NodeError):
        await one.registered
