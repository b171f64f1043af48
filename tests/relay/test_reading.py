"""Reading on the loop: when a stream rests, for how long, what is read together; on a clock made by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from relay import reading as readings
from relay.call import Call
from relay.events import StreamMode
from relay.reading import Reading, Rounds
from wire import limits
from wire.errors import Fault

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
TAG = 7


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Loop:
    """A loop that does what it is told when it is told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.readers: dict[int, Callable[[], None]] = {}
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def add_reader(self, number: int, callback: Callable[[], None]) -> None:
        assert number not in self.readers
        self.readers[number] = callback

    def remove_reader(self, number: int) -> None:
        del self.readers[number]

    def call_soon(self, callback: Callable[..., None], *given: Any) -> None:
        self.soon.append(lambda: callback(*given))

    def call_at(self, when: float, callback: Callable[..., None], *given: Any) -> None:
        self.later.append((when, lambda: callback(*given)))

    def pass_time(self, seconds: float) -> None:
        """What is due is called, then the readers, once each, then what they asked for."""
        self.now += seconds
        due = [one for one in self.later if one[0] <= self.now]
        self.later = [one for one in self.later if one[0] > self.now]
        soon, self.soon = self.soon, []
        for callback in [*(callback for _, callback in due), *soon, *self.readers.values()]:
            callback()
        while self.soon:
            self.soon.pop(0)()


class Bench:
    """A Reading of a socket whose other end is at hand."""

    def __init__(self, make_request: Any, loop: Loop, share_s: float, **changes: Any) -> None:
        self.loop = loop
        self.there, here = socket.socketpair()
        self.told: list[tuple[str, Any]] = []
        self.ended: list[int] = []
        self.share_s = share_s
        call = Call(make_request(**changes))
        call.opened = True
        self.reading = Reading(
            TAG,
            call,
            here,
            self,
            room=memoryview(bytearray(2000)),
            rounds=Rounds(),
            share_s=lambda: self.share_s,
            ended=self.ended.append,
        )
        self.reading.begin()

    def head(self, _tag: int, status: int, _headers: dict[str, str]) -> None:
        self.told.append(("head", status))

    def data(self, _tag: int, data: bytes, came_at: float) -> None:
        self.told.append(("data", data))
        self.came_at = came_at

    def eof(self, _tag: int) -> None:
        self.told.append(("eof", None))

    def failed(self, _tag: int, fault: Fault) -> None:
        self.told.append(("failed", fault.code))

    def closed(self, _tag: int) -> None:
        pytest.fail("that is for `upstream` to say")

    def send(self, *parts: bytes, after_s: float = 0.0) -> list[tuple[str, Any]]:
        """Say this, let time pass, and what was told of it."""
        self.told.clear()
        self.there.sendall(b"".join(parts))
        self.loop.pass_time(after_s)
        return list(self.told)

    def close(self) -> None:
        self.reading.stop()
        self.there.close()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(readings, "asyncio", SimpleNamespace(get_running_loop=lambda: made))
    return made


@pytest.fixture
def bench(make_request: Any, loop: Loop) -> Iterator[Bench]:
    made = Bench(make_request, loop, 0.05)
    yield made
    made.close()
    assert loop.readers == {}


def test_the_head_is_told_a_turn_before_the_body_that_came_with_it(bench):
    bench.there.sendall(HEAD + chunk(b"a\n") + LAST)
    for ready in list(bench.loop.readers.values()):
        ready()
    assert bench.told == [("head", 200)]
    bench.loop.pass_time(0.0)
    assert bench.told == [("head", 200), ("data", b"a\n"), ("eof", None)]


def test_a_stream_that_is_faster_than_its_share_rests_and_what_gathered_comes_at_once(bench):
    assert bench.send(HEAD, chunk(b"a\n"), after_s=0.01) == [("head", 200), ("data", b"a\n")]
    assert bench.loop.readers == {}
    assert bench.send(chunk(b"b\n"), after_s=0.02) == []
    assert bench.send(chunk(b"c\n"), after_s=0.02) == []
    assert bench.send(chunk(b"d\n"), after_s=0.02) == [("data", b"b\nc\nd\n")]
    assert bench.send(LAST, after_s=0.04) == []
    assert bench.send(after_s=0.02) == [("eof", None)]
    assert bench.ended == [TAG]


def test_a_stream_that_is_no_faster_than_its_share_is_read_as_it_comes(bench):
    bench.send(HEAD, chunk(b"a\n"), after_s=0.06)
    for _ in range(3):
        assert bench.send(chunk(b"b\n"), after_s=0.051) == [("data", b"b\n")]
    assert bench.loop.later == []


