"""The parts of a client, with links that only note what they get: what goes where, and who is told."""

import asyncio
import math
from collections import Counter

import pytest

from relay.nkn import links as links_module
from relay.nkn import payload
from relay.nkn.arrival import Arrival
from relay.nkn.dispatch import Dispatch, MessageTooLargeError
from relay.nkn.identity import Identity
from relay.nkn.link import LinkOptions
from relay.nkn.links import Links, Terms
from relay.nkn.outbox import OutboxFull
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
        self.last_reason, self.away_s = "", 1.23456
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
    one.send([(PEER, b"x")], Terms(5, acked=True))
    assert sent(one) == {0: [f"__0__.{PEER}"], 1: [f"__1__.{PEER}"], -1: [PEER]}
    assert one._links[0].sent[0].max_holding_seconds == 5


async def test_a_message_takes_only_the_parts_that_are_connected(parts):
    one = parts(0, 1)
    one._links[0].ready = False
    one.send([(PEER, b"x")], Terms(0, acked=True))
    assert sent(one) == {0: [], 1: [f"__1__.{PEER}"]}


async def test_if_no_part_is_connected_a_message_waits_on_all(parts):
    one = parts(0, 1, ready=False)
    one.send([(PEER, b"x")], Terms(0, acked=True))
    assert sent(one) == {0: [f"__0__.{PEER}"], 1: [f"__1__.{PEER}"]}


async def test_a_plain_peer_is_answered_only_by_the_part_that_heard_it(parts):
    one = parts(0, 1, -1)
    heard(one, 1, prefix=None)
    one.send([(PEER, b"x")], Terms(0, acked=True))
    assert sent(one) == {0: [], 1: [PEER], -1: []}


async def test_several_destinations_share_one_dispatch_per_part(parts):
    one = parts(0, -1)
    one.send([(PEER, b"x"), (OTHER, b"x")], Terms(0, acked=True))
    assert [item.dests for item in one._links[-1].sent] == [(PEER, OTHER)]
    assert [item.payloads for item in one._links[0].sent] == [(b"x",)]


async def test_a_part_without_room_does_not_stop_the_others(parts):
    one = parts(0, 1)
    one._links[0].room = False
    one.send([(PEER, b"x")], Terms(0, acked=True))
    assert sent(one)[1] == [f"__1__.{PEER}"]


async def test_if_no_part_has_room_the_sender_is_told(parts):
    one = parts(0, 1)
    for link in one._links.values():
        link.room = False
    with pytest.raises(OutboxFull, match="11 bytes"):
        one.send([(PEER, b"x")], Terms(0, acked=True))


async def test_a_message_that_fits_nowhere_is_queued_nowhere(parts):
    one = parts(0, 1)
    with pytest.raises(MessageTooLargeError):
        one.send([(PEER, bytes(limits.DM_MAX_B))], Terms(0, acked=True))
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
    assert told["__0__"] == {
        "ready": True,
        "node": None,
        "queued_bytes": 10,
        "last_reason": "",
        "away_s": 1.235,
        "connects": 0,
    }
    assert set(told) == {"__0__", ""}
    assert one.queued_b == 10


async def test_without_parts_nothing_waits():
    assert Links(ADDRESS, ALICE, [], LinkOptions([]), Counter()).queued_b == 0


# -- paths that swallow ------------------------------------------------------------------


LATER_S = limits.PATH_DEAD_S + 1


def unacknowledged(one, times=limits.PATH_DEAD_SENDS):
    for _ in range(times):
        one.send([(PEER, b"x")], Terms(0, acked=True))


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
        one.send([(PEER, b"x")], Terms(0))
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


# -- what is sent again ---------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch):
    """Seconds become hundredths."""
    for name in ("RESEND_FIRST_S", "RESEND_PAUSE_MAX_S", "RESEND_SPREAD_MIN_S", "PATH_SHUN_S"):
        monkeypatch.setattr(limits, name, getattr(limits, name) / 100)


def sure(one, number=0, *, one_path=False, dest=PEER):
    name = (KEY, number.to_bytes(8))
    body = b"body" + name[1]
    one.send([(dest, body)], Terms(7, acked=True, resend=name, one_path=one_path))


