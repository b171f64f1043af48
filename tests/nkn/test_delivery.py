"""Copies of messages in, calls of handlers and answers out; the loop is only needed for async handlers."""

import asyncio
import dataclasses
from collections import Counter

import pytest

from relay.nkn import payload
from relay.nkn.arrival import Arrival
from relay.nkn.delivery import Delivery
from relay.nkn.multi import Seen
from wire import limits

KEY, OTHER = b"k" * 32, b"o" * 32
ID = b"12345678"
SRC = "peer." + "0" * 64


def arrival(inner=None, *, index=0, key=KEY, prefix="index"):
    return Arrival(
        index,
        index if prefix == "index" else prefix,
        SRC,
        key,
        encrypted=True,
        payload=inner or payload.message("hi", ID),
    )


class Desk:
    """A Delivery with its answers noted as (what, where to, path)."""

    def __init__(self, *handlers):
        self.counts = Counter()
        self.answers = []
        self.delivery = Delivery(Seen(), self.respond, self.counts)
        self.delivery.handlers.extend(handlers)

    def respond(self, to, answer, path):
        self.answers.append(("ack" if answer.type == payload.ACK else answer.data, to.origin, path))
        assert answer.reply_to_id == to.payload.message_id

    def deliver(self, *arrivals):
        for one in arrivals:
            self.delivery.deliver(one, 0.0)
        return self.answers

    async def settled(self):
        while self.delivery._running:
            await asyncio.sleep(0)
        return self.answers


@pytest.fixture
def faults():
    """What handlers raised, as the loop's exception handler sees it."""
    return []


@pytest.fixture(autouse=True)
async def _watched(faults):
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))


ACK = ("ack", f"__0__.{SRC}", 0)


@pytest.mark.parametrize(
    ("returned", "answers"),
    [
        ([None], [ACK]),
        (["re"], [("re", f"__0__.{SRC}", None)]),
        ([b"re"], [(b"re", f"__0__.{SRC}", None)]),
        ([False], []),
        ([None, None], [ACK]),
        ([None, False], []),
        ([False, "re"], [("re", f"__0__.{SRC}", None)]),
        (["first", "second"], [("first", f"__0__.{SRC}", None)]),
        ([], []),
    ],
)
async def test_what_the_handlers_return_decides_what_goes_back(returned, answers):
    def sync(value):
        return lambda _: value

    def later(value):
        async def handler(_):
            await asyncio.sleep(0)
            return value

        return handler

    for kind in (sync, later):
        desk = Desk(*(kind(value) for value in returned))
        desk.deliver(arrival())
        assert await desk.settled() == answers


async def test_handlers_get_the_message_with_its_senders_key():
    got = []
    Desk(got.append).deliver(arrival(payload.message(b"data", ID, no_reply=True)))
    (message,) = got
    assert (message.src, message.key, message.payload, message.payload_type) == (
        SRC,
        KEY,
        b"data",
        payload.BINARY,
    )
    assert (message.message_id, message.no_reply, message.is_encrypted) == (ID, True, True)


async def test_copies_are_delivered_once_and_acknowledged_each_on_its_own_path():
    got = []
    desk = Desk(got.append)
    answers = desk.deliver(arrival(index=0), arrival(index=1), arrival(index=0))
    assert len(got) == 1
    assert answers == [ACK, ("ack", f"__1__.{SRC}", 1), ACK]
    assert desk.counts == {"messages": 1, "duplicates": 2, "acks_sent": 3, "acks_repeated": 2}


async def test_copies_that_come_while_a_handler_runs_are_acknowledged_on_their_own_paths_when_it_is_done():
    done = asyncio.Event()

    async def handler(_):
        await done.wait()

    desk = Desk(handler)
    assert desk.deliver(arrival(index=0), arrival(index=1), arrival(index=1)) == []
    done.set()
    assert await desk.settled() == [ACK, ("ack", f"__1__.{SRC}", 1)]


