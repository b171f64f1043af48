"""Several parts used as one, against the development node in strict mode."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from relay.nkn import Client, Identity, MultiClient
from relay.nkn import links as links_module
from relay.nkn.devnode import DevNode, Faults
from wire import limits

ALICE, BOB = b"\1" * 32, b"\2" * 32
QUIET = Faults(no_receipts=True)

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
async def node():
    async with DevNode(block_s=0, seed=1, faults=QUIET) as one:
        yield one


@pytest.fixture
async def connected(node, until):
    """connected(seed, parts, original): a client whose parts are all connected; parts 0 is a plain Client."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(seed, parts=0, *, original=False, **options):
            options = {"rpc_server_addr": [node.rpc_url], "reconnect_interval_min": 0.01, **options}
            if parts:
                one = MultiClient(seed=seed, num_sub_clients=parts, original_client=original, **options)
            else:
                one = Client(seed=seed, **options)
            await stack.enter_async_context(one)
            await until(lambda: all(part["ready"] for part in one.statistics()["parts"].values()))
            return one

        yield make


async def test_every_part_is_registered_and_the_original_only_if_wanted(connected):
    alice = await connected(ALICE, 3)
    bob = await connected(BOB, 2, original=True)
    assert set(alice.statistics()["parts"]) == {"__0__", "__1__", "__2__"}
    assert set(bob.statistics()["parts"]) == {"__0__", "__1__", ""}
    assert alice.addr == Identity(ALICE).public_key.hex()


def test_a_client_of_no_parts_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        MultiClient(num_sub_clients=0)


async def test_the_default_is_four_parts_without_the_original():
    assert MultiClient(seed=ALICE)._links._indices == [0, 1, 2, 3]


async def test_a_message_takes_all_paths_is_delivered_once_and_acknowledged_on_each(connected, until):
    alice, bob = await connected(ALICE, 3), await connected(BOB, 3)
    inbox = []
    bob.on_message(inbox.append)
    assert await alice.send(bob.addr, "x") is None
    await until(lambda: alice.statistics().get("acks_received") == 3)
    assert len(inbox) == 1
    assert (inbox[0].src, inbox[0].payload) == (alice.addr, "x")
    assert bob.statistics()["duplicates"] == 2
    assert [part["received"] for part in alice.statistics()["parts"].values()] == [1, 1, 1]


async def test_copies_that_come_while_an_async_handler_runs_are_acknowledged_each_on_its_own_path(
    connected, until
):
    alice, bob = await connected(ALICE, 3), await connected(BOB, 3)

    async def handler(_):
        await until(lambda: bob.statistics().get("duplicates") == 2)

    bob.on_message(handler)
    await alice.send(bob.addr, "x")
    await until(lambda: alice.statistics().get("acks_received") == 3)
    assert [part["received"] for part in alice.statistics()["parts"].values()] == [1, 1, 1]


async def test_a_reply_comes_on_all_paths_and_is_taken_once(connected, until):
    alice, bob = await connected(ALICE, 2), await connected(BOB, 2)
    bob.on_message(lambda _: "re")
    assert await alice.send(bob.addr, "x") == "re"
    await until(lambda: alice.statistics().get("replies_received", 0) >= 2)
    assert alice.statistics()["waiting"] == 0


async def test_one_path_that_works_is_enough(connected, node):
    alice, bob = await connected(ALICE, 3), await connected(BOB, 3)
    bob.on_message(lambda message: message.payload.upper())
    node.faults = replace(QUIET, black_hole=(0, 2))
    assert await alice.send(bob.addr, "x") == "X"


async def test_a_plain_client_reaches_the_original_and_is_answered_there(connected):
    alice, bob = await connected(ALICE), await connected(BOB, 2, original=True)
    bob.on_message(lambda _: "re")
    assert await alice.send(bob.addr, "x") == "re"


async def test_a_plain_client_may_address_a_part_and_is_answered(connected):
    alice, bob = await connected(ALICE), await connected(BOB, 2)
    bob.on_message(lambda message: message.src)
    assert await alice.send(f"__1__.{bob.addr}", "x") == alice.addr


async def test_peers_of_more_and_of_fewer_parts_understand_each_other(connected):
    alice, bob = await connected(ALICE, 3), await connected(BOB, 1)
    for one in (alice, bob):
        one.on_message(lambda _: "re")
    assert await alice.send(bob.addr, "x") == "re"
    assert await bob.send(alice.addr, "x") == "re"


async def test_parts_are_lost_one_by_one_and_the_client_stays_connected(connected, until):
    alice = await connected(ALICE, 2, reconnect_interval_min=30, reconnect_interval_max=60)
    lost = []
    alice.on_disconnect(lost.append)
    alice._links._links[0].renew("first")
    await until(lambda: lost == ["first"])
    assert alice.is_ready
    await alice.wait_connected(0)
    alice._links._links[1].renew("second")
    await until(lambda: not alice.is_ready)


async def test_a_black_hole_is_noticed_by_missing_acknowledgements_and_its_path_renewed(
    connected, node, until, monkeypatch
):
    monkeypatch.setattr(links_module, "_WATCH_S", 0.01)
    monkeypatch.setattr(limits, "PATH_DEAD_S", 0.0)
    alice, bob = await connected(ALICE, 2), await connected(BOB, 2)
    bob.on_message(lambda _: None)
    alice.on_message(lambda _: None)
    await bob.send(alice.addr, "hello on both paths")
    await until(lambda: all(part["received"] for part in alice.statistics()["parts"].values()))
    node.faults = replace(QUIET, black_hole=(0,))
    for _ in range(limits.PATH_DEAD_SENDS + 1):
        await alice.send(bob.addr, "x")
    await until(lambda: alice.statistics().get("paths_renewed"))
    await until(lambda: alice.statistics()["parts"]["__0__"]["connects"] == 2)
    assert alice.statistics()["parts"]["__1__"]["connects"] == 1


