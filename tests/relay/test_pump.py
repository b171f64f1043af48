"""The pump between an upstream and a client that only note: what is posted leaves in order, waking seldom."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from relay import pump as pumps
from relay.admission import Shares
from relay.commands import Note
from relay.engine import Engine
from relay.manner import Manner
from relay.nkn import Message, OutboxFull
from relay.policy import Policy
from relay.pump import Pump
from relay.station import Station
from wire import limits
from wire.origin import Origin

KEY = b"k" * 32
SRC = f"peer.{KEY.hex()}"
PATIENCE_S = 20.0
HEAD = {"content-type": "application/x-ndjson"}


class FakeUpstream:
    """Notes what it is told; the test posts in its name."""

    def __init__(self, _workers: int, events: Any) -> None:
        self.events = events
        self.started: list[int] = []
        self.told: list[tuple[str, Any]] = []

    def start(self, tag: int, _request: Any) -> None:
        self.started.append(tag)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *given, **named: self.told.append((name, given or named))


class FakeClient:
    """Notes frames; acknowledges when told to."""

    queued_b = 0

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.terms: list[tuple[bool, bool]] = []
        self.acks: list[Callable[[object], None]] = []
        self.fault: Exception | None = None

    def on_message(self, handler: Callable[[Message], Any]) -> None:
        self.handler = handler

    def send_nowait(self, _dest: str, text: str, *, on_ack: Any = None, **terms: Any) -> bytes:
        if self.fault is not None:
            raise self.fault
        self.frames.append(json.loads(text))
        self.terms.append((terms["resend"], terms["one_path"]))
        if on_ack is not None:
            self.acks.append(on_ack)
        return b""

    def statistics(self) -> dict[str, Any]:
        return {}


class Bench:
    """A pump with one running stream."""

    def __init__(self) -> None:
        self.client = FakeClient()
        engine = Engine(
            Policy(targets={"ollama": Origin.parse("http://127.0.0.1:1")}),
            Shares(4, 4, 8),
            Manner(),
            Station("relay.ab", "0"),
        )
        self.pump = Pump(engine, self.client, 1, lambda _note: None)  # type: ignore[arg-type]
        self.upstream: FakeUpstream = self.pump._upstream  # type: ignore[assignment]
        self.wakes = 0
        real = self.pump._loop.call_soon_threadsafe

        def counted(*given: Any) -> Any:
            self.wakes += 1
            return real(*given)

        self.pump._loop.call_soon_threadsafe = counted  # type: ignore[method-assign]

    def ask(self) -> int:
        req = {"path": "/api/chat", "method": "POST", "json": {"model": "m"}, "stream": True}
        self.say(event="relay.http", id="i", req=req)
        return self.upstream.started[-1]

    def say(self, **event: Any) -> None:
        self.client.handler(Message(SRC, json.dumps(event), 1, True, b"12345678", False, KEY))

    def acknowledge(self) -> None:
        acks, self.client.acks = self.client.acks, []
        for ack in acks:
            ack(None)

    @property
    def lines(self) -> list[str]:
        """Every line that left, in the order of leaving."""
        batches = [frame["lines"] for frame in self.client.frames if frame["event"] == "relay.response.lines"]
        return [line["line"] for batch in batches for line in batch]

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not so():
                await asyncio.sleep(0.002)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(pumps, "Upstream", FakeUpstream)
    loop = asyncio.get_running_loop()
    real = loop.call_soon_threadsafe
    one = Bench()
    yield one
    loop.call_soon_threadsafe = real  # type: ignore[method-assign]
    await one.pump.stop()


async def streaming(bench: Bench) -> int:
    tag = bench.ask()
    bench.upstream.events.head(tag, 200, HEAD)
    await bench.until(lambda: len(bench.client.frames) == 1)
    return tag


async def test_the_first_line_wakes_the_loop_and_leaves(bench: Bench) -> None:
    tag = await streaming(bench)
    bench.upstream.events.data(tag, b'{"n":0}\n')
    await bench.until(lambda: bench.lines == ['{"n":0}'])
    assert ("taken", (tag,)) in bench.upstream.told


async def test_what_comes_at_once_keeps_the_times_at_which_it_came(bench: Bench) -> None:
    tag = bench.ask()
    bench.upstream.events.head(tag, 200, HEAD)
    bench.upstream.events.data(tag, b"0\n")
    threading.Event().wait(0.02)  # the loop is busy elsewhere
    bench.upstream.events.eof(tag)
    await bench.until(lambda: len(bench.client.frames) == 3)
    begin, lines, _ = bench.client.frames
    assert lines["lines"][0]["ts"] - begin["ts"] in {0, 1}


async def test_lines_that_would_only_be_held_wake_nobody_and_leave_with_the_acknowledgement(
    bench: Bench,
) -> None:
    tag = await streaming(bench)
    bench.upstream.events.data(tag, b"0\n")
    await bench.until(lambda: bench.lines == ["0"])
    before = bench.wakes
    bench.upstream.events.data(tag, b"1\n")
    bench.upstream.events.data(tag, b"2\n")
    assert bench.wakes == before
    bench.acknowledge()
    assert bench.lines == ["0", "1", "2"]
    assert [line["line"] for line in bench.client.frames[-1]["lines"]] == ["1", "2"]


async def test_without_an_acknowledgement_they_leave_by_themselves(bench: Bench) -> None:
    tag = await streaming(bench)
    bench.upstream.events.data(tag, b"0\n")
    await bench.until(lambda: bench.lines == ["0"])
    bench.upstream.events.data(tag, b"1\n")
    await bench.until(lambda: bench.lines == ["0", "1"])


async def test_more_than_a_few_or_large_reads_wake_the_loop_all_the_same(bench: Bench) -> None:
    tag = await streaming(bench)
    bench.upstream.events.data(tag, b"0\n")
    await bench.until(lambda: bench.lines == ["0"])
    before = bench.wakes
    for number in range(pumps._LAZY_READS + 1):
        bench.upstream.events.data(tag, b"%d\n" % number)
    assert bench.wakes == before + 1
    await bench.until(lambda: not bench.pump._posted)
    before = bench.wakes
    bench.upstream.events.data(tag, b"x" * pumps._LAZY_B)
    assert bench.wakes == before + 1


async def test_after_a_quiet_window_the_next_line_is_news_again(bench: Bench) -> None:
    tag = await streaming(bench)
    bench.upstream.events.data(tag, b"0\n")
    await bench.until(lambda: tag in bench.pump._lazy)
    await bench.until(lambda: tag not in bench.pump._lazy)
    before = bench.wakes
    bench.upstream.events.data(tag, b"1\n")
    assert bench.wakes == before + 1


@pytest.mark.parametrize("acknowledging", [True, False])
async def test_whatever_a_worker_posts_leaves_whole_and_in_order(bench: Bench, acknowledging: bool) -> None:
    tag = await streaming(bench)
    wanted = [str(number) for number in range(400)]

    def work() -> None:
        for number, line in enumerate(wanted):
            bench.upstream.events.data(tag, line.encode() + b"\n")
            if number % 7 == 0:
                threading.Event().wait(0.001)
        bench.upstream.events.data(tag, b'{"done":true}\n')
        bench.upstream.events.eof(tag)
        bench.upstream.events.closed(tag)

    worker = threading.Thread(target=work)
    worker.start()
    async with asyncio.timeout(PATIENCE_S):
        while bench.client.frames[-1]["event"] != "relay.response.end":
            await asyncio.sleep(0.003)
            if acknowledging:
                bench.acknowledge()
    worker.join()
    assert bench.lines == [*wanted, '{"done":true}']
    assert bench.client.frames[-1]["ok"] is True
    assert bench.pump._lazy == {}


async def test_what_is_asked_for_again_is_sent_once_and_only_while_little_waits_for_the_sockets(
    bench: Bench,
) -> None:
    tag = await streaming(bench)
    bench.upstream.events.data(tag, b"0\n")
    await bench.until(lambda: bench.lines == ["0"])
    assert bench.client.terms == [(True, False), (True, True)]
    bench.client.queued_b = limits.UNSENT_LOW_B + 1
    bench.say(event="relay.response.missing", id="i", missing=[0])
    assert (len(bench.client.frames), bench.pump.counts["again_no_room"]) == (2, 1)
    bench.say(event="ping")
    assert bench.client.frames[-1]["event"] == "relay.pong", "whatever else is sent is sent"
    bench.client.queued_b = limits.UNSENT_LOW_B
    bench.say(event="relay.response.missing", id="i", missing=[1])
    assert (bench.lines, bench.client.terms[-1]) == (["0", "0"], (False, False))


async def test_a_full_outbox_is_counted_and_the_stream_goes_on(bench: Bench) -> None:
    tag = await streaming(bench)
    bench.client.fault = OutboxFull("full")
    bench.upstream.events.data(tag, b"0\n")
    await bench.until(lambda: bench.pump.counts["send_failed_OutboxFull"] == 1)
    bench.client.fault = None
    bench.upstream.events.eof(tag)
    await bench.until(lambda: bench.client.frames[-1]["event"] == "relay.response.end")


async def test_bytes_and_the_first_line_are_counted_once(bench: Bench) -> None:
    notes: list[Note] = []
    bench.pump._on_note = notes.append
    tag = await streaming(bench)
    before = bench.pump.counts["bytes_out"]
    bench.upstream.events.data(tag, "wörd\n".encode())
    await bench.until(lambda: bench.lines == ["wörd"])
    text = json.dumps(bench.client.frames[-1], ensure_ascii=False, separators=(",", ":"))
    assert bench.pump.counts["bytes_out"] - before == len(text.encode()) > len(text)
    bench.acknowledge()
    bench.upstream.events.data(tag, b"2\n")
    await bench.until(lambda: len(bench.lines) == 2)
    [first] = [note for note in notes if note.event == "first"]
    assert (first.fields["tag"], 0 <= first.fields["s"] < PATIENCE_S) == (tag, True)
    bench.upstream.events.eof(tag)
    await bench.until(lambda: bench.client.frames[-1]["event"] == "relay.response.end")
    assert bench.pump._unanswered == {}
    assert bench.pump.statistics()["bytes_in"] > 50
