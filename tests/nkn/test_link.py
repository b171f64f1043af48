import asyncio
import os
import ssl

import pytest

from relay.nkn import address, envelope, identity, link, sigchain
from relay.nkn.devnode import DevNode, Ring
from relay.nkn.dispatch import Dispatch
from relay.nkn.envelope import Inbound, Receipt
from relay.nkn.identity import Identity
from relay.nkn.link import Link, LinkOptions, Pauses
from relay.nkn.outbox import OutboxFull
from wire import limits

ALICE = Identity(b"\1" * 32)
ADDRESS = f"alice.{ALICE.public_key.hex()}"
DEST = f"bob.{Identity(b'2' * 32).public_key.hex()}"

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
async def start():
    """Links that are closed at the end; what they tell is noted on them."""
    made = []

    def begin(*, seeds=(), bridges=(), pause=0.01, **options):
        inbox, events = [], []
        one = Link(
            0,
            ADDRESS,
            ALICE,
            LinkOptions(
                seeds, bridges, reconnect_interval_min=pause, reconnect_interval_max=2 * pause, **options
            ),
            on_inbound=lambda index, message: inbox.append((index, message)),
            on_change=lambda index, event, text: events.append((index, event, text)),
        )
        one.inbox, one.events = inbox, events
        made.append(one)
        return one

    yield begin
    for one in made:
        await one.close()


def located(node):
    return {"result": node.description}


def names(one):
    return [event for _, event, _ in one.events]


async def test_the_node_is_found_by_rpc_and_the_connect_is_told(node, fake_seed, start, until):
    async with fake_seed(located(node)) as seed:
        one = start(seeds=[seed.url])
        await until(lambda: one.ready)
    assert one.events == [(0, "connect", f"ws://{node.addr}")]
    assert one.node.addr == node.addr
    assert one.counts["connects"] == 1


async def test_if_the_first_connect_fails_it_is_tried_again_like_any_other(node, fake_seed, start, until):
    async with fake_seed((500, b""), (429, b""), located(node)) as seed:
        one = start(seeds=[seed.url])
        await until(lambda: one.ready)
    assert names(one) == ["connect_failed", "connect_failed", "connect"]
    assert "HTTP 500" in one.events[0][2]
    assert one.counts["failures"] == 2


async def test_after_a_loss_the_node_is_looked_for_again(node, fake_seed, start, until):
    async with fake_seed(located(node)) as seed:
        one = start(seeds=[seed.url])
        await until(lambda: one.ready)
        node.cut()
        await until(lambda: one.counts["connects"] == 2)
    assert names(one) == ["connect", "disconnect", "connect"]
    assert len(seed.questions) == 2
    assert one.counts["losses"] == 1


async def test_a_bridge_node_is_asked_before_any_rpc(node, fake_seed, start, until):
    async with fake_seed(located(node)) as seed:
        one = start(seeds=[seed.url], bridges=["ws://127.0.0.1:1", f"ws://{node.addr}"])
        await until(lambda: one.ready)
        assert seed.questions == []


async def test_if_no_bridge_node_answers_rpc_is_asked(node, fake_seed, start, until):
    async with fake_seed(located(node)) as seed:
        one = start(seeds=[seed.url], bridges=["ws://127.0.0.1:1", "nonsense", ""])
        await until(lambda: one.ready)
        assert len(seed.questions) == 1


async def test_a_wrong_node_answer_is_followed_at_once(node, fake_node, start, until):
    async def elsewhere(connection, _):
        await connection.send(bridge.wrong_node(node.description, "setClient"))

    async with fake_node() as bridge:
        bridge.on_set_client = elsewhere
        one = start(bridges=[f"ws://{bridge.addr}"])
        await until(lambda: one.ready)
    assert one.node.addr == node.addr
    assert names(one) == ["connect"]


async def test_nodes_that_send_us_in_circles_are_taken_for_confused(fake_node, start, until):
    async def in_circles(connection, _):
        await connection.send(one_node.wrong_node(one_node.description, "setClient"))

    async with fake_node() as one_node:
        one_node.on_set_client = in_circles
        one = start(bridges=[f"ws://{one_node.addr}"], pause=30.0)
        await until(lambda: one.events)
        assert names(one) == ["connect_failed"]
        assert len(one_node.texts) == link._REDIRECTS_MAX


async def test_a_wrong_node_answer_without_a_usable_node_leads_back_to_rpc(
    node, fake_node, fake_seed, start, until
):
    async def nowhere(connection, _):
        await connection.send(bridge.wrong_node({}, "setClient"))

    async with fake_node() as bridge, fake_seed(located(node)) as seed:
        bridge.on_set_client = nowhere
        one = start(bridges=[f"ws://{bridge.addr}"], seeds=[seed.url])
        await until(lambda: one.ready)
        assert one.node.addr == node.addr


