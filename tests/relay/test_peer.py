"""The peer's half as a shell: what it tells the relay when frames are lost, late, or do not come at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from relay.nkn import Message
from relay.peer import Answer, Peer, PeerError
from wire import limits

KEY = b"r" * 32
RELAY = f"relay.{KEY.hex()}"
PATIENCE_S = 20.0


class FakeClient:
    """Notes what is told; the test answers in the relay's name."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def on_message(self, handler: Callable[[Message], Any]) -> None:
        self._handler = handler

    def send_nowait(self, dest: str, text: str, *, on_ack: Any = None, **_terms: Any) -> bytes:
        assert dest == RELAY
        self.told.append(json.loads(text))
        return b""

    def of(self, event: str) -> list[dict[str, Any]]:
        """What was told of one event."""
        return [told for told in self.told if told["event"] == event]

    def answer(self, event: str, src: str = RELAY, **fields: Any) -> None:
        """A frame of the first request comes."""
        frame = {"event": f"relay.response.{event}", "id": self.told[0]["id"], **fields}
        self._handler(Message(src, json.dumps(frame), 1, True, b"12345678", False, KEY))

    def lines(self, *numbers: int) -> None:
        self.answer("lines", lines=[{"seq": number, "ts": 1, "line": f"line {number}"} for number in numbers])


