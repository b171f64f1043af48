"""Requests framed so that two servers could see different ones: none becomes two behind the front."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from attacks import ATTACKS, HOST, SHOW, Attack, get
from fronts import standing
from talking import connected

from farm import limits
from farm.rooms import Rooms

REQUEST_LINE = re.compile(rb"^[A-Za-z]+ +\S+ +HTTP/\d", re.MULTILINE)
WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"  # one request a connection


@dataclass
class Victim:
    """Takes whatever is sent to it and keeps it, connection by connection."""

    url: str = ""
    said: list[bytearray] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self.said.append(kept)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                kept += data
                if _heard_out(bytes(kept)):
                    writer.write(WELL)
        writer.close()

    @property
    def asked(self) -> list[str]:
        """The target of the first request of each connection."""
        return [bytes(kept).split(b" ")[1].decode() for kept in self.said if kept]


def _heard_out(said: bytes) -> bool:
    """Whether the first request has ended in at least one way to read it."""
    head, end, body = said.partition(b"\r\n\r\n")
    if b"transfer-encoding" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def requests(said: bytes, blank: bytes, first: str) -> list[bytes]:
    """The heads in what one connection brought, to a server of this mind."""
    found = []
    while said:
        head, _, said = _split(said, blank)
        found.append(head)
        length = re.search(rb"(?i)content.length[^:]*:\s*\+?(\d+)", head)
        chunked = re.search(rb"(?i)transfer.encoding[^:]*:.*chunked", head)
        if chunked and (first == "chunks" or not length):
            said = said.partition(b"0\r\n\r\n")[2]
        elif length:
            said = said[int(length[1]) :]
    return [head for head in found if REQUEST_LINE.search(head)]


def _split(said: bytes, blank: bytes) -> tuple[bytes, bytes, bytes]:
    ends = re.search(blank, said)
    return (said[: ends.start()], b"", said[ends.end() :]) if ends else (said, b"", b"")


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HEAD_S", 3.0), ("IDLE_S", 3.0), ("LINGER_S", 0.2), ("BODY_WAIT_S", 3.0)):
        monkeypatch.setattr(limits, name, value)


@contextlib.asynccontextmanager
async def front() -> AsyncIterator[tuple[Rooms, Victim]]:
    """A front before a victim that has the model loaded."""
    victim = Victim()
    server = await asyncio.start_server(victim.serve, "127.0.0.1", 0)
    victim.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with standing(victim.url, alive=False) as rooms:
            rooms.backends[0].place.loaded = frozenset({"a:latest"})
            yield rooms, victim
    finally:
        server.close()


async def told(url: str, *sent: bytes) -> list[int]:
    """The statuses of the answers to some bytes, up to the end of the connection, which is waited for."""
    reader, writer = await connected(url)
    found = []
    try:
        for piece in sent:
            writer.write(piece)
            await asyncio.sleep(0.002)
        async with asyncio.timeout(10):
            while line := await reader.readline():
                found.append(int(line.split(b" ")[1]))
                head = await reader.readuntil(b"\r\n\r\n") if found[-1] != 100 else await reader.readline()
                length = re.search(rb"content-length: (\d+)", head.lower())
                await reader.readexactly(int(length[1]) if length else 0)
    except ConnectionResetError:
        pass
    finally:
        writer.close()
    return found


async def withstood(attack: Attack, *, whole: bool) -> None:
    head, end, rest = attack.sent.partition(b"\r\n\r\n")
    async with front() as (rooms, victim):
        said = await told(rooms.url, *([attack.sent] if whole else [head + end, rest]))
        assert (attack.name, *said) == (attack.name, *attack.said)
        if whole:
            assert (attack.name, *victim.asked) == (attack.name, *attack.through)
        else:  # a request whose body turns out to be none may have been begun, and was broken off
            assert victim.asked in ([*attack.through], [*attack.through, SHOW]), attack.name
        for brought in victim.said:
            for blank in (rb"\r\n\r\n", rb"\r?\n\r?\n"):
                for first in ("length", "chunks"):
                    assert len(requests(bytes(brought), blank, first)) <= 1, attack.name
        # The front is as it was: the next client is served.
        assert await told(rooms.url, get(b"/api/tags", HOST + b"Connection: close\r\n", b"")) == [200]
        assert not rooms.desk.tickets, attack.name
        assert rooms.desk.pool.used == 0, attack.name


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("group", ATTACKS)
async def test_no_request_becomes_two(group: str, whole: bool) -> None:
    async with asyncio.TaskGroup() as tasks:
        for attack in ATTACKS[group]:
            tasks.create_task(withstood(attack, whole=whole))


def test_the_attacks_are_those_that_are_counted() -> None:
    assert sum(map(len, ATTACKS.values())) >= 100


@pytest.mark.parametrize("cut", range(5, 150, 7))
async def test_an_attack_in_two_pieces_is_the_same_attack(cut: int) -> None:
    attack = next(one for one in ATTACKS["lengths"] if one.name == "CL.TE for a model")
    async with front() as (rooms, victim):
        assert await told(rooms.url, attack.sent[:cut], attack.sent[cut:]) == [400]
        assert victim.asked == []