async def test_a_repeated_message_is_answered_by_the_same_reply_on_the_path_it_came_by():
    calls = []

    def handler(message):
        calls.append(message)
        return f"reply {len(calls)}"

    desk = Desk(handler)
    desk.deliver(arrival(index=0), arrival(index=1))
    assert len(calls) == 1
    assert desk.answers == [("reply 1", f"__0__.{SRC}", None), ("reply 1", f"__1__.{SRC}", 1)]


async def test_a_repeated_message_whose_reply_was_too_long_to_keep_is_not_executed_again():
    calls = []
    desk = Desk(lambda message: calls.append(message) or "x" * 100_000)
    desk.deliver(arrival(), arrival(index=1))
    assert len(calls) == 1
    assert len(desk.answers) == 1


async def test_a_silent_message_stays_silent_when_it_is_repeated():
    assert Desk(lambda _: False).deliver(arrival(), arrival(index=1)) == []


async def test_a_stranger_with_the_same_id_cannot_suppress_a_message():
    got = []
    Desk(got.append).deliver(arrival(key=OTHER), arrival(key=KEY))
    assert [message.key for message in got] == [OTHER, KEY]


async def test_an_unsealed_message_in_anothers_name_cannot_suppress_the_sealed_one():
    got = []
    forged = dataclasses.replace(arrival(), encrypted=False)
    Desk(got.append).deliver(forged, arrival())
    assert [message.is_encrypted for message in got] == [False, True]


async def test_who_wants_no_reply_gets_none():
    for returned in (None, "re"):
        desk = Desk(lambda _, r=returned: r)
        assert desk.deliver(arrival(payload.message("x", ID, no_reply=True))) == []
        assert desk.counts["messages"] == 1


async def test_without_an_id_a_message_is_delivered_each_time_and_never_answered():
    # An answer would name no message: two that reply to everything would do so for ever.
    got = []
    desk = Desk(lambda message: got.append(message) or "re")
    assert desk.deliver(arrival(payload.message("x", b"")), arrival(payload.message("x", b""))) == []
    assert len(got) == 2


async def test_a_handler_that_raises_is_reported_and_the_others_are_still_called(faults):
    got = []

    def broken(_):
        raise RuntimeError("sync")

    desk = Desk(broken, got.append)
    assert desk.deliver(arrival()) == []
    assert len(got) == 1
    assert [str(fault) for fault in faults] == ["sync"]
    assert desk.counts["handler_errors"] == 1


async def test_an_async_handler_that_raises_is_reported_and_another_may_still_reply(faults):
    async def broken(_):
        await asyncio.sleep(0)
        raise RuntimeError("async")

    async def replying(_):
        return "re"

    desk = Desk(broken, replying)
    desk.deliver(arrival())
    assert await desk.settled() == [("re", f"__0__.{SRC}", None)]
    assert [str(fault) for fault in faults] == ["async"]


async def test_async_handlers_of_one_message_run_side_by_side():
    met = asyncio.Barrier(2)

    async def handler(_):
        await met.wait()

    desk = Desk(handler, handler)
    desk.deliver(arrival())
    async with asyncio.timeout(5):
        assert await desk.settled() == [ACK]


async def test_closing_ends_handlers_that_still_run():
    ended = asyncio.Event()

    async def endless(_):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    desk = Desk(endless)
    desk.deliver(arrival())
    await asyncio.sleep(0)
    await desk.delivery.close()
    assert ended.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


SECOND = payload.message("two", b"22222222")


async def test_more_messages_than_can_be_handled_are_left_to_their_senders(monkeypatch):
    monkeypatch.setattr(limits, "HANDLERS_MAX", 2)
    done = asyncio.Event()

    async def handler(_):
        await done.wait()

    desk = Desk(handler)
    desk.deliver(arrival(payload.message("one", b"11111111")), arrival(SECOND))
    assert desk.counts["handlers_busy"] == 1
    done.set()
    await desk.settled()
    desk.deliver(arrival(SECOND))
    await desk.settled()
    assert desk.counts["messages"] == 2