class Conversation:
    """A request whose pieces are read by a task.

    Attributes:
        got: the seq of each piece, in order.
    """

    def __init__(self) -> None:
        self.client = FakeClient()
        self.answer: Answer = Peer(RELAY, self.client).request({"path": "/api/chat"})  # type: ignore[arg-type]
        self.got: list[int] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for piece in self.answer:
            self.got.append(piece.seq)

    async def until(self, so: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not so():
                await asyncio.sleep(0.002)

    async def over(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.task


@pytest.fixture
async def talk(monkeypatch: pytest.MonkeyPatch) -> Conversation:
    """With quick clocks: gaps are asked for after 20 ms, silence lasts 0.8 s."""
    for name, seconds in (
        ("GAP_FIRST_S", 0.02),
        ("GAP_LOOK_S", 0.005),
        ("GAP_GONE_S", 0.4),
        ("ASK_SILENCE_S", 0.8),
    ):
        monkeypatch.setattr(limits, name, seconds)
    one = Conversation()
    await one.until(lambda: one.client.told)
    return one


async def test_what_is_missing_is_asked_for_and_nothing_else(talk: Conversation) -> None:
    client = talk.client
    client.answer("begin", ok=True, status=200)
    client.lines(1)
    client.lines(3, 5)
    await talk.until(lambda: client.of("relay.response.missing"))
    assert client.of("relay.response.missing")[0] == {
        "event": "relay.response.missing",
        "id": client.told[0]["id"],
        "missing": [2, 4],
    }
    client.lines(2, 4)
    client.answer("end", ok=True, last_seq=5)
    await talk.over()
    assert talk.got == [1, 2, 3, 4, 5]
    assert {told["event"] for told in client.told} == {"relay.http", "relay.response.missing"}


async def test_frames_that_overtake_each_other_are_not_asked_for() -> None:
    talk = Conversation()
    await talk.until(lambda: talk.client.told)
    for numbers in ((2,), (1,), (4,), (3,)):
        talk.client.lines(*numbers)
        await asyncio.sleep(0)
    talk.client.answer("begin", ok=True, status=200)
    talk.client.answer("end", ok=True, last_seq=4)
    await talk.over()
    assert talk.got == [1, 2, 3, 4]
    assert [told["event"] for told in talk.client.told] == ["relay.http"]


async def test_a_begin_that_was_lost_is_asked_for(talk: Conversation) -> None:
    talk.client.lines(1)
    await talk.until(lambda: talk.client.of("relay.response.missing"))
    assert talk.client.of("relay.response.missing")[0]["missing"] == [0]
    talk.client.answer("begin", ok=True, status=200)
    talk.client.answer("end", ok=True, last_seq=1)
    await talk.over()
    assert talk.answer.reader.begin["status"] == 200


async def test_after_silence_it_asks_for_what_follows_and_after_more_it_gives_up(talk: Conversation) -> None:
    talk.client.answer("begin", ok=True, status=200)
    talk.client.lines(1, 2)
    with pytest.raises(PeerError, match="fell silent"):
        await talk.over()
    resumes = talk.client.of("relay.resume")
    assert resumes == [{"event": "relay.resume", "id": talk.client.told[0]["id"], "have": 2}]
    assert talk.client.told[-1]["event"] == "relay.cancel"


async def test_whatever_comes_ends_the_silence(talk: Conversation) -> None:
    talk.client.answer("begin", ok=True, status=200)
    for count in (1, 2):
        await talk.until(lambda: len(talk.client.of("relay.resume")) == count)  # noqa: B023
        talk.client.answer("keepalive", last_seq=0, state="loading")
    talk.client.lines(1)
    talk.client.answer("end", ok=True, last_seq=1)
    await talk.over()
    assert talk.got == [1]


async def test_a_request_of_which_nothing_was_heard_is_repeated_as_it_was(talk: Conversation) -> None:
    await talk.until(lambda: len(talk.client.told) == 2)
    assert talk.client.told[1] == talk.client.told[0]
    talk.client.answer("end", ok=False, last_seq=0, code="denied")
    await talk.over()
    assert talk.answer.reader.end["code"] == "denied"


async def test_what_is_gone_may_still_be_under_way(talk: Conversation) -> None:
    talk.client.answer("begin", ok=True, status=200)
    talk.client.lines(2)
    talk.client.answer("gone", missing=[1])
    await asyncio.sleep(0.02)
    talk.client.lines(1)
    talk.client.answer("end", ok=True, last_seq=2)
    await talk.over()
    assert talk.got == [1, 2]
    assert talk.client.of("relay.response.missing") == []


async def test_what_is_gone_for_good_ends_it_and_frees_the_upstream(talk: Conversation) -> None:
    talk.client.answer("begin", ok=True, status=200)
    talk.client.lines(1, 3)
    talk.client.answer("gone", missing=[2])
    with pytest.raises(PeerError, match=r"lines \[2\] were lost"):
        await talk.over()
    assert talk.got == [1]
    assert talk.client.told[-1]["event"] == "relay.cancel"


async def test_a_relay_that_knows_nothing_of_it_was_perhaps_restarted(talk: Conversation) -> None:
    talk.client.answer("begin", ok=True, status=200)
    talk.client.answer("gone", missing=[-1])
    with pytest.raises(PeerError, match="restarted"):
        await talk.over()


async def test_whoever_reads_slowly_is_not_told_of_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ASK_SILENCE_S", 0.1)
    monkeypatch.setattr(limits, "GAP_FIRST_S", 0.0)
    client = FakeClient()
    answer = Peer(RELAY, client).request({})  # type: ignore[arg-type]
    pieces = aiter(answer)
    first = asyncio.create_task(anext(pieces))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    client.answer("begin", ok=True, status=200)
    for number in (1, 3, 2):
        client.lines(number)
    assert (await first).seq == 1
    await asyncio.sleep(0.05)
    monkeypatch.setattr(limits, "ASK_SILENCE_S", 0.001)
    assert [(await anext(pieces)).seq for _ in range(2)] == [2, 3]
    assert [told["event"] for told in client.told] == ["relay.http"]
    monkeypatch.setattr(limits, "ASK_SILENCE_S", 0.1)
    client.answer("end", ok=True, last_seq=3)
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)


async def test_frames_of_others_and_what_is_no_frame_are_passed_over(talk: Conversation) -> None:
    client = talk.client
    client.answer("end", src=f"relay.{'ab' * 32}", ok=True, last_seq=0)
    for text in ("", "[]", "{", '{"id":5}', "[" * 100_000):
        client._handler(Message(RELAY, text, 1, True, b"12345678", False, KEY))
    client.answer("begin", ok=True, status=200)
    client.answer("end", ok=True, last_seq=0)
    await talk.over()
    assert talk.answer.reader.progress.frames == 2


async def test_a_peer_whose_hands_are_full_passes_frames_over_and_asks_for_them_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "GAP_FIRST_S", 0.01)
    monkeypatch.setattr(limits, "GAP_LOOK_S", 0.005)
    monkeypatch.setattr(limits, "READER_AHEAD_MAX", 4)
    one = Conversation()
    await one.until(lambda: one.client.told)
    one.client.answer("begin", ok=True, status=200)
    for number in range(1, 11):
        one.client.lines(number)  # the task has had no turn yet: its queue is full
    await one.until(lambda: len(one.got) == 3)
    one.client.answer("keepalive", last_seq=10, state="generating")
    await one.until(lambda: one.client.of("relay.response.missing"))
    assert one.client.of("relay.response.missing")[0]["missing"][0] == 4
    for number in range(4, 11):
        one.client.lines(number)
        await one.until(lambda: one.got[-1] == number)  # noqa: B023
    one.client.answer("end", ok=True, last_seq=10)
    await one.over()
    assert one.got == list(range(1, 11))
