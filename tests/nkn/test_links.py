"""The parts of a client, with links that only note what they get: what goes where, and who is told."""

import asyncio
from collections import Counter

import pytest

from relay.nkn import links as links_module
from relay.nkn import payload
from relay.nkn.arrival import Arrival
from relay.nkn.dispatch import Dispatch, MessageTooLargeError
from relay.nkn.identity import Identity
from relay.nkn.link import LinkOptions, OutboxFull
from relay.nkn.links import Links
from wire import limits

ALICE = Identity(b"\1" * 32)
ADDRESS = f"alice.{ALICE.public_key.hex()}"
KEY = b"b" * 32
PEER, OTHER = f"bob.{KEY.hex()}", "carol." + "0" * 64

pytestmark = pytest.mark.usefixtures("tidy")


class FakeLink:
    def __init__(self, index, address, _identity, _options, *, on_inbound, on_change):
        self.index, self.address, self.tell = index, address, on_change
        self.ready, self.room, self.queued_b = False, True, index + 10
        self.node, self.counts = None, Counter(connects=index)
        self.sent, self.renewed, self.closed = [], [], False

    def send(self, dispatch):
        if not self.room:
            raise OutboxFull("full")
        self.sent.append(dispatch)

    def renew(self, reason):
        self.renewed.append(reason)

    async def close(self):
        self.closed = True


@pytest.fixture
async def parts(monkeypatch):
    """parts(0, 1, −1): Links started with these indices, all of them ready."""
    monkeypatch.setattr(links_module, "Link", FakeLink)
    made = []

    def begin(*indices, ready=True):
        one = Links(ADDRESS, ALICE, indices, LinkOptions([]), Counter())
        one.start(lambda *_: None)
        for link in one._links.values():
            link.ready = ready
        made.append(one)
        return one

    yield begin
    for one in made:
        await one.close()
        assert all(link.closed for link in one._links.values())


def heard(one, index, *, prefix="same", src=PEER, key=KEY, acked=False):
    inner = payload.ack(b"12345678") if acked else payload.message("x", b"12345678")
    prefix = index if prefix == "same" else prefix
    one.heard(Arrival(index, prefix, src, key, encrypted=True, payload=inner), acked=acked)


def sent(one):
    """Part → destinations of what it got."""
    return {index: [dest for item in link.sent for dest in item.dests] for index, link in one._links.items()}


async def test_every_part_has_its_own_address(parts):
    one = parts(0, 1, -1)
    assert [link.address for link in one._links.values()] == [f"__0__.{ADDRESS}", f"__1__.{ADDRESS}", ADDRESS]


async def test_starting_twice_makes_no_part_twice(parts):
    one = parts(0, 1)
    before = dict(one._links)
    one.start(lambda *_: None)
    assert one._links == before


async def test_a_message_to_a_stranger_takes_every_part(parts):
    one = parts(0, 1, -1)
    one.send([(PEER, b"x")], 5, acked=True)
    assert sent(one) == {0: [f"__0__.{PEER}"], 1: [f"__1__.{PEER}"], -1: [PEER]}
    assert one._links[0].sent[0].max_holding_seconds == 5


async def test_a_message_takes_only_the_parts_that_are_connected(parts):
    one = parts(0, 1)
    one._links[0].ready = False
    one.send([(PEER, b"x")], 0, acked=True)
    assert sent(one) == {0: [], 1: [f"__1__.{PEER}"]}


async def test_if_no_part_is_connected_a_message_waits_on_all(parts):
    one = parts(0, 1, ready=False)
    one.send([(PEER, b"x")], 0, acked=True)
    assert sent(one) == {0: [f"__0__.{PEER}"], 1: [f"__1__.{PEER}"]}


async def test_a_plain_peer_is_answered_only_by_the_part_that_heard_it(parts):
    one = parts(0, 1, -1)
    heard(one, 1, prefix=None)
    one.send([(PEER, b"x")], 0, acked=True)
    assert sent(one) == {0: [], 1: [PEER], -1: []}


async def test_several_destinations_share_one_dispatch_per_part(parts):
    one = parts(0, -1)
    one.send([(PEER, b"x"), (OTHER, b"x")], 0, acked=True)
    assert [item.dests for item in one._links[-1].sent] == [(PEER, OTHER)]
    assert [item.payloads for item in one._links[0].sent] == [(b"x",)]


async def test_a_part_without_room_does_not_stop_the_others(parts):
    one = parts(0, 1)
    one._links[0].room = False
    one.send([(PEER, b"x")], 0, acked=True)
    assert sent(one)[1] == [f"__1__.{PEER}"]


async def test_if_no_part_has_room_the_sender_is_told(parts):
    one = parts(0, 1)
    for link in one._links.values():
        link.room = False
    with pytest.raises(OutboxFull, match="11 bytes"):
        one.send([(PEER, b"x")], 0, acked=True)


async def test_a_message_that_fits_nowhere_is_queued_nowhere(parts):
    one = parts(0, 1)
    with pytest.raises(MessageTooLargeError):
        one.send([(PEER, bytes(limits.DM_MAX_B))], 0, acked=True)
    assert sent(one) == {0: [], 1: []}


async def test_an_answer_is_queued_on_one_part(parts):
    one = parts(0, 1)
    one.send_on(1, Dispatch((PEER,), (b"x",)))
    assert sent(one) == {0: [], 1: [PEER]}


# -- events ---------------------------------------------------------------------------


