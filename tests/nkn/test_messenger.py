"""What Client and MultiClient share, against the development node in strict mode: it drops what is wrong."""

import asyncio
import contextlib
import ssl
from dataclasses import replace

import pytest

from relay.nkn import (
    AddressError,
    Client,
    Identity,
    KeyFault,
    MessageTooLargeError,
    MultiClient,
    NknTimeoutError,
    OutboxFull,
    envelope,
    payload,
    seal,
)
from relay.nkn import address as nkn_address
from relay.nkn.devnode import DevNode, Faults, Ring
from relay.nkn.links import Terms
from wire import limits

ALICE, BOB, CAROL, MALLORY = (bytes([number]) * 32 for number in (1, 2, 3, 4))
QUIET = Faults(no_receipts=True)

pytestmark = pytest.mark.usefixtures("tidy")


def address(seed, name=""):
    key = Identity(seed).public_key.hex()
    return f"{name}.{key}" if name else key


def say(one, dest, inner, *, encrypt=True):
    """Let a client send a payload that it would not send by itself."""
    (body,) = one._bodies([nkn_address.public_key(dest)], inner.encode(), encrypt=encrypt)
    one._links.send([(dest, body)], Terms(0))


@pytest.fixture
async def node():
    async with DevNode(block_s=0, seed=1, faults=QUIET) as one:
        yield one


