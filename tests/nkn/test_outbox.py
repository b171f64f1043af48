"""A link's queue, with sockets that take, refuse or break as they are told."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.nkn import envelope
from relay.nkn import outbox as outbox_module
from relay.nkn.dispatch import Dispatch
from relay.nkn.envelope import Receipt
from relay.nkn.identity import Identity
from relay.nkn.nodesocket import NodeError
from relay.nkn.outbox import Outbox, OutboxFull
from wire import limits

ALICE = Identity(b"\1" * 32)
ADDRESS = f"alice.{ALICE.public_key.hex()}"
DEST = f"bob.{Identity(b'2' * 32).public_key.hex()}"


class Wire:
    """A socket.

    Attributes:
        quick: whether it takes what needs not wait.
        breaks: how many messages it breaks at from now on.
        gate: unset, a message that waits its turn is not through.
        frames: what left.
        begun: how many messages waited their turn in `send`.
    """

    def __init__(self, *, quick=True):
        self.ready, self.quick, self.breaks = True, quick, 0
        self.session = SimpleNamespace(block_hash=b"h" * 32, node_key=b"n" * 32)
        self.gate = asyncio.Event()
        self.gate.set()
        self.frames, self.begun = [], 0

    def takes(self, size):
        return self.quick and size <= limits.FRAGMENT_OVER_B

    def send_now(self, frame):
        assert self.takes(len(frame))
        self.frames.append(frame)

    async def send(self, frame):
        self.begun += 1
        await self.gate.wait()
        if self.breaks:
            self.breaks -= 1
            raise NodeError("broke while writing")
        self.frames.append(frame)

    @property
    def left(self):
        """What left: payloads, and prev_hashes of receipts."""
        read = map(envelope.read, self.frames)
        return [one.prev_hash if isinstance(one, Receipt) else one.payloads[0] for one in read]


@pytest.fixture
async def outbox(tidy):
    counts = Counter()
    one = Outbox(ALICE, ADDRESS, counts)
    one.counts = counts
    yield one
    await one.close()


def message(body, **more):
    return Dispatch((DEST,), (body,), **more)


async def turns(number=5):
    for _ in range(number):
        await asyncio.sleep(0)


# -- at once, or in turn --------------------------------------------------------------------


async def test_if_nothing_is_before_it_a_message_leaves_at_once(outbox):
    wire = Wire()
    outbox.use(wire)
    outbox.put(message(b"now"))
    assert wire.left == [b"now"]
    assert (outbox.queued_b, wire.begun) == (0, 0)
    assert outbox.counts == Counter(sent=1)


@pytest.mark.parametrize(
    ("spare", "at_once"), [(limits.FRAGMENT_OVER_B - 1000, True), (1000, True), (0, False), (-1000, False)]
)
async def test_what_is_too_large_to_leave_at_once_waits_its_turn(outbox, spare, at_once):
    wire = Wire()
    outbox.use(wire)
    size = limits.FRAGMENT_OVER_B - message(b"").size - spare
    outbox.put(message(bytes(size)))
    assert len(wire.frames) == at_once
    await turns()
    assert wire.left == [bytes(size)]
    assert outbox.counts == Counter(sent=1)


@pytest.mark.parametrize("why", ["no socket", "not ready", "no room", "one waits", "one is being written"])
async def test_else_it_waits_and_all_leave_in_order(outbox, why):
    wire = Wire(quick=why in {"not ready", "one is being written"})
    wire.ready = why != "not ready"
    if why != "no socket":
        outbox.use(wire)
    if why == "one is being written":
        wire.gate.clear()
        wire.quick = False
        outbox.put(message(b"0"))
        await turns()
        assert wire.begun == 1
        wire.quick = True
    if why == "one waits":
        outbox.put(message(b"0"))
    bodies = [b"1", b"2", b"3"]
    for body in bodies:
        outbox.put(message(body))
    assert wire.left == []
    assert outbox.queued_b >= 3 * message(b"1").size
    wire.ready = True
    wire.gate.set()
    outbox.use(wire)
    await turns(20)
    assert [body for body in wire.left if body != b"0"] == bodies
    assert wire.left == sorted(wire.left)
    assert outbox.queued_b == 0


async def test_nothing_overtakes_what_waited_for_the_socket(outbox):
    wire = Wire()
    outbox.put(message(b"first"))
    outbox.use(wire)
    outbox.put(message(b"second"))
    await turns()
    assert wire.left == [b"first", b"second"]


async def test_nothing_overtakes_what_broke_and_goes_again(outbox, until):
    wire = Wire(quick=False)
    wire.breaks = 1
    outbox.use(wire)
    outbox.put(message(b"first"))
    await until(lambda: not wire.breaks)
    wire.quick = True
    outbox.put(message(b"second"))
    assert wire.left == []
    await until(lambda: len(wire.frames) == 2)
    assert wire.left == [b"first", b"second"]


async def test_once_all_has_left_messages_leave_at_once_again(outbox):
    wire = Wire()
    outbox.put(message(b"waits"))
    outbox.use(wire)
    await turns()
    outbox.put(message(b"now"))
    assert wire.left == [b"waits", b"now"]


async def test_each_message_counts_as_sent_once_however_often_it_was_begun(outbox, until):
    wire = Wire(quick=False)
    wire.breaks = 2
    outbox.use(wire)
    for body in (b"1", b"2", b"3"):
        outbox.put(message(body))
    await until(lambda: len(wire.frames) == 3)
    await turns()
    assert (outbox.counts["sent"], outbox.counts["written_again"]) == (3, 2)


async def test_what_broke_goes_again_on_the_next_socket_before_what_came_later(outbox, until):
    first, second = Wire(quick=False), Wire()
    first.gate.clear()
    outbox.use(first)
    outbox.put(message(b"broken"))
    outbox.put(message(b"later"))
    await turns()
    first.breaks = 1
    outbox.use(None)
    first.gate.set()
    await turns()
    held = outbox.queued_b
    second.session.block_hash = b"i" * 32
    outbox.use(second)
    await until(lambda: len(second.frames) == 2)
    assert (first.left, second.left) == ([], [b"broken", b"later"])
    assert held == message(b"broken").size + message(b"later").size
    await turns()
    assert outbox.queued_b == 0
    # It is signed for the node that it leaves by.
    assert envelope.read(second.frames[0]).block_hash == b"i" * 32


async def test_nothing_comes_between_the_pieces_of_a_message_that_is_being_written(outbox):
    wire = Wire(quick=False)
    wire.gate.clear()
    outbox.use(wire)
    outbox.put(message(b"large"))
    await turns()
    wire.quick = True
    outbox.put(message(b"small"))
    outbox.put_receipt(b"p" * 32)
    assert wire.left == []
    wire.gate.set()
    await turns()
    assert wire.left == [b"large", b"p" * 32, b"small"]


async def test_after_the_end_nothing_is_written(outbox):
    wire = Wire(quick=False)
    wire.gate.clear()
    outbox.use(wire)
    outbox.put(message(b"x"))
    await turns()
    await outbox.close()
    wire.gate.set()
    await turns()
    assert wire.left == []


# -- what is not sent -----------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "broken", [message(b"x", max_holding_seconds=-1), Dispatch(("\ud800." + "0" * 64,), (b"y",))]
)
async def test_what_cannot_be_encoded_is_counted_and_does_not_stop_the_rest(outbox, broken, waits):
    wire = Wire()
    if not waits:
        outbox.use(wire)
    outbox.put(broken)
    outbox.put(message(b"good"))
    outbox.use(wire)
    await turns()
    assert wire.left == [b"good"]
    assert outbox.queued_b == 0
    assert outbox.counts == Counter(unsendable=1, sent=1)


async def test_what_waited_too_long_is_dropped_and_counted(outbox):
    now = time.monotonic()
    for body, expires_at in ((b"1", now - 1), (b"2", now + 60), (b"3", now - 1)):
        outbox.put(message(body, expires_at=expires_at))
    wire = Wire()
    outbox.use(wire)
    await turns(10)
    assert wire.left == [b"2"]
    assert outbox.queued_b == 0
    assert outbox.counts == Counter(expired=2, sent=1)


@pytest.mark.parametrize("connected", [False, True])
async def test_what_finds_no_room_is_refused_and_what_waits_stays(outbox, monkeypatch, connected):
    wire = Wire(quick=False)
    wire.gate.clear()
    if connected:
        outbox.use(wire)
    fits = message(b"x" * 100)
    monkeypatch.setattr(limits, "OUTBOX_MAX_B", 2 * fits.size)
    outbox.put(fits)
    outbox.put(fits)
    await turns()
    with pytest.raises(OutboxFull, match=f"{2 * fits.size} bytes wait"):
        outbox.put(message(b""))
    assert outbox.queued_b == 2 * fits.size
    assert outbox.counts["outbox_full"] == 1
    wire.gate.set()
    outbox.use(wire)
    await turns(10)
    assert len(wire.frames) == 2
    outbox.put(fits)


# -- receipts -------------------------------------------------------------------------------


async def test_receipts_leave_before_messages_and_count_for_no_bytes(outbox):
    outbox.put(message(b"x"))
    held = outbox.queued_b
    outbox.put_receipt(b"p" * 32)
    assert outbox.queued_b == held
    wire = Wire()
    outbox.use(wire)
    await turns()
    assert wire.left == [b"p" * 32, b"x"]
    assert outbox.queued_b == 0
    assert outbox.counts == Counter(receipts=1, sent=1)


async def test_a_receipt_that_broke_goes_again(outbox, until):
    wire = Wire()
    wire.breaks = 1
    outbox.use(wire)
    outbox.put_receipt(b"p" * 32)
    await until(lambda: wire.left == [b"p" * 32])
    assert outbox.counts == Counter(receipts=1, written_again=1)


async def test_while_too_much_waits_no_receipts_are_added(outbox, monkeypatch):
    monkeypatch.setattr(limits, "RECEIPTS_MAX", 3)
    outbox.put(message(b"x"))
    for number in range(5):
        outbox.put_receipt(bytes([number]) * 32)
    wire = Wire()
    outbox.use(wire)
    await turns(10)
    assert sorted(wire.left) == [b"\0" * 32, b"\1" * 32, b"x"]
    assert outbox.counts["receipts"] == 2


# -- whatever happens -----------------------------------------------------------------------


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 200)),
        st.tuples(st.just("receipt")),
        st.tuples(st.just("socket"), st.booleans()),
        st.tuples(st.just("away")),
        st.tuples(st.just("break"), st.integers(1, 2)),
        st.tuples(st.just("turns"), st.integers(1, 6)),
        st.tuples(st.just("stall"), st.booleans()),
    ),
    max_size=40,
)


async def play(steps):
    """Run the steps: what has not left counts at every moment, and leaves in the end."""
    one, wires, put = Outbox(ALICE, ADDRESS, Counter()), [Wire()], []

    def waits():
        gone = {body for wire in wires for body in wire.left}
        return [body for body in put if body not in gone]

    for step, *arguments in steps:
        match step:
            case "put":
                put.append(len(put).to_bytes(2) + bytes(arguments[0]))
                one.put(message(put[-1]))
            case "receipt":
                one.put_receipt(b"p" * 32)
            case "socket":
                wires.append(Wire(quick=arguments[0]))
                one.use(wires[-1])
            case "away":
                one.use(None)
            case "break":
                wires[-1].breaks = arguments[0]
            case "turns":
                await turns(arguments[0])
            case "stall":
                (wires[-1].gate.clear if arguments[0] else wires[-1].gate.set)()
        await turns(2)  # one that was written is counted in the writer's next turn
        assert one.queued_b == sum(message(body).size for body in waits())
    for wire in wires:
        wire.gate.set()
        wire.breaks = 0
    one.use(wires[-1])
    async with asyncio.timeout(5):
        while waits():
            await asyncio.sleep(0)
    await turns()
    await one.close()
    assert [body for wire in wires for body in wire.left if body != b"p" * 32] == put
    assert one.queued_b == 0


@settings(deadline=None)
@given(STEPS)
def test_the_bytes_that_wait_are_exact_and_every_message_leaves_once_and_in_order(steps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox_module, "_RETRY_S", 0.0)
        asyncio.run(play(steps))