async def test_connected_is_set_while_at_least_one_part_is(parts):
    one = parts(0, 1, ready=False)
    first, second = one._links.values()
    for link in (first, second):
        link.ready = True
        link.tell(link.index, "connect", "ws://x")
    assert one.connected.is_set()
    first.ready = False
    first.tell(0, "disconnect", "lost")
    assert one.connected.is_set()
    assert one.ready
    second.ready = False
    second.tell(1, "disconnect", "lost")
    assert not one.connected.is_set()
    assert not one.ready


@pytest.mark.parametrize("event", ["connect", "disconnect", "connect_failed", "moved"])
async def test_handlers_hear_their_event_and_one_that_raises_is_reported(parts, tidy, event):
    one = parts(0)
    got = []

    def broken(_):
        raise RuntimeError("handler")

    one.handlers[event] += [broken, got.append]
    one._links[0].tell(0, event, "text")
    assert got == ["text"]
    assert [str(context["exception"]) for context in tidy] == ["handler"]
    tidy.clear()


async def test_an_event_nobody_knows_is_passed_over(parts):
    parts(0)._links[0].tell(0, "unheard of", "text")


async def test_statistics_are_told_part_by_part(parts):
    one = parts(0, -1)
    told = one.statistics()
    assert told["__0__"] == {"ready": True, "node": None, "queued_bytes": 10, "connects": 0}
    assert set(told) == {"__0__", ""}
    assert one.queued_b == 10


async def test_without_parts_nothing_waits():
    assert Links(ADDRESS, ALICE, [], LinkOptions([]), Counter()).queued_b == 0


# -- paths that swallow ------------------------------------------------------------------


LATER_S = limits.PATH_DEAD_S + 1


def unacknowledged(one, times=limits.PATH_DEAD_SENDS):
    for _ in range(times):
        one.send([(PEER, b"x")], 0, acked=True)


def dead(one, monkeypatch):
    now = links_module.time.monotonic()
    return one._health.dead(now + LATER_S)


async def test_a_path_whose_messages_are_never_acknowledged_while_anothers_are_is_dead(parts, monkeypatch):
    one = parts(0, 1)
    for index in (0, 1):
        heard(one, index)
    unacknowledged(one)
    heard(one, 1, acked=True)
    assert dead(one, monkeypatch) == [0]


async def test_a_part_that_the_peer_does_not_have_is_not_blamed(parts, monkeypatch):
    # Four parts here, one there: parts 1, 2 and the original can never be acknowledged.
    one = parts(0, 1, 2, -1)
    heard(one, 0)
    unacknowledged(one)
    heard(one, 0, acked=True)
    assert dead(one, monkeypatch) == []


async def test_messages_that_want_no_acknowledgement_prove_nothing(parts, monkeypatch):
    one = parts(0, 1)
    for index in (0, 1):
        heard(one, index)
    for _ in range(limits.PATH_DEAD_SENDS):
        one.send([(PEER, b"x")], 0, acked=False)
    heard(one, 1, acked=True)
    assert dead(one, monkeypatch) == []


async def test_a_stranger_cannot_blame_a_path_by_acknowledging_on_another(parts, monkeypatch):
    one = parts(0, 1)
    for index in (0, 1):
        heard(one, index)
    unacknowledged(one)
    heard(one, 1, src=OTHER, key=b"\0" * 32, acked=True)
    assert dead(one, monkeypatch) == []


async def test_a_stranger_cannot_hide_a_dead_path_by_acknowledging_on_it(parts, monkeypatch):
    one = parts(0, 1)
    for index in (0, 1):
        heard(one, index)
    unacknowledged(one)
    heard(one, 1, acked=True)
    heard(one, 0, src=OTHER, key=b"\0" * 32, acked=True)
    assert dead(one, monkeypatch) == [0]


async def test_a_dead_path_is_renewed_once_and_counted(parts, monkeypatch, until):
    monkeypatch.setattr(links_module, "_WATCH_S", 0.001)
    monkeypatch.setattr(limits, "PATH_DEAD_S", 0.0)
    one = parts(0, 1)
    for index in (0, 1):
        heard(one, index)
    unacknowledged(one)
    await asyncio.sleep(0.001)
    heard(one, 1, acked=True)
    await until(lambda: one._links[0].renewed)
    assert one._counts["paths_renewed"] == 1
    assert one._links[1].renewed == []


async def test_a_peers_part_that_went_away_does_not_cost_our_path_more_than_one_renewal(
    parts, monkeypatch, until
):
    monkeypatch.setattr(links_module, "_WATCH_S", 0.001)
    monkeypatch.setattr(limits, "PATH_DEAD_S", 0.0)
    one = parts(0, 1)
    for index in (0, 1):
        heard(one, index)
    for _ in range(3):
        unacknowledged(one)
        await asyncio.sleep(0.001)
        heard(one, 1, acked=True)
        await asyncio.sleep(0.01)
    assert len(one._links[0].renewed) == 1


async def test_one_part_alone_is_not_watched(parts):
    assert parts(0)._watch is None
    assert parts(0, 1)._watch is not None


async def test_what_waits_for_a_part_that_is_away_does_not_hold_up_the_others(parts):
    one = parts(0, 1)
    one._links[1].queued_b = 1_000_000
    assert one.queued_b == 1_000_000
    one._links[1].ready = False
    assert one.queued_b == 10
    one._links[0].ready = False
    assert one.queued_b == 1_000_000