def acknowledge(one, index, number=0, *, prefix="same"):
    inner = payload.ack(number.to_bytes(8))
    prefix = index if prefix == "same" else prefix
    one.heard(Arrival(index, prefix, PEER, KEY, encrypted=True, payload=inner), acked=True)


async def sent_again(one, until):
    """Wait until something was; how many messages were."""
    before = one._counts["resent"]
    await until(lambda: one._counts["resent"] > before)
    return one._counts["resent"] - before


def copies(one):
    """Part → how many messages it got."""
    return {index: len(link.sent) for index, link in one._links.items()}


async def test_what_is_not_acknowledged_is_sent_again_the_same_on_all_paths(parts, hasty, until):
    one = parts(0, 1)
    for index in (0, 1):
        heard(one, index)
    sure(one)
    acknowledge(one, 0)
    sure(one, 1, one_path=True)  # a survey
    acknowledge(one, 0, 1)
    before = copies(one)
    sure(one, 2, one_path=True)
    assert copies(one) == {0: before[0] + 1, 1: before[1]}
    times = await sent_again(one, until)
    assert copies(one) == {0: before[0] + 1 + times, 1: before[1] + times}
    first, again = one._links[0].sent[before[0] :][:2]
    other = one._links[1].sent[-1]
    assert first.payloads == again.payloads == other.payloads
    assert again.dests == (f"__0__.{PEER}",)
    assert first.max_holding_seconds == again.max_holding_seconds == 7
    assert one.under_way == 1
    acknowledge(one, 1, 2)
    assert one.under_way == 0
    after = copies(one)
    await asyncio.sleep(0.05)
    assert copies(one) == after


async def test_what_is_not_to_be_sent_again_is_not(parts, hasty):
    one = parts(0, 1)
    one.send([(PEER, b"x")], Terms(0, acked=True))
    assert one.under_way == 0
    await asyncio.sleep(0.03)
    assert copies(one) == {0: 1, 1: 1}


@pytest.mark.parametrize(("prefix", "patient"), [("same", False), (None, True)])
async def test_a_peer_without_parts_which_may_deliver_what_comes_twice_is_given_more_time(
    parts, prefix, patient
):
    one = parts(0, 1)
    heard(one, 1, prefix=prefix)
    sure(one)
    acknowledge(one, 1, prefix=prefix)  # at once: it is known to be fast
    sure(one, 1)
    wait_s = one._flights.due_at() - links_module.time.monotonic()
    assert (wait_s > limits.RESEND_PLAIN_S / 2) is patient


async def test_messages_expire_unless_nodes_would_hold_them_longer(parts):
    one = parts(0)
    now = links_module.time.monotonic()
    for terms in (Terms(0), Terms(0, 5.0), Terms(120, 5.0), Terms(0, math.inf)):
        one.send([(PEER, b"x")], terms)
    ages = [item.expires_at - now for item in one._links[0].sent]
    assert ages == [pytest.approx(age, abs=1) for age in (limits.OUTBOX_AGE_S, 5.0, 120.0, math.inf)]


async def test_the_best_path_alone_is_not_enough_for_what_is_not_sent_again(parts):
    one = parts(0, 1)
    for number in range(3):
        sure(one, number, one_path=True)
        acknowledge(one, 0, number)
    before = copies(one)
    one.send([(PEER, b"x")], Terms(0, acked=True, one_path=True))
    assert copies(one) == {0: before[0] + 1, 1: before[1] + 1}


async def test_a_message_that_nobody_acknowledges_is_given_up(parts, hasty, until):
    one = parts(0)
    sure(one)
    await until(lambda: one.under_way == 0)
    assert copies(one) == {0: limits.RESEND_UNPROVEN_TRIES}
    assert one._counts["resend_given_up"] == 1


async def test_the_first_acknowledgement_of_a_peer_never_heard_before_counts(parts):
    one = parts(0, 1)
    sure(one)
    acknowledge(one, 0)
    assert one.under_way == 0


async def test_the_acknowledgement_of_somebody_else_does_not_count(parts):
    one = parts(0, 1)
    sure(one)
    inner = payload.ack(bytes(8))
    one.heard(Arrival(0, 0, OTHER, b"\0" * 32, encrypted=True, payload=inner), acked=True)
    assert one.under_way == 1