async def test_a_wrong_node_push_keeps_the_old_socket_for_sending_until_the_new_one_is_ready(
    node, fake_node, start, until
):
    release = asyncio.Event()
    async with fake_node() as other:

        async def slow(connection, _):
            await release.wait()
            await connection.send(other.accepted)

        other.on_set_client = slow
        one = start(bridges=[f"ws://{node.addr}"])
        await until(lambda: one.ready)
        await node.say(node.wrong_node(other.description))
        await until(lambda: other.texts)
        assert one.ready
        one.send(Dispatch((DEST,), (b"meanwhile",)))
        await until(lambda: node.binaries)
        await node.say(envelope.inbound(Inbound(DEST, b"late")))
        await until(lambda: one.inbox)
        release.set()
        await until(lambda: one.counts["connects"] == 2)
        one.send(Dispatch((DEST,), (b"afterwards",)))
        await until(lambda: other.binaries)
        await until(lambda: not node.connections)
        assert len(node.binaries) == 1
        assert names(one) == ["connect", "moved", "connect"]
        assert one.counts["losses"] == 0
        await one.close()


async def test_a_push_to_a_dead_address_falls_back_to_rpc(node, fake_seed, start, until):
    async with fake_seed(located(node)) as seed:
        one = start(seeds=[seed.url])
        await until(lambda: one.ready)
        await node.say(node.wrong_node({**node.description, "addr": "127.0.0.1:1"}))
        await until(lambda: one.counts["connects"] == 2)
        assert len(seed.questions) == 2


async def test_a_node_that_drops_everybody_at_once_is_asked_ever_more_seldom(node, start, until):
    async def drop(connection, _):
        await connection.send(node.accepted)
        connection.transport.abort()

    node.on_set_client = drop
    asked = []
    one = start(bridges=[f"ws://{node.addr}"], pause=0.02)
    with pytest.MonkeyPatch.context() as patch:
        real = Pauses.after_loss
        patch.setattr(
            Pauses, "after_loss", lambda self, *, moved: asked.append(real(self, moved=moved)) or asked[-1]
        )
        await until(lambda: len(asked) >= 4)
        await one.close()
    assert all(pause > 0 for pause in asked)
    assert asked[3] > asked[0]


async def test_after_a_steady_connection_the_pauses_begin_anew(node, start, until, monkeypatch):
    monkeypatch.setattr(link, "_STEADY_S", 0.0)
    jitter(monkeypatch, 1.0)
    asked = []
    real = Pauses.after_loss
    monkeypatch.setattr(
        Pauses, "after_loss", lambda self, *, moved: asked.append(real(self, moved=moved)) or asked[-1]
    )
    one = start(bridges=[f"ws://{node.addr}"], pause=0.02)
    for times in (1, 2, 3):
        await until(lambda n=times: one.counts["connects"] == n and one.ready)
        node.cut()
        await until(lambda n=times: one.counts["losses"] == n)
    await until(lambda: len(asked) == 3)
    assert asked == [0.005] * 3


async def test_a_node_that_pushes_everybody_away_at_once_is_no_hot_loop(node, start, until):
    async def push(connection, _):
        await connection.send(node.accepted)
        await connection.send(node.wrong_node(node.description))

    node.on_set_client = push
    one = start(bridges=[f"ws://{node.addr}"], pause=30.0)
    await until(lambda: one.counts["moves"] >= 2)
    for _ in range(20):
        await asyncio.sleep(0.005)
    # The first push is followed at once, the next only after a pause of half a minute.
    assert one.counts["moves"] == 2


# -- pauses ---------------------------------------------------------------------------


def jitter(monkeypatch, at):
    monkeypatch.setattr(link.random, "uniform", lambda low, high: low + (high - low) * at)


@pytest.mark.parametrize("at", [0.0, 1.0])
def test_pauses_double_up_to_the_longest_and_begin_anew_after_something_steady(monkeypatch, at):
    jitter(monkeypatch, at)
    pauses = Pauses(1.0, 6.0)
    factor = 0.5 + 0.5 * at
    assert [pauses.next() for _ in range(5)] == [value * factor for value in (1.0, 2.0, 4.0, 6.0, 6.0)]
    pauses.reset()
    assert pauses.next() == factor