def test_after_a_rest_without_lines_the_next_comes_as_soon_as_it_is_there(bench):
    bench.send(HEAD, chunk(b"a\n"), after_s=0.01)
    assert bench.send(after_s=0.06) == []
    assert len(bench.loop.readers) == 1
    assert bench.send(chunk(b"b\n"), after_s=0.05) == [("data", b"b\n")]


def test_the_first_line_never_rests(bench):
    bench.share_s = 1000.0
    assert bench.send(HEAD, after_s=2000.0) == [("head", 200)]
    assert bench.send(chunk(b"a\n"), after_s=1000.0) == [("data", b"a\n")]


def test_a_flood_is_read_on_however_many_others_there_are(bench):
    bench.share_s = 1000.0
    bench.send(HEAD, after_s=2000.0)
    assert bench.send(chunk(b"x" * 6000)) == [("data", b"x" * 1994)]
    assert bench.send() == [("data", b"x" * 2000)]
    assert bench.send() == [("data", b"x" * 2000)]
    assert bench.loop.later == []
    assert bench.send() == [("data", b"x" * 6)]
    assert bench.loop.readers == {}, "and now it rests"


def test_a_body_that_is_no_stream_is_read_without_rests(make_request, loop):
    bench = Bench(make_request, loop, 1000.0, stream=StreamMode(wanted=False, lines=False))
    assert bench.send(HEAD, chunk(b"a")) == [("head", 200), ("data", b"a")]
    assert bench.send(chunk(b"b")) == [("data", b"b")]
    bench.close()


WINDOW_S = limits.BATCH_MS / 1000
_ROUND_S = limits.CROWD_ROUNDS * limits.ROUND_S


def under_way(bench: Bench) -> None:
    """A first line left and is not acknowledged yet; no share keeps the next."""
    bench.share_s = 0.0
    bench.send(HEAD, chunk(b"a\n"))
    bench.reading.gather(lazy=True)


def test_while_a_frame_is_under_way_a_little_waits_for_its_window_and_wakes_the_loop_once(bench):
    under_way(bench)
    assert bench.send(chunk(b"b\n"), after_s=0.03) == []
    began = bench.loop.now
    assert bench.loop.readers == {}
    assert bench.send(chunk(b"c\n"), after_s=0.03) == []
    assert bench.send(after_s=0.06) == [("data", b"b\nc\n")]
    assert bench.came_at == began, "so that their window is over now"
    assert bench.send(chunk(b"d\n"), after_s=0.0) == []


def test_what_gathers_comes_at_once_when_the_frame_is_acknowledged(bench):
    under_way(bench)
    assert bench.send(chunk(b"b\n"), after_s=0.01) == []
    bench.reading.gather(lazy=False)
    assert bench.send(after_s=0.0) == [("data", b"b\n")]
    assert bench.send(chunk(b"c\n"), after_s=0.0) == [("data", b"c\n")]
    bench.loop.pass_time(1.0)
    assert len(bench.loop.readers) == 1


def test_the_end_of_a_rest_that_was_cut_short_does_not_end_the_next_one(bench):
    under_way(bench)
    assert bench.send(chunk(b"b\n"), after_s=0.04) == []
    bench.reading.gather(lazy=False)
    assert bench.send(after_s=0.0) == [("data", b"b\n")]
    bench.reading.gather(lazy=True)
    assert bench.send(chunk(b"c\n"), after_s=0.02) == []
    assert bench.send(chunk(b"d\n"), after_s=0.04) == [], "where the first rest would have ended"
    assert bench.send(after_s=0.05) == [("data", b"c\nd\n")]


@pytest.mark.parametrize("much", [b"x" * limits.LITTLE_B, LAST])
def test_a_flood_or_the_end_does_not_wait(make_request, loop, much):
    bench = Bench(make_request, loop, 0.0)
    under_way(bench)
    told = bench.send(much if much == LAST else chunk(much))
    assert told[0][0] == ("eof" if much == LAST else "data")
    bench.close()


def test_an_upstream_that_goes_while_a_little_could_wait_is_noticed(bench):
    under_way(bench)
    bench.there.close()
    bench.told.clear()
    bench.loop.pass_time(0.0)
    assert bench.told == [("failed", "upstream_broke")]


@pytest.mark.parametrize("changes", [{"batch_ms": 0}, {"stream": StreamMode(wanted=False, lines=False)}])
def test_without_a_window_nothing_waits(make_request, loop, changes):
    bench = Bench(make_request, loop, 1000.0, **changes)
    bench.send(HEAD, chunk(b"a\n"))
    bench.reading.gather(lazy=True)
    assert bench.send(chunk(b"b\n")) == [("data", b"b\n")]
    assert bench.loop.later == []
    bench.close()