@pytest.mark.parametrize("peer_parts", [0, 1])
async def test_parts_that_the_peer_does_not_have_are_not_renewed(connected, monkeypatch, until, peer_parts):
    monkeypatch.setattr(limits, "PATH_DEAD_S", 0.0)
    alice, bob = await connected(ALICE, 3, original=True), await connected(BOB, peer_parts)
    alice.on_message(lambda _: None)
    bob.on_message(lambda _: None)
    await bob.send(alice.addr, "hello")
    for _ in range(limits.PATH_DEAD_SENDS * 2):
        await alice.send(bob.addr, "x")
    assert alice._links._health.dead(links_module.time.monotonic() + 60) == []


# -- what must arrive -----------------------------------------------------------------------


MANY = 200


@pytest.fixture
def patient(monkeypatch):
    """So many attempts, so near to each other, that even acknowledgements are lost for good by no chance."""
    monkeypatch.setattr(limits, "RESEND_TRIES", 60)
    monkeypatch.setattr(limits, "RESEND_UNPROVEN_TRIES", 60)
    monkeypatch.setattr(limits, "RESEND_FIRST_S", 0.2)
    monkeypatch.setattr(limits, "RESEND_PAUSE_MAX_S", 0.2)


async def talk(alice, bob, **how):
    """Alice says MANY things to Bob; (what came, what was acknowledged)."""
    came, acked = [], []
    bob.on_message(lambda message: came.append(int(message.payload)))
    for number in range(MANY):
        alice.send_nowait(bob.addr, str(number), on_ack=lambda _, n=number: acked.append(n), **how)
        if number % 10 == 9:
            await asyncio.sleep(0.001)
    async with asyncio.timeout(30):
        while alice.statistics()["under_way"]:
            await asyncio.sleep(0.005)
    return came, acked


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("one_path", [False, True])
@pytest.mark.parametrize(
    "faults",
    [
        Faults(loss=0.4),
        Faults(black_hole=(0,)),
        Faults(black_hole=(1,), loss=0.2),
        Faults(jitter_ms=30.0, reorder=0.3),
        Faults(path_delay_ms=((0, 100.0),), duplicate=0.3),
    ],
    ids=["loss", "black hole", "black hole and loss", "jitter", "slow path and duplicates"],
)
async def test_what_is_sent_again_arrives_once_and_is_acknowledged_whatever_the_line_does(
    connected, node, faults, one_path
):
    alice, bob = await connected(ALICE, 2), await connected(BOB, 2)
    node.faults = replace(faults, no_receipts=True)
    came, acked = await talk(alice, bob, resend=True, one_path=one_path)
    assert sorted(came) == sorted(acked) == list(range(MANY))
    assert alice.statistics()["resend_given_up"] == 0


@pytest.mark.parametrize("one_path", [False, True])
@pytest.mark.usefixtures("patient")
async def test_what_is_under_way_when_every_socket_breaks_arrives_too(connected, node, one_path):
    alice, bob = await connected(ALICE, 2), await connected(BOB, 2)
    node.faults = replace(QUIET, delay_ms=20.0)
    loop = asyncio.get_running_loop()
    cut = loop.call_later(0.01, node.cut)
    came, acked = await talk(alice, bob, resend=True, one_path=one_path)
    assert cut.when() < loop.time()
    assert sorted(came) == sorted(acked) == list(range(MANY))
    assert alice.statistics()["parts"]["__0__"]["losses"] == 1
    assert alice.statistics()["resent"] > 0


async def test_what_is_not_sent_again_is_lost_on_such_a_line(connected, node):
    alice, bob = await connected(ALICE, 2), await connected(BOB, 2)
    node.faults = replace(QUIET, loss=0.4)
    came, _ = await talk(alice, bob)
    node.faults = QUIET
    await alice.send(bob.addr, str(MANY))  # whatever came before this has arrived
    lost = MANY - len(set(came) - {MANY})
    assert 0 < lost < MANY / 2
    assert alice.statistics()["resent"] == 0


async def test_on_a_quiet_line_most_messages_take_one_path(connected, until):
    alice, bob = await connected(ALICE, 2), await connected(BOB, 2)
    bob.on_message(lambda _: None)
    for number in range(MANY):
        alice.send_nowait(bob.addr, str(number), resend=True, one_path=True)
        await until(lambda: alice.statistics()["under_way"] == 0)
    copies = sum(part["sent"] for part in alice.statistics()["parts"].values())
    assert MANY < copies < 1.5 * MANY
    assert bob.statistics()["messages"] == MANY


async def test_the_very_first_message_to_a_peer_is_not_sent_again_once_acknowledged(connected, until):
    alice, bob = await connected(ALICE, 2), await connected(BOB, 2)
    bob.on_message(lambda _: None)
    alice.send_nowait(bob.addr, "x", resend=True)
    assert alice.statistics()["under_way"] == 1
    await until(lambda: alice.statistics()["under_way"] == 0)
    assert alice.statistics()["resent"] == 0


async def test_who_is_not_there_is_given_up(connected, until, patient, monkeypatch):
    monkeypatch.setattr(limits, "RESEND_UNPROVEN_TRIES", 3)
    alice = await connected(ALICE, 2)
    nobody = Identity(BOB).public_key.hex()
    alice.send_nowait(nobody, "x", resend=True)
    await until(lambda: alice.statistics()["under_way"] == 0)
    told = alice.statistics()
    assert (told["resent"], told["resend_given_up"]) == (2, 1)
    assert sum(part["sent"] for part in told["parts"].values()) == 6