def test_clients_that_lose_a_node_together_do_not_come_back_together():
    drawn = {Pauses(1.0, 64.0).after_loss(moved=False) for _ in range(50)}
    assert len(drawn) > 25
    assert all(0 < pause <= 1.0 for pause in drawn)


def test_a_first_push_is_followed_at_once_and_the_next_ones_are_not(monkeypatch):
    jitter(monkeypatch, 1.0)
    pauses = Pauses(1.0, 64.0)
    assert [pauses.after_loss(moved=True) for _ in range(3)] == [0.0, 2.0, 4.0]


# -- what is sent ---------------------------------------------------------------------


async def test_what_is_queued_before_the_connect_leaves_in_order_after_it(node, start, until):
    one = start(bridges=[f"ws://{node.addr}"])
    for number in range(5):
        one.send(Dispatch((DEST,), (bytes([number]),), number))
    assert not one.ready
    assert one.queued_b > 0
    await until(lambda: len(node.binaries) == 5)
    read = [envelope.read(frame) for frame in node.binaries]
    assert [(sent.payloads[0], sent.max_holding_seconds) for sent in read] == [
        (bytes([n]), n) for n in range(5)
    ]
    await until(lambda: one.queued_b == 0)
    assert one.counts["sent"] == 5


async def test_a_message_is_signed_for_the_node_and_block_hash_of_the_moment_it_leaves(node, start, until):
    one = start(bridges=[f"ws://{node.addr}"])
    one.send(Dispatch((DEST,), (b"first",)))
    await until(lambda: node.binaries)
    later = b"\xbb" * 32
    await node.say(node.frame("updateSigChainBlockHash", later.hex()))
    await until(lambda: one._socket.session.block_hash == later)
    one.send(Dispatch((DEST,), (b"second",)))
    await until(lambda: len(node.binaries) == 2)
    for frame, block_hash in zip(node.binaries, (node.HASH, later), strict=True):
        sent = envelope.read(frame)
        head = sigchain.Head(sent.nonce, block_hash, ADDRESS, node.KEY)
        assert sent.block_hash == block_hash
        assert identity.verify(ALICE.public_key, head.digest(DEST, len(sent.payloads[0])), sent.signatures[0])


async def test_a_full_outbox_refuses_and_counts_and_keeps_what_it_has(start, monkeypatch):
    monkeypatch.setattr(limits, "OUTBOX_MAX_B", 1000)
    one = start()
    fits = Dispatch((DEST,), (b"x" * 700,))
    one.send(fits)
    with pytest.raises(OutboxFull, match=f"{fits.size} bytes wait"):
        one.send(fits)
    assert one.queued_b == fits.size
    assert one.counts["outbox_full"] == 1


async def test_a_message_whose_socket_breaks_while_it_is_written_goes_again_on_the_next(node, start, until):
    one = start(bridges=[f"ws://{node.addr}"])
    await until(lambda: one.ready)
    real = one._socket.send
    tries = []

    async def broken(frame):
        tries.append(frame)
        node.cut()
        await real(frame)
        raise link.NodeError("broke while writing")

    one._socket.send = broken
    precious = b"precious" + bytes(limits.FRAGMENT_OVER_B)  # too large to leave without waiting
    one.send(Dispatch((DEST,), (precious,)))
    one.send(Dispatch((DEST,), (b"second",)))

    def arrived():
        return [envelope.read(frame).payloads[0] for frame in node.binaries]

    await until(lambda: arrived()[-2:] == [precious, b"second"])
    assert tries
    assert one.counts["written_again"] == 1
    await until(lambda: one.queued_b == 0)


async def test_one_message_that_cannot_be_encoded_does_not_end_the_writer(node, start, until):
    one = start(bridges=[f"ws://{node.addr}"])
    one.send(Dispatch((DEST,), (b"x",), max_holding_seconds=-1))
    one.send(Dispatch(("\ud800." + "0" * 64,), (b"y",)))
    one.send(Dispatch((DEST,), (b"good",)))
    await until(lambda: node.binaries)
    assert envelope.read(node.binaries[0]).payloads == (b"good",)
    assert one.counts["unsendable"] == 2
    await until(lambda: one.queued_b == 0)


async def test_renewing_drops_the_socket_and_finds_the_node_again(node, start, until):
    one = start(bridges=[f"ws://{node.addr}"])
    one.renew("nothing to renew yet")
    await until(lambda: one.ready)
    one.renew("not acknowledged")
    await until(lambda: one.counts["connects"] == 2)
    assert one.events[1] == (0, "disconnect", "not acknowledged")


# -- what comes -----------------------------------------------------------------------


