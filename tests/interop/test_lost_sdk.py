"""Networks that lose for real, with the unmodified SDK as peer: what it lacks it asks for until it has it.

A peer that acknowledges is helped by the relay's own resending as well; one that never does has only what it
asks for. The frames that the SDK hands out are read by a program of a few lines, as anybody would write it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness import Relay
from interop.conformance import Asker, Stage, Stream, fresh
from interop.sdk import Peers
from scripted import NDJSON, Scripted, Visit

from relay.nkn.devnode import Choice, DevNode, Faults
from relay.reader import Reader

pytestmark = [pytest.mark.node, pytest.mark.timeout(180)]

LINES = 160
PATIENCE_S = 90.0


async def _paced(visit: Visit) -> None:
    """Twenty lines a second."""
    await visit.head(NDJSON)
    for number in range(LINES):
        await visit.chunk(b'{"response":"w%d ","done":false}\n' % number)
        await asyncio.sleep(0.05)
    await visit.rest(b'{"response":"","done":true}\n')


@pytest.fixture
async def lossy() -> AsyncIterator[DevNode]:
    async with DevNode() as started:
        yield started


@pytest.fixture
async def stage(tmp_path: Path, lossy: DevNode) -> AsyncIterator[Stage]:
    async with (
        Scripted({"": _paced}) as upstream,
        Relay(tmp_path, lossy.rpc_url, upstream.url, RELAY_KEEPALIVE_S="2") as relay,
    ):
        yield Stage(lossy.rpc_url, relay, upstream)


@pytest.fixture(params=["ack", "none"])
def answers(request: pytest.FixtureRequest) -> str:
    """Acknowledging, as the SDK does by itself, or never."""
    return str(request.param)


@pytest.fixture
async def asker(answers: str, stage: Stage, peers: Peers) -> Asker:
    client = await peers.open("peer", stage.node, identifier="train", numSubClients=2)
    await client.handle(answers)
    return Asker(peers, client, stage.relay.address)


class Program:
    """What a peer's program does with the frames of one request.

    Attributes:
        got: the lines in order.
        asked: how often it asked for something again.
    """

    def __init__(self, asker: Asker) -> None:
        self.identifier = fresh()
        self.got: list[str] = []
        self.asked = 0
        self.reader = Reader(self.identifier)
        self._asker = asker
        self._seen = 0

    async def begin(self) -> None:
        req = {"path": "/api/generate", "method": "POST", "json": {"model": "m"}, "stream": "chunks"}
        await self.say(event="relay.http", id=self.identifier, req=req)

    async def say(self, **event: Any) -> None:
        """Without waiting for an acknowledgement, which may get lost as anything may."""
        await self._asker.peer.send(self._asker.address, json.dumps(event), noReply=True)

    async def ask(self, event: str, **fields: Any) -> None:
        self.asked += 1
        await self.say(event=event, id=self.identifier, **fields)

    def read(self) -> None:
        """Take what came."""
        frames = self._asker.so_far(self.identifier)
        for frame in frames[self._seen :]:
            self.got += [piece.line or "" for piece in self.reader.feed(frame)]
        self._seen = len(frames)

    async def lines(self, count: int) -> None:
        """Wait for so many lines."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.got) < count:
                await asyncio.sleep(0.02)
                self.read()

    async def finish(self) -> Stream:
        """Ask for what is missing every 0.4 s, and for all that follows when nothing comes."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.reader.complete or self.reader.begin is None:
                before = self._seen
                await asyncio.sleep(0.4)
                self.read()
                if missing := self.reader.missing():
                    await self.ask("relay.response.missing", missing=missing[:200])
                elif self._seen == before:
                    await self.ask("relay.resume", have=self.reader.have)
        return Stream(self._asker.so_far(self.identifier))

    def check(self) -> None:
        """Every line once and in order."""
        words = [json.loads(line)["response"] for line in self.got]
        assert words == [*(f"w{number} " for number in range(LINES)), ""]
        assert self.reader.end["ok"]
        assert self.reader.end["last_seq"] == LINES + 1


@pytest.mark.parametrize("loss", [0.1, 0.4])
async def test_a_peer_that_loses_frames_asks_until_it_has_them(
    asker: Asker, answers: str, stage: Stage, lossy: DevNode, loss: float
) -> None:
    program = Program(asker)
    lossy.faults = Faults(loss=loss)
    for _ in range(8):  # the request itself may get lost
        await program.begin()
    await program.finish()
    lossy.faults = Faults()
    program.check()
    assert len(stage.upstream.visits) == 1, "executed once"
    assert program.asked > 0 or answers == "ack" or loss < 0.4


async def test_a_peer_that_is_cut_off_in_mid_stream_loses_no_line(
    asker: Asker, stage: Stage, lossy: DevNode
) -> None:
    program = Program(asker)
    await program.begin()
    await program.lines(20)
    lossy.faults = Faults(only="train", loss=1.0)
    assert lossy.cut(Choice(address="train")) == 2
    await asyncio.sleep(5)
    program.read()
    before = len(program.got)
    assert before < LINES - 50
    lossy.faults = Faults()
    async with asyncio.timeout(PATIENCE_S):
        while not all(part["ready"] for part in await asker.peer.state()):
            await asyncio.sleep(0.05)
    await program.ask("relay.resume", have=program.reader.have)
    await program.finish()
    program.check()
    assert len(stage.upstream.visits) == 1


async def test_a_peer_that_comes_back_as_another_client_of_its_key_loses_no_line(
    stage: Stage, peers: Peers
) -> None:
    seed = "5b" * 32
    first = await peers.open("page", stage.node, seed=seed, identifier="page", numSubClients=2)
    program = Program(Asker(peers, first, stage.relay.address))
    await program.begin()
    await program.lines(20)
    await first.close()
    second = await peers.open("page", stage.node, seed=seed, identifier="reloaded", numSubClients=2)
    again = Program(Asker(peers, second, stage.relay.address))
    again.identifier = program.identifier
    again.reader = Reader(program.identifier)
    await again.ask("relay.resume", have=0)
    await again.finish()
    again.check()
    assert len(stage.upstream.visits) == 1