def test_no_rest_is_longer_than_the_window_however_small_the_share(bench):
    bench.share_s = 1000.0
    bench.send(HEAD, chunk(b"a\n"))
    began = bench.loop.now
    assert bench.send(chunk(b"b\n"), after_s=WINDOW_S + _ROUND_S) == [("data", b"b\n")]
    assert bench.came_at == began, "it may have come with the rest's beginning"
    assert bench.send(after_s=10.0) == []
    assert bench.send(chunk(b"c\n"), after_s=0.0) == [("data", b"c\n")]
    assert bench.came_at == bench.loop.now, "the rest before it is long over"


def test_one_that_is_held_while_it_rests_is_read_when_neither_keeps_it(bench):
    bench.send(HEAD, chunk(b"a\n"), after_s=0.01)
    bench.reading.hold(held=True)
    bench.reading.hold(held=True)
    assert bench.send(chunk(b"b\n"), after_s=1.0) == []
    bench.reading.hold(held=False)
    assert bench.send() == [("data", b"b\n")]
    bench.reading.hold(held=True)
    bench.reading.hold(held=False)
    assert bench.send(chunk(b"c\n")) == [], "it rests still"
    assert bench.send(after_s=0.07) == [("data", b"c\n")]


def test_one_that_was_stopped_says_nothing_any_more(bench):
    bench.send(HEAD, chunk(b"a\n"), after_s=0.01)
    bench.reading.hold(held=True)
    bench.reading.hold(held=False)
    bench.reading.stop()
    bench.reading.stop()
    bench.told.clear()
    bench.loop.pass_time(1.0)
    assert (bench.told, bench.ended, bench.loop.readers) == ([], [], {})
    assert bench.there.recv(1) == b""


@pytest.mark.parametrize("event", ["head", "data", "eof"])
def test_one_that_is_stopped_by_what_it_tells_says_nothing_more(bench, monkeypatch, event):
    def stops(*_given: Any) -> None:
        bench.told.append((event, None))
        bench.reading.stop()

    monkeypatch.setattr(bench, event, stops)
    told = bench.send(HEAD, chunk(b"a\n"), LAST)
    assert [name for name, _ in told] == ["head", "data", "eof"][: ["head", "data", "eof"].index(event) + 1]
    assert bench.ended == []


@pytest.mark.parametrize("event", ["head", "data", "eof"])
def test_a_mistake_of_whoever_listens_ends_it_and_is_told_as_ours(bench, monkeypatch, event):
    monkeypatch.setattr(bench, event, lambda *_: {}["nothing"])
    assert bench.send(HEAD, chunk(b"a\n"), LAST)[-1] == ("failed", "internal")
    assert (bench.ended, bench.loop.readers) == ([TAG], {})


def test_a_mistake_in_telling_of_a_failure_ends_it_all_the_same(bench, monkeypatch):
    monkeypatch.setattr(bench, "failed", lambda *_: {}["nothing"])
    with pytest.raises(KeyError):
        bench.send(b"junk\r\n")
    assert (bench.ended, bench.loop.readers) == ([TAG], {})


def test_a_wake_up_for_nothing_is_nothing(bench):
    assert bench.send(after_s=1.0) == []
    assert len(bench.loop.readers) == 1


# -- rounds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2, 3])
def test_what_is_due_at_about_the_same_time_is_called_together_and_never_early(loop, every):
    rounds, called = Rounds(), []
    for number in range(100):
        rounds.call_later(
            0.08 + number / 10_000, lambda number=number: called.append((number, loop.now)), every=every
        )
    assert len(loop.later) <= 2
    while loop.later:
        loop.pass_time(0.001)
    assert sorted(number for number, _ in called) == list(range(100))
    for number, at in called:
        late_s = at - (100.0 + 0.08 + number / 10_000)
        assert -1e-9 <= late_s <= every * limits.ROUND_S + 0.001
    assert rounds._rounds == {}


def test_rounds_of_two_kinds_meet(loop):
    rounds = Rounds()
    for number in range(40):
        rounds.call_later(number / 1000, lambda: None, every=1 + number % 2)
    assert len(loop.later) <= 5


def test_a_round_that_asks_for_the_next_one_gets_it(loop):
    rounds, times = Rounds(), []

    def again() -> None:
        times.append(loop.now)
        if len(times) < 3:
            rounds.call_later(limits.ROUND_S, again)

    rounds.call_later(0.0, again)
    for _ in range(10):
        loop.pass_time(limits.ROUND_S)
    assert len(times) == 3