@pytest.fixture
async def client(node):
    """client(seed, …): a connected Client of the node, closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def connected(seed=None, *, wait=True, cls=Client, **options):
            options = {"rpc_server_addr": [node.rpc_url], "reconnect_interval_min": 0.01, **options}
            options.setdefault("reconnect_interval_max", 0.02)
            one = await stack.enter_async_context(cls(seed=seed, **options))
            if wait:
                await one.wait_connected(5)
            return one

        yield connected


@pytest.fixture
async def pair(client):
    """Alice, and Bob with what he gets."""
    alice, bob = await client(ALICE), await client(BOB)
    inbox = []
    bob.on_message(inbox.append)
    return alice, bob, inbox


# -- replies, acknowledgements, silence ---------------------------------------------------


@pytest.mark.parametrize("data", ["héllo", "", b"\x00\xff", b""])
async def test_a_message_arrives_as_it_was_sent_and_is_acknowledged(pair, data):
    alice, bob, inbox = pair
    assert await alice.send(bob.addr, data) is None
    (message,) = inbox
    assert message.payload == data
    assert message.payload_type == (payload.TEXT if isinstance(data, str) else payload.BINARY)
    assert (message.src, message.key) == (alice.addr, Identity(ALICE).public_key)
    assert message.is_encrypted
    assert not message.no_reply


@pytest.mark.parametrize("reply", ["wörld", b"\x00\xff", ""])
async def test_a_handlers_value_comes_back_as_the_reply(client, reply):
    alice, bob = await client(ALICE), await client(BOB)
    bob.on_message(lambda _: reply)
    assert await alice.send(bob.addr, "x") == reply


async def test_an_async_handlers_value_comes_back_as_the_reply(client):
    alice, bob = await client(ALICE), await client(BOB)

    async def handler(message):
        await asyncio.sleep(0)
        return message.payload.upper()

    bob.on_message(handler)
    assert await alice.send(bob.addr, "x") == "X"


@pytest.mark.parametrize("handlers", [[lambda _: False], []], ids=["False", "no handler"])
async def test_silence_is_a_time_out_that_is_counted(client, handlers):
    alice, bob = await client(ALICE), await client(BOB)
    for handler in handlers:
        bob.on_message(handler)
    with pytest.raises(NknTimeoutError, match=r"0\.05 s"):
        await alice.send(bob.addr, "x", response_timeout=0.05)
    told = alice.statistics()
    assert (told["send_timeouts"], told["waiting"]) == (1, 0)


async def test_the_response_time_out_is_that_of_the_client_unless_one_is_given(client):
    alice = await client(ALICE, response_timeout=0.03)
    with pytest.raises(TimeoutError, match=r"0\.03 s"):
        await alice.send(address(BOB), "x")


async def test_a_response_time_out_of_zero_waits(client):
    alice, bob = await client(ALICE, response_timeout=0.001), await client(BOB)

    async def slow(_):
        await asyncio.sleep(0.02)
        return "late"

    bob.on_message(slow)
    assert await alice.send(bob.addr, "x", response_timeout=0) == "late"


async def test_no_reply_is_a_flag_on_the_wire_and_no_acknowledgement_comes(pair, node, until):
    alice, bob, inbox = pair
    assert await alice.send(bob.addr, "x", no_reply=True) is None
    await until(lambda: inbox)
    assert inbox[0].no_reply
    await alice.send(bob.addr, "y")  # whatever came before this acknowledgement has arrived
    assert node.statistics()["frames"] == 3
    assert alice.statistics()["acks_received"] == 1


async def test_on_ack_is_called_without_anyone_waiting(pair, until):
    alice, bob, _ = pair
    got = []
    identifier = alice.send_nowait(bob.addr, "x", on_ack=got.append)
    assert len(identifier) == 8
    await until(lambda: got)
    assert got == [None]
    assert alice.statistics()["waiting"] == 0


async def test_who_is_forgotten_is_not_called(pair, until):
    alice, bob, _ = pair
    got = []
    identifier = alice.send_nowait(bob.addr, "x", on_ack=got.append)
    alice.forget(bob.addr, identifier)
    await until(lambda: alice.statistics().get("acks_received"))
    assert got == []


# -- copies -----------------------------------------------------------------------------


async def test_a_duplicate_is_delivered_once_and_acknowledged_again(pair, node, until):
    alice, bob, inbox = pair
    node.faults = replace(QUIET, duplicate=1.0)
    await alice.send(bob.addr, "x")
    await until(lambda: alice.statistics()["acks_received"] == 4)  # two acknowledgements, each twice
    assert len(inbox) == 1
    told = bob.statistics()
    assert (told["messages"], told["duplicates"], told["acks_sent"], told["seen"]) == (1, 1, 2, 1)


async def test_resending_with_the_same_id_after_a_lost_acknowledgement_is_acknowledged(pair):
    alice, bob, inbox = pair
    for _ in range(2):
        await alice.send(bob.addr, "x", message_id=b"12345678")
    assert len(inbox) == 1


async def test_a_resent_request_gets_the_same_reply_and_is_not_executed_again(client):
    alice, bob = await client(ALICE), await client(BOB)
    calls = []
    bob.on_message(lambda message: calls.append(message) or f"reply {len(calls)}")
    replies = [await alice.send(bob.addr, "x", message_id=b"12345678") for _ in range(2)]
    assert replies == ["reply 1", "reply 1"]


async def test_a_stranger_who_uses_a_messages_id_first_cannot_suppress_it(pair, client):
    alice, bob, inbox = pair
    mallory = await client(MALLORY)
    await mallory.send(bob.addr, "first", message_id=b"12345678")
    await alice.send(bob.addr, "second", message_id=b"12345678")
    assert [message.payload for message in inbox] == ["first", "second"]


async def test_a_stranger_cannot_acknowledge_or_reply_for_another(client, until):
    alice, mallory = await client(ALICE), await client(MALLORY)
    got = []
    alice.send_nowait(address(BOB), "x", message_id=b"12345678", on_ack=got.append)
    for forged in (payload.ack(b"12345678"), payload.reply("forged", b"12345678")):
        say(mallory, alice.addr, forged)
    await until(lambda: alice.statistics().get("replies_received"))
    assert got == []
    bob = await client(BOB)
    say(bob, alice.addr, payload.reply("genuine", b"12345678"))
    await until(lambda: got)
    assert got == ["genuine"]


# -- what is sent again until it is acknowledged --------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"no_reply": True},
        {"encrypt": False},
        {"dest": [address(BOB), address(CAROL)]},
        {"dest": []},
    ],
    ids=["nobody would acknowledge", "unsealed", "several destinations", "no destination"],
)
async def test_what_could_not_be_acknowledged_by_one_cannot_be_sent_until_it_is(client, wrong):
    alice = await client(ALICE)
    with pytest.raises(ValueError, match="destination"):
        alice.send_nowait(**{"dest": address(BOB), "data": "x", "resend": True, **wrong})
    told = alice.statistics()
    assert (told["sent"], told["under_way"], told["waiting"]) == (0, 0, 0)


async def test_a_client_that_seals_nothing_sends_nothing_again(client):
    alice = await client(ALICE, encrypt=False)
    with pytest.raises(ValueError, match="sealed"):
        alice.send_nowait(address(BOB), "x", resend=True)
    alice.send_nowait(address(BOB), "x", resend=True, encrypt=True)
    assert alice.statistics()["under_way"] == 1


@pytest.mark.parametrize("reply", [None, "re", b""])
async def test_an_acknowledgement_or_a_reply_ends_it_and_is_told(client, until, reply):
    alice, bob = await client(ALICE), await client(BOB)
    bob.on_message(lambda _: reply)
    got = []
    alice.send_nowait(bob.addr, "x", on_ack=got.append, resend=True)
    told = alice.statistics()
    assert (told["under_way"], told["resent"], told["resend_given_up"]) == (1, 0, 0)
    await until(lambda: alice.statistics()["under_way"] == 0)
    assert got == [reply]
    assert alice.statistics()["resent"] == 0


async def test_what_is_sent_to_one_part_of_a_peer_is_acknowledged_by_the_peer(client, node, until):
    alice = await client(ALICE)
    bob = await client(BOB, cls=MultiClient, num_sub_clients=2)
    await until(lambda: all(part["ready"] for part in bob.statistics()["parts"].values()))
    bob.on_message(lambda _: None)
    got = []
    alice.send_nowait(f"__1__.{bob.addr}", "x", on_ack=got.append, resend=True)
    await until(lambda: got)
    assert alice.statistics()["under_way"] == 0


async def test_a_message_is_sent_again_until_its_receiver_is_there_and_is_delivered_once(
    client, until, monkeypatch
):
    for name in ("RESEND_FIRST_S", "RESEND_PLAIN_S", "RESEND_PAUSE_MAX_S"):
        monkeypatch.setattr(limits, name, 0.02)
    monkeypatch.setattr(limits, "RESEND_UNPROVEN_TRIES", 1000)
    alice = await client(ALICE)
    alice.send_nowait(address(BOB), "x", resend=True)
    await until(lambda: alice.statistics()["resent"] > 1)
    inbox = []
    bob = await client(BOB, wait=False)
    bob.on_message(inbox.append)
    await until(lambda: alice.statistics()["under_way"] == 0)
    assert [message.payload for message in inbox] == ["x"]


# -- what is not sealed -------------------------------------------------------------------


async def test_an_unsealed_message_is_refused_and_counted(pair, until):
    alice, bob, inbox = pair
    alice.send_nowait(bob.addr, "x", encrypt=False)
    await until(lambda: bob.statistics().get("unsealed_dropped") == 1)
    await alice.send(bob.addr, "sealed")
    assert [message.payload for message in inbox] == ["sealed"]


async def test_an_unsealed_acknowledgement_is_refused_too(client, until):
    alice, bob = await client(ALICE), await client(BOB)
    got = []
    alice.send_nowait(address(CAROL), "x", message_id=b"12345678", on_ack=got.append)
    say(bob, alice.addr, payload.ack(b"12345678"), encrypt=False)
    await until(lambda: alice.statistics().get("unsealed_dropped") == 1)
    assert got == []


async def test_what_was_sent_sealed_is_not_answered_by_an_unsealed_forgery_even_where_those_are_accepted(
    client, until
):
    alice, bob = await client(ALICE, accept_unencrypted=True), await client(BOB)
    got = []
    alice.send_nowait(bob.addr, "x", message_id=b"12345678", on_ack=got.append)
    forged = envelope.Inbound(bob.addr, seal.plain(payload.reply("forged", b"12345678").encode()))
    alice._arrive(-1, forged)
    assert got == []
    assert alice.statistics()["unsealed_dropped"] == 1
    say(bob, alice.addr, payload.reply("genuine", b"12345678"))
    await until(lambda: got)
    assert got == ["genuine"]


async def test_unsealed_messages_are_let_through_and_marked_where_their_owner_asks_for_them(client):
    alice = await client(ALICE, encrypt=False, accept_unencrypted=True)
    bob = await client(BOB, accept_unencrypted=True)
    inbox = []
    bob.on_message(lambda message: inbox.append(message) or "re")
    assert await alice.send(bob.addr, "x") == "re"
    assert not inbox[0].is_encrypted
    # An acknowledgement copies the mode of what it answers, too.
    bob.on_message(inbox.append)
    carol = await client(CAROL, accept_unencrypted=True)
    carol.on_message(lambda _: None)
    assert await alice.send(carol.addr, "x") is None


# -- several destinations -----------------------------------------------------------------


async def test_one_send_reaches_several_destinations_each_sealed_for_itself(client, until):
    alice, bob, carol = await client(ALICE), await client(BOB), await client(CAROL)
    inbox = []
    for one in (bob, carol):
        one.on_message(lambda message, name=one.addr: inbox.append((name, message.payload)))
    await alice.send([bob.addr, carol.addr], "x")
    await until(lambda: len(inbox) == 2)
    assert sorted(inbox) == sorted([(bob.addr, "x"), (carol.addr, "x")])


async def test_the_first_reply_of_several_destinations_is_taken_and_nobody_is_waited_for_after_it(client):
    alice, bob = await client(ALICE), await client(BOB)
    bob.on_message(lambda _: "re")
    assert await alice.send([address(CAROL), bob.addr], "x") == "re"
    assert alice.statistics()["waiting"] == 0


async def test_without_a_destination_there_is_nothing_to_send(client):
    alice = await client(ALICE)
    with pytest.raises(ValueError, match="destination"):
        await alice.send([], "x")


# -- what cannot be sent --------------------------------------------------------------------


async def test_a_message_that_is_too_large_is_refused_and_nobody_waits_for_it(client):
    alice = await client(ALICE)
    with pytest.raises(MessageTooLargeError):
        await alice.send(address(BOB), bytes(limits.DM_MAX_B))
    assert alice.statistics()["waiting"] == 0


async def test_the_largest_message_arrives(pair):
    alice, bob, inbox = pair
    size = 3_999_798 + 74 - len(bob.addr)  # the official SDKs' figure is for an address of 74 characters
    await alice.send(bob.addr, bytes(size))
    assert len(inbox[0].payload) == size


async def test_a_full_outbox_is_told_and_nobody_waits_for_it(client, monkeypatch):
    monkeypatch.setattr(limits, "OUTBOX_MAX_B", 1000)
    alice = await client(ALICE, wait=False, rpc_server_addr=[])
    alice.send_nowait(address(BOB), "x" * 500)
    with pytest.raises(OutboxFull):
        await alice.send(address(BOB), "x" * 500)
    assert alice.statistics()["waiting"] == 0
    assert 500 < alice.queued_b < 1000


@pytest.mark.parametrize(
    ("dest", "error"),
    [("bob", AddressError), ("\ud800." + address(BOB), AddressError), ("02" * 32, KeyFault)],
)
async def test_a_destination_that_cannot_be_one_is_refused_and_nobody_waits_for_it(client, dest, error):
    alice = await client(ALICE)
    with pytest.raises(error):
        await alice.send(dest, "x")
    assert alice.statistics()["waiting"] == 0


@pytest.mark.parametrize("seconds", [-1, 2**32])
async def test_holding_seconds_beyond_the_protocols_number_are_refused(client, seconds):
    alice = await client(ALICE)
    with pytest.raises(ValueError, match="max_holding_seconds"):
        await alice.send(address(BOB), "x", max_holding_seconds=seconds)


async def test_upper_case_keys_are_sent_to_the_address_that_is_registered(pair):
    alice, bob, inbox = pair
    await alice.send(bob.addr.upper(), "x")
    assert len(inbox) == 1


# -- handlers that fail ---------------------------------------------------------------------


async def test_a_handler_that_raises_does_not_end_the_client(pair, tidy):
    alice, bob, _ = pair

    def broken(message):
        raise RuntimeError("broken handler")

    bob.on_message(broken)
    with pytest.raises(NknTimeoutError):
        await alice.send(bob.addr, "x", response_timeout=0.05)
    assert [str(context["exception"]) for context in tidy] == ["broken handler"]
    tidy.clear()
    bob._delivery.handlers.remove(broken)
    assert await alice.send(bob.addr, "y") is None
    assert bob.statistics()["parts"][""]["connects"] == 1


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("reply", ["\ud800", "x" * limits.DM_MAX_B], ids=["no text", "too large"])
async def test_a_reply_that_cannot_be_sent_is_reported_and_the_connection_stays(
    client, tidy, until, kind, reply
):
    alice, bob = await client(ALICE), await client(BOB)

    async def later(_):
        return reply

    bob.on_message(later if kind == "async" else lambda _: reply)
    alice.send_nowait(bob.addr, "x")
    await until(lambda: bob.statistics().get("answers_dropped") == 1)
    assert len(tidy) == 1
    tidy.clear()
    assert bob.statistics()["parts"][""]["connects"] == 1
    assert bob.is_ready


async def test_an_answer_that_finds_the_outbox_full_is_dropped_and_reported(client, tidy, until, monkeypatch):
    alice, bob = await client(ALICE), await client(BOB)
    bob.on_message(lambda _: monkeypatch.setattr(limits, "OUTBOX_MAX_B", 10))
    alice.send_nowait(bob.addr, "x")
    await until(lambda: bob.statistics().get("answers_dropped") == 1)
    assert isinstance(tidy.pop()["exception"], OutboxFull)


# -- losses and moves -------------------------------------------------------------------


async def test_after_a_cut_the_client_comes_back_and_says_so(pair, node, until):
    alice, bob, inbox = pair
    heard = []
    alice.on_disconnect(lambda reason: heard.append(("disconnect", reason)))
    alice.on_connect(lambda at: heard.append(("connect", at)))
    node.cut()
    await until(lambda: len(heard) == 2)
    assert [event for event, _ in heard] == ["disconnect", "connect"]
    assert "closed the connection" in heard[0][1]
    await until(lambda: bob.is_ready)
    await alice.send(bob.addr, "x")
    assert len(inbox) == 1


async def test_during_an_outage_the_client_is_not_ready_and_what_is_sent_waits(client, node, until):
    alice = await client(ALICE)
    bob = await client(BOB, rpc_server_addr=[node.rpc_url])
    inbox = []
    bob.on_message(inbox.append)
    node.faults = replace(QUIET, rpc_failure="429")
    node.cut()
    await until(lambda: not alice.is_ready)
    with pytest.raises(TimeoutError):
        await alice.wait_connected(0.01)
    waiting = asyncio.create_task(alice.send(bob.addr, "kept"))
    await until(lambda: alice.queued_b > 0)
    await until(lambda: alice.statistics()["parts"][""].get("failures", 0) >= 2)
    node.faults = replace(QUIET)
    # Nodes hold nothing by default: it arrives if Bob is back first, else the sender is told.
    try:
        await asyncio.wait_for(waiting, 1.0)
    except TimeoutError:
        await until(lambda: bob.is_ready)
        await alice.send(bob.addr, "kept")
    assert inbox[-1].payload == "kept"
    assert alice.queued_b == 0


async def test_if_rpc_is_down_at_the_start_the_client_connects_when_it_comes_up(
    client, unused_tcp_port, until
):
    alice = await client(ALICE, wait=False, rpc_server_addr=[f"http://127.0.0.1:{unused_tcp_port}"])
    failures = []
    alice.on_connect_failed(failures.append)
    await until(lambda: len(failures) >= 2)
    assert not alice.is_ready
    async with DevNode(rpc_port=unused_tcp_port, block_s=0):
        await alice.wait_connected(5)
        await alice.close()
    assert str(unused_tcp_port) in failures[0]


@pytest.mark.parametrize("failure", ["429", "500", "garbage", "error", "refuse"])
async def test_seeds_that_fail_for_a_while_only_delay_the_connect(client, node, failure):
    node.faults = replace(QUIET, rpc_failure=failure, rpc_failures=2)
    alice = await client(ALICE)
    assert alice.statistics()["parts"][""]["failures"] == 2


async def test_a_bridge_node_is_used_without_any_rpc(client, node):
    alice = await client(ALICE, rpc_server_addr=[], seed_ws_addr=["ws://127.0.0.1:1", node.ws_url])
    assert alice.is_ready
    assert "rpc" not in node.statistics()


async def test_wrong_node_answers_are_followed(client, node):
    node.faults = replace(QUIET, wrong_node=2)
    alice = await client(ALICE)
    assert node.statistics()["wrong_node_answers"] == 2
    assert alice.statistics()["parts"][""]["failures"] == 0


async def test_a_client_moves_to_the_node_that_is_responsible_now_and_loses_nothing(client, until):
    ring = Ring(bytes)
    async with DevNode(ring=ring, node_id=bytes(32), block_s=0, faults=QUIET) as old:
        alice = await client(ALICE, rpc_server_addr=[old.rpc_url])
        bob = await client(BOB, rpc_server_addr=[old.rpc_url])
        bob.on_message(lambda _: None)
        ids = sorted(envelope_id(one) for one in (alice, bob))
        async with DevNode(ring=ring, node_id=ids[0], block_s=0, faults=QUIET) as new:
            await until(lambda: new.statistics()["clients"] == 2)
            await until(lambda: old.statistics()["sockets"] == 0)
            await alice.send(bob.addr, "x")
            for one in (alice, bob):
                part = one.statistics()["parts"][""]
                assert (part["moves"], part["connects"]) == (1, 2)
                assert part["losses"] == 0
                await one.close()


def envelope_id(one):
    return nkn_address.client_id(one.addr)


async def test_held_messages_that_come_before_the_setclient_reply_are_delivered_and_acknowledged(
    client, node, until
):
    node.faults = replace(QUIET, held_first=True)
    alice = await client(ALICE)
    acked = []
    for number in range(3):
        alice.send_nowait(address(BOB), str(number), max_holding_seconds=60, on_ack=acked.append)
    await until(lambda: node.statistics()["holding"] == 3)
    inbox = []
    bob = await client(BOB, wait=False)
    bob.on_message(inbox.append)
    await until(lambda: len(acked) == 3)
    assert sorted(message.payload for message in inbox) == ["0", "1", "2"]


async def test_the_clients_own_holding_seconds_are_the_default(client, node, until):
    alice = await client(ALICE, msg_holding_seconds=60)
    alice.send_nowait(address(BOB), "held")
    alice.send_nowait(address(BOB), "not held", max_holding_seconds=0)
    await until(lambda: node.statistics().get("nobody_there") == 1)
    assert node.statistics()["holding"] == 1


async def test_messages_are_forgotten_in_time_even_if_nothing_comes(client, node, until, monkeypatch):
    monkeypatch.setattr(limits, "TIDY_S", 0.01)
    monkeypatch.setattr(limits, "SEEN_TTL_S", 0.5)
    alice = await client(ALICE)
    bob = await client(BOB)
    bob.on_message(lambda _: None)
    await alice.send(bob.addr, "x")
    assert bob.statistics()["seen"] == 1
    await until(lambda: bob.statistics()["seen"] == 0)


async def test_receipts_are_given_when_they_are_asked_for(client, until):
    async with DevNode(block_s=0) as node:
        alice = await client(ALICE, rpc_server_addr=[node.rpc_url])
        bob = await client(BOB, rpc_server_addr=[node.rpc_url])
        bob.on_message(lambda _: None)
        await alice.send(bob.addr, "x")
        await until(lambda: node.statistics().get("receipts", 0) >= 1)
        assert bob.statistics()["parts"][""]["receipts"] == 1
        await alice.close()
        await bob.close()


async def test_a_node_without_challenge_is_registered_with_after_the_wait(client, node, monkeypatch):
    monkeypatch.setattr(limits, "CHALLENGE_WAIT_S", 0.05)
    node.faults = replace(QUIET, no_challenge=True)
    alice, bob = await client(ALICE), await client(BOB)
    bob.on_message(lambda _: "re")
    assert await alice.send(bob.addr, "x") == "re"


async def test_a_refused_client_backs_off_and_tells_the_reason(client, node, until, caplog):
    node.faults = replace(QUIET, refuse=True)
    reasons = []
    alice = await client(ALICE, wait=False, reconnect_interval_min=30, reconnect_interval_max=60)
    alice.on_connect_failed(reasons.append)
    await until(lambda: reasons)
    assert "42003" in reasons[0]
    for _ in range(10):
        await asyncio.sleep(0.005)
    assert len(reasons) == 1
    caplog.clear()  # the node says so too


async def test_nodes_are_reached_by_wss_if_their_certificate_is_trusted(client, until):
    async with DevNode(block_s=0, wss_port=0, faults=QUIET) as node:
        trusting = ssl.create_default_context(cadata=node.certificate_pem.decode())
        trusted = await client(ALICE, rpc_server_addr=[node.rpc_url], tls=True, ssl=trusting)
        assert trusted.statistics()["parts"][""]["node"] == node.wss_url.removeprefix("wss://")
        reasons = []
        doubting = await client(BOB, rpc_server_addr=[node.rpc_url], tls=True, wait=False)
        doubting.on_connect_failed(reasons.append)
        await until(lambda: reasons)
        assert "CERTIFICATE_VERIFY_FAILED" in reasons[0]
        await trusted.close()
        await doubting.close()


# -- what is told -------------------------------------------------------------------------


async def test_every_counter_is_there_from_the_start(client):
    alice = await client(ALICE, wait=False, rpc_server_addr=[])
    told = alice.statistics()
    assert {"under_way", "resent", "resend_given_up", "resend_no_room", "waiting", "seen"} <= set(told)
    assert {value for name, value in told.items() if name != "parts"} == {0}
    assert {"sent", "received", "acks", "expired", "written_again"} <= set(told["parts"][""])


async def test_statistics_count_what_was_sent_and_got(pair):
    alice, bob, _ = pair
    await alice.send(bob.addr, "x")
    told = alice.statistics()
    assert (told["sent"], told["acks_received"], told["waiting"], told["seen"]) == (1, 1, 0, 0)
    part = told["parts"][""]
    assert (part["ready"], part["queued_bytes"], part["connects"], part["sent"], part["received"]) == (
        True,
        0,
        1,
        1,
        1,
    )
    assert bob.statistics()["acks_sent"] == 1


async def test_the_seed_is_in_no_repr_and_in_no_statistics(client):
    alice = await client(ALICE)
    shown = [
        repr(alice),
        str(alice),
        repr(alice._identity),
        repr(alice.statistics()),
        repr(alice._links),
        repr(vars(alice)),
    ]
    assert not any(ALICE.hex() in text or repr(ALICE) in text for text in shown)
    assert alice.get_seed() == ALICE.hex()


async def test_a_seed_may_be_bytes_or_hex_and_is_random_without_one(client):
    from_bytes = await client(ALICE, wait=False)
    from_hex = await client(ALICE.hex(), wait=False)
    assert from_bytes.addr == from_hex.addr == from_bytes.get_public_key() == address(ALICE)
    one, two = await client(wait=False), await client(wait=False)
    assert one.addr != two.addr


@pytest.mark.parametrize("seed", ["xyz", "00", b"short"])
async def test_a_seed_that_is_none_is_refused_without_being_shown(seed):
    with pytest.raises(ValueError, match=r".") as caught:
        Client(seed=seed)
    assert str(seed) not in str(caught.value)


async def test_the_address_is_the_identifier_and_the_key(client):
    alice = await client(ALICE, identifier="a.b", wait=False)
    assert alice.addr == f"a.b.{address(ALICE)}"
    assert alice.identifier == "a.b"


@pytest.mark.parametrize("identifier", ["\ud800", "__0__", "__1__.x"])
async def test_an_identifier_that_no_peer_could_answer_is_refused_at_once(identifier):
    with pytest.raises(ValueError, match=r"."):
        Client(seed=ALICE, identifier=identifier)


# -- the end --------------------------------------------------------------------------------


async def test_closing_leaves_no_task_and_whoever_waits_gets_a_time_out(node, until):
    before = asyncio.all_tasks()
    alice, bob = (
        Client(seed=seed, rpc_server_addr=[node.rpc_url], reconnect_interval_min=0.01)
        for seed in (ALICE, BOB)
    )
    started = asyncio.Event()

    async def endless(_):
        started.set()
        await asyncio.Event().wait()

    bob.on_message(endless)
    for one in (alice, bob):
        one.start()
        await one.wait_connected(5)
    waiting = asyncio.create_task(alice.send(bob.addr, "x", response_timeout=0.1))
    await started.wait()
    await bob.close()
    await alice.close()
    with pytest.raises(NknTimeoutError):
        await waiting
    await until(lambda: node.statistics()["sockets"] == 0)
    mine = {
        task
        for task in asyncio.all_tasks() - before
        if "relay/nkn/" in repr(task) and "devnode" not in repr(task)
    }
    assert mine == set()


async def test_a_message_that_comes_while_the_client_closes_leaves_no_handler_running(client, until):
    bob = await client(BOB)
    ran = []

    async def endless(_):
        ran.append(1)
        await asyncio.Event().wait()

    bob.on_message(endless)
    real = bob._links.close

    async def closing():
        # What the node still had for us, read while the sockets go.
        inner = payload.message("x", b"12345678").encode()
        shared = Identity(ALICE).shared_key(Identity(BOB).public_key)
        bob._arrive(-1, envelope.Inbound(address(ALICE), seal.seal(inner, shared, b"n" * 24)))
        await asyncio.sleep(0)
        await real()

    bob._links.close = closing
    await bob.close()
    assert not bob._delivery._running