async def test_a_peer_that_comes_back_after_it_was_given_up_is_kept_for_again(parts, hasty, until):
    one = parts(0)
    for number in range(limits.RESEND_UNPROVEN):
        sure(one, number)
    await until(lambda: one.under_way == 0)
    for number in range(limits.RESEND_UNPROVEN):
        acknowledge(one, 0, number)  # its node held them for it
    sure(one, 1000)
    assert one.under_way == 1


async def test_nothing_is_sent_again_while_much_waits_for_a_socket(parts, hasty, until, monkeypatch):
    monkeypatch.setattr(links_module, "_BACKLOG_S", 0.002)
    one = parts(0, 1)
    one._links[1].queued_b = limits.RESEND_QUEUED_B + 1
    sure(one)
    await asyncio.sleep(0.03)
    assert copies(one) == {0: 1, 1: 1}
    assert one._counts["resent"] == 0
    one._links[1].queued_b = limits.RESEND_QUEUED_B
    times = await sent_again(one, until)
    assert copies(one) == {0: 1 + times, 1: 1 + times}


async def test_what_waits_for_a_part_that_is_away_does_not_keep_others_from_sending_again(
    parts, hasty, until
):
    one = parts(0, 1)
    one._links[1].queued_b = limits.RESEND_QUEUED_B + 1
    one._links[1].ready = False
    sure(one)
    times = await sent_again(one, until)
    assert copies(one) == {0: 1 + times, 1: 0}


async def test_an_attempt_that_finds_no_room_is_not_the_last(parts, hasty, until, monkeypatch):
    monkeypatch.setattr(limits, "RESEND_UNPROVEN_TRIES", 1000)
    one = parts(0)
    sure(one)
    one._links[0].room = False
    await sent_again(one, until)
    assert copies(one) == {0: 1}
    one._links[0].room = True
    times = await sent_again(one, until)
    assert copies(one) == {0: 1 + times}


async def test_while_every_part_is_away_nothing_is_sent_again_and_soon_after_the_connect_it_is(
    parts, hasty, until
):
    one = parts(0, 1)
    sure(one)
    for link in one._links.values():
        link.ready = False
        link.tell(link.index, "disconnect", "lost")
    await asyncio.sleep(0.03)
    assert copies(one) == {0: 1, 1: 1}
    one._links[1].ready = True
    one._links[1].tell(1, "connect", "ws://x")
    times = await sent_again(one, until)
    assert copies(one) == {0: 1, 1: 1 + times}


async def test_what_was_sent_while_every_part_was_away_is_sent_again_after_the_connect(parts, hasty, until):
    one = parts(0, 1, ready=False)
    sure(one)
    await asyncio.sleep(0.03)
    assert copies(one) == {0: 1, 1: 1}
    one._links[0].ready = True
    one._links[0].tell(0, "connect", "ws://x")
    times = await sent_again(one, until)
    assert copies(one) == {0: 1 + times, 1: 1}


async def test_if_the_chosen_part_has_no_room_the_others_are_taken(parts):
    one = parts(0, 1)
    for number in (0, 1):
        sure(one, number, one_path=True)
        acknowledge(one, 0, number)
    one._links[0].room = False
    before = copies(one)
    sure(one, 2, one_path=True)
    assert copies(one) == {0: before[0], 1: before[1] + 1}
    one._links[0].room = True


async def test_what_no_part_had_room_for_is_not_under_way(parts):
    one = parts(0)
    one._links[0].room = False
    with pytest.raises(OutboxFull):
        sure(one)
    assert one.under_way == 0


async def test_an_earlier_message_moves_the_timer_and_a_later_one_does_not(parts, monkeypatch):
    one = parts(0, 1)
    sure(one, 1)
    timer = one._timer
    sure(one, 2)
    assert one._timer is timer
    monkeypatch.setattr(limits, "RESEND_FIRST_S", limits.RESEND_FIRST_S / 2)
    sure(one, 3)
    assert one._timer is not timer
    assert timer.cancelled()


async def test_closing_ends_what_is_under_way(parts, hasty):
    one = parts(0)
    sure(one)
    await one.close()
    before = copies(one)
    await asyncio.sleep(0.03)
    assert copies(one) == before
