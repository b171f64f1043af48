"""The pump between an upstream and a client that only note: what comes leaves in order."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from relay import pump as pumps
from relay import thrift
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
    """Notes what it is told; the test tells events in its name."""

    def __init__(self, _workers: int, events: Any) -> None:
        self.events = events
        self.started: list[int] = []
        self.told: list[tuple[str, Any, Any]] = []

    @property
    def idle(self) -> bool:
        return not self.started

    def start(self, tag: int, _request: Any) -> None:
        self.started.append(tag)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *given, **named: self.told.append((name, given, named))


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

    def ask(self) -> int:
        req = {"path": "/api/chat", "method": "POST", "json": {"model": "m"}, "stream": True}
        self.say(event="relay.http", id="i", req=req)
        return self.upstream.started[-1]

    def say_data(self, tag: int, data: bytes) -> None:
        self.upstream.events.data(tag, data, time.monotonic())

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
    one = Bench()
    yield one
    await one.pump.stop()


def streaming(bench: Bench) -> int:
    tag = bench.ask()
    bench.upstream.events.head(tag, 200, HEAD)
    assert len(bench.client.frames) == 1
    return tag


async def test_the_first_line_leaves_at_once_and_the_next_with_its_acknowledgement(bench: Bench) -> None:
    tag = streaming(bench)
    bench.say_data(tag, b"0\n")
    assert bench.lines == ["0"]
    bench.say_data(tag, b"1\n")
    bench.say_data(tag, b"2\n")
    assert bench.lines == ["0"]
    bench.acknowledge()
    assert bench.lines == ["0", "1", "2"]
    assert [line["line"] for line in bench.client.frames[-1]["lines"]] == ["1", "2"]


async def test_the_upstream_is_told_when_a_little_may_wait(bench: Bench) -> None:
    tag = streaming(bench)
    bench.say_data(tag, b"0\n")
    assert bench.upstream.told[-1] == ("gather", (tag,), {"lazy": True})
    bench.acknowledge()
    assert bench.upstream.told[-1] == ("gather", (tag,), {"lazy": False})


async def test_what_gathered_for_a_window_leaves_at_once(bench: Bench) -> None:
    tag = streaming(bench)
    bench.say_data(tag, b"0\n")
    bench.upstream.events.data(tag, b"1\n2\n", time.monotonic() - limits.BATCH_MS / 1000)
    assert bench.lines == ["0"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.lines == ["0", "1", "2"]


async def test_without_an_acknowledgement_they_leave_by_themselves(bench: Bench) -> None:
    tag = streaming(bench)
    bench.say_data(tag, b"0\n")
    bench.say_data(tag, b"1\n")
    await bench.until(lambda: bench.lines == ["0", "1"])


@pytest.mark.parametrize("acknowledging", [True, False])
async def test_whatever_comes_leaves_whole_and_in_order(bench: Bench, acknowledging: bool) -> None:
    tag = streaming(bench)
    wanted = [str(number) for number in range(400)]
    for number, line in enumerate(wanted):
        bench.say_data(tag, line.encode() + b"\n")
        if number % 7 == 0:
            await asyncio.sleep(0.001)
            if acknowledging:
                bench.acknowledge()
    bench.say_data(tag, b'{"done":true}\n')
    bench.upstream.events.eof(tag)
    bench.upstream.events.closed(tag)
    assert bench.lines == [*wanted, '{"done":true}']
    assert bench.client.frames[-1]["ok"] is True


async def test_a_health_question_is_answered_by_a_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def probe(urls: dict[str, str]) -> list[dict[str, Any]]:
        threads.append(threading.current_thread())
        return [{"name": name, "ok": True, "detail": "HTTP 200"} for name in urls]

    monkeypatch.setattr(pumps, "probe", probe)
    bench.say(event="relay.health", id="h")
    await bench.until(lambda: bool(bench.client.frames))
    assert bench.client.frames[0]["services"] == [{"name": "ollama", "ok": True, "detail": "HTTP 200"}]
    assert threads != [threading.current_thread()]


async def test_what_is_asked_for_again_is_sent_once_and_only_while_little_waits_for_the_sockets(
    bench: Bench,
) -> None:
    tag = streaming(bench)
    bench.say_data(tag, b"0\n")
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
    tag = streaming(bench)
    bench.client.fault = OutboxFull("full")
    bench.say_data(tag, b"0\n")
    await bench.until(lambda: bench.pump.counts["send_failed_OutboxFull"] == 1)
    bench.client.fault = None
    bench.upstream.events.eof(tag)
    await bench.until(lambda: bench.client.frames[-1]["event"] == "relay.response.end")


async def test_bytes_and_the_first_line_are_counted_once(bench: Bench) -> None:
    notes: list[Note] = []
    bench.pump._on_note = notes.append
    tag = streaming(bench)
    before = bench.pump.counts["bytes_out"]
    bench.say_data(tag, "wörd\n".encode())
    await bench.until(lambda: bench.lines == ["wörd"])
    text = json.dumps(bench.client.frames[-1], ensure_ascii=False, separators=(",", ":"))
    assert bench.pump.counts["bytes_out"] - before == len(text.encode()) > len(text)
    bench.acknowledge()
    bench.say_data(tag, b"2\n")
    await bench.until(lambda: len(bench.lines) == 2)
    [first] = [note for note in notes if note.event == "first"]
    assert (first.fields["tag"], 0 <= first.fields["s"] < PATIENCE_S) == (tag, True)
    bench.upstream.events.eof(tag)
    await bench.until(lambda: bench.client.frames[-1]["event"] == "relay.response.end")
    assert bench.pump._unanswered == {}
    assert bench.pump.statistics()["bytes_in"] > 50


async def test_ids_are_forgotten_all_the_time_and_memory_is_given_back_while_nothing_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pumps, "Upstream", FakeUpstream)
    monkeypatch.setattr(limits, "TIDY_S", 0.01)
    tidied: list[float] = []
    given_back: list[bool] = []
    monkeypatch.setattr(Engine, "tidy", lambda _self, now: tidied.append(now))
    monkeypatch.setattr(thrift, "give_back", lambda: given_back.append(one.upstream.idle))
    one = Bench()
    await one.until(lambda: len(given_back) > 1)
    one.ask()
    before = len(tidied)
    await one.until(lambda: len(tidied) > before + 1)
    assert all(given_back)
    await one.pump.stop()
    before = len(tidied)
    await asyncio.sleep(0.05)
    assert len(tidied) == before