async def test_inbound_messages_are_handed_up_with_the_parts_number(node, start, until):
    one = start(bridges=[f"ws://{node.addr}"])
    await until(lambda: one.ready)
    await node.say(envelope.inbound(Inbound(DEST, b"hello")))
    await until(lambda: one.inbox)
    assert one.inbox == [(0, Inbound(DEST, b"hello"))]
    assert one.counts["received"] == 1
    assert one.counts["receipts"] == 0


async def test_a_receipt_is_signed_and_sent_when_one_is_asked_for(node, start, until):
    one = start(bridges=[f"ws://{node.addr}"])
    await until(lambda: one.ready)
    await node.say(envelope.inbound(Inbound(DEST, b"not even readable", b"p" * 32)))
    await until(lambda: node.binaries)
    receipt = envelope.read(node.binaries[0])
    assert isinstance(receipt, Receipt)
    assert receipt.prev_hash == b"p" * 32
    assert identity.verify(ALICE.public_key, sigchain.receipt_digest(b"p" * 32), receipt.signature)


async def test_receipts_are_left_out_when_too_much_waits(start, monkeypatch):
    monkeypatch.setattr(limits, "RECEIPTS_MAX", 2)
    one = start()
    for number in range(4):
        one._take(envelope.inbound(Inbound(DEST, b"x", bytes([number]) * 32)))
    assert (one.counts["receipts"], one.counts["received"]) == (2, 4)
    assert len(one._outbox._queue) == 2


@pytest.mark.parametrize(
    "frame", [b"", b"\xff", envelope.receipt(ALICE, b"p" * 32)], ids=["empty", "garbage", "receipt"]
)
async def test_a_frame_that_no_node_would_send_is_counted_and_the_link_stays(node, start, until, frame):
    one = start(bridges=[f"ws://{node.addr}"])
    await until(lambda: one.ready)
    await node.say(frame)
    await until(lambda: one.counts["malformed"] == 1)
    assert one.ready
    assert one.inbox == []


# -- the end --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "when", ["at once", "while looking", "while registering", "ready", "moved", "pausing"]
)
async def test_closing_leaves_no_task_whenever_it_happens(fake_node, fake_seed, start, until, when):
    before = asyncio.all_tasks()

    class SilentSeed(fake_seed):
        async def _serve(self, reader, writer):
            await reader.read()

    async def never(*_):
        pass

    async with fake_node() as node, SilentSeed() as seed:
        begun = asyncio.all_tasks()
        if when == "while registering":
            node.on_set_client = never
        bridges = [] if when in {"while looking", "pausing"} else [f"ws://{node.addr}"]
        one = start(bridges=bridges, seeds=[seed.url] if when == "while looking" else [], pause=30.0)
        if when == "while looking":
            await until(lambda: seed._tasks)
        elif when == "while registering":
            await until(lambda: node.texts)
        elif when == "pausing":
            await until(lambda: one.events)
        elif when != "at once":
            await until(lambda: one.ready)
        if when == "moved":
            node.on_set_client = never
            await node.say(node.wrong_node(node.description))
            await until(lambda: len(node.texts) == 2)
        await one.close()
        own = {
            task
            for task in asyncio.all_tasks() - begun
            if "relay" in repr(task) or "Event.wait" in repr(task)
        }
        assert own == set()
    assert asyncio.all_tasks() - before == set()


async def test_wss_nodes_are_dialled_with_the_context_given(start, until):
    context = ssl.create_default_context()
    one = start(bridges=["wss://127.0.0.1:1"], tls=True, ssl=context, pause=30.0)
    await until(lambda: one.events)
    assert names(one) == ["connect_failed"]


async def test_a_wrong_node_answer_over_wss_is_followed_over_wss(start, until):
    ring = Ring(os.urandom)
    async with (
        DevNode(ring=ring, node_id=b"\x00" * 32, wss_port=0) as low,
        DevNode(ring=ring, node_id=b"\x80" * 32, wss_port=0) as high,
    ):
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # two self-signed ones of one name
        owner, other = (high, low) if address.client_id(ADDRESS)[0] >= 0x80 else (low, high)
        one = start(bridges=[other.wss_url], ssl=trust)
        await until(lambda: one.ready)
        assert one.events[-1] == (0, "connect", owner.wss_url)


async def test_a_failed_attempt_tells_the_reason_of_every_way_tried(start, until):
    one = start(bridges=["ws://127.0.0.1:1"], seeds=["http://127.0.0.1:2"], pause=30.0)
    await until(lambda: one.events)
    ((_, event, text),) = one.events
    assert event == "connect_failed"
    assert "ws://127.0.0.1:1" in text
    assert "http://127.0.0.1:2" in text
