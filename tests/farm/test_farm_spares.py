"""Connections to a backend that are used again: only after whole answers, and so that no client notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from attacks import ATTACKS, HOST, get
from fronts import standing
from talking import CHUNKED, LAST, OK, chunk, connected

from farm import limits
from farm.courier import Answer, BrokeError, RefusedError, ask
from farm.spares import Spares


@dataclass
class Keeper:
    """A server that keeps its connections and answers each request with its own target, or as it is told."""

    url: str = ""
    connections: int = 0
    asked: list[tuple[int, str]] = field(default_factory=list)
    answers: dict[str, bytes] = field(default_factory=dict)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await self._body(reader, head)
                target = head.split(" ")[1]
                self.asked.append((number, target))
                words = target.encode()
                writer.write(
                    self.answers.get(target, OK + b"Content-Length: %d\r\n\r\n%b" % (len(words), words))
                )
        writer.close()

    async def _body(self, reader: asyncio.StreamReader, head: str) -> None:
        names = {
            line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head.split("\r\n")
        }
        if "content-length" in names:
            await reader.readexactly(int(names["content-length"]))
        elif "transfer-encoding" in names:
            await reader.readuntil(b"0\r\n\r\n")


@contextlib.asynccontextmanager
async def keeping() -> AsyncIterator[Keeper]:
    keeper = Keeper()
    server = await asyncio.start_server(keeper.serve, "127.0.0.1", 0)
    keeper.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield keeper
    finally:
        server.close()
        for writer in keeper.writers:
            writer.close()


async def said(answer: Answer) -> bytes:
    found = b""
    while pieces := await answer.more():
        found += b"".join(pieces)
    return found


async def talk(
    keeper: Keeper, spares: Spares, target: str = "/a", method: str = "POST", content: bytes | None = b"x"
) -> bytes:
    answer = await ask(keeper.url, method, target, [], content, spares=spares)
    try:
        return await said(answer)
    finally:
        answer.close()


@pytest.fixture
async def spares() -> AsyncIterator[Spares]:
    made = Spares()
    yield made
    made.close()


async def test_one_connection_serves_one_request_after_the_other(spares: Spares) -> None:
    async with keeping() as keeper:
        for index in range(20):
            assert await talk(keeper, spares, f"/{index}") == f"/{index}".encode()
        assert keeper.connections == 1
        assert len(spares) == 1


async def test_requests_at_the_same_time_have_connections_of_their_own(spares: Spares) -> None:
    async with keeping() as keeper:
        for _ in range(3):
            found = await asyncio.gather(*(talk(keeper, spares, f"/{index}") for index in range(8)))
            assert found == [f"/{index}".encode() for index in range(8)]
        assert keeper.connections == len(spares) == 8


ENDS = {
    "a length": (OK + b"Content-Length: 1\r\n\r\na", True),
    "chunks": (CHUNKED + chunk(b"a") + LAST, True),
    "nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    "the backend closes": (OK + b"Connection: close\r\nContent-Length: 1\r\n\r\na", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", False),
    "something behind it": (OK + b"Content-Length: 1\r\n\r\naX", False),
    "another answer behind it": (OK + b"Content-Length: 1\r\n\r\na" + OK + b"\r\n", False),
}


@pytest.mark.parametrize("name", ENDS)
async def test_only_a_whole_answer_with_nothing_behind_it_leaves_a_spare(spares: Spares, name: str) -> None:
    told, kept = ENDS[name]
    async with keeping() as keeper:
        keeper.answers["/a"] = told
        await talk(keeper, spares)
        assert len(spares) == kept
        assert await talk(keeper, spares, "/b") == b"/b"
        assert keeper.connections == (1 if kept else 2)


async def test_something_that_comes_later_is_noticed_before_the_next_request(spares: Spares) -> None:
    async with keeping() as keeper:
        await talk(keeper, spares)
        keeper.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await asyncio.sleep(0.05)
        assert await talk(keeper, spares, "/b") == b"/b"
        assert keeper.connections == 2


async def test_an_answer_to_head_leaves_none(spares: Spares) -> None:
    async with keeping() as keeper:
        keeper.answers["/a"] = OK + b"Content-Length: 9\r\n\r\n"
        await talk(keeper, spares, method="HEAD", content=None)
        assert len(spares) == 0


async def test_a_client_that_leaves_cuts_the_connection(spares: Spares) -> None:
    async with keeping() as keeper:
        keeper.answers["/a"] = CHUNKED + chunk(b"a")
        answer = await ask(keeper.url, "POST", "/a", [], b"x", spares=spares)
        assert await answer.more() == [b"a"]
        answer.close()
        answer.close()
        assert len(spares) == 0


async def test_an_answer_that_nobody_read_leaves_none(spares: Spares) -> None:
    async with keeping() as keeper:
        answer = await ask(keeper.url, "POST", "/a", [], b"x", spares=spares)
        await asyncio.sleep(0.05)
        answer.close()
        assert len(spares) == 0


async def test_a_spare_that_was_closed_is_not_used(spares: Spares) -> None:
    async with keeping() as keeper:
        await talk(keeper, spares)
        keeper.writers[0].close()
        await asyncio.sleep(0.05)
        assert await talk(keeper, spares, "/b") == b"/b"


async def test_a_spare_that_closes_at_that_very_moment_is_replaced(spares: Spares) -> None:
    async with keeping() as keeper:
        await talk(keeper, spares)
        keeper.writers[0].transport.abort()  # its reset is not read yet when the next request is written
        assert await talk(keeper, spares, "/b") == b"/b"
        assert [target for _, target in keeper.asked] == ["/a", "/b"]


async def test_what_breaks_off_later_is_the_requests_own_fault(spares: Spares) -> None:
    """It had the request by then, and may have died of it: whoever asks again must know."""
    async with keeping() as keeper:
        await talk(keeper, spares)
        keeper.answers["/b"] = b""
        asking = asyncio.create_task(talk(keeper, spares, "/b"))
        await asyncio.sleep(limits.STALE_S + 0.1)
        keeper.writers[0].close()
        with pytest.raises(BrokeError):
            await asking
        assert keeper.connections == 1


async def test_a_body_in_pieces_takes_a_new_connection_as_it_cannot_be_sent_twice(spares: Spares) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with keeping() as keeper:
        await talk(keeper, spares)
        answer = await ask(keeper.url, "POST", "/b", [], pieces(), spares=spares)
        assert await said(answer) == b"/b"
        answer.close()
        assert keeper.connections == len(spares) == 2


async def test_a_large_body_that_is_sent_whole_leaves_a_spare(spares: Spares) -> None:
    async with keeping() as keeper:
        for _ in range(3):
            assert await talk(keeper, spares, content=bytes(3 * limits.COURIER_SLICE_B)) == b"/a"
        assert keeper.connections == 1


async def test_spares_grow_old(spares: Spares, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SPARE_S", 0.1)
    async with keeping() as keeper:
        await asyncio.gather(*(talk(keeper, spares) for _ in range(3)))
        assert len(spares) == 3
        async with asyncio.timeout(10):
            while len(spares):
                await asyncio.sleep(0.02)
        assert await talk(keeper, spares) == b"/a"
        assert keeper.connections == 4


async def test_there_are_only_so_many(spares: Spares, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SPARES", 2)
    async with keeping() as keeper:
        await asyncio.gather(*(talk(keeper, spares) for _ in range(6)))
        assert len(spares) == 2


async def test_nobody_there_is_told_as_before(spares: Spares) -> None:
    async with keeping() as keeper:
        await talk(keeper, spares)
    await asyncio.sleep(0.05)
    with pytest.raises(RefusedError):
        await talk(keeper, spares)


async def test_a_backend_that_went_down_leaves_no_spare() -> None:
    async with keeping() as keeper, standing(keeper.url, alive=False) as rooms:
        reader, writer = await connected(rooms.url)
        writer.write(get(b"/api/tags", HOST, b""))
        assert (await reader.readline()).split()[1] == b"200"
        backend = rooms.backends[0]
        async with asyncio.timeout(10):
            while not len(backend.spares):
                await asyncio.sleep(0.01)
        backend.refused()
        assert len(backend.spares) == 0
        writer.close()


async def test_no_attack_moves_the_answers_of_a_kept_connection() -> None:
    """After each of them, whole and cut, every client still gets the answer to what it asked itself."""
    async with keeping() as keeper, standing(keeper.url, alive=False) as rooms:
        rooms.backends[0].place.loaded = frozenset({"a:latest"})
        for number, attack in enumerate(attack for group in ATTACKS.values() for attack in group):
            _, attacker = await connected(rooms.url)
            attacker.write(attack.sent)
            for step in range(2):
                reader, writer = await connected(rooms.url)
                target = f"/api/tags?{number}.{step}".encode()
                writer.write(get(target, HOST + b"Connection: close\r\n", b""))
                async with asyncio.timeout(10):
                    answer = await reader.read()
                assert answer.endswith(b"\r\n\r\n" + target), (attack.name, answer)
                writer.close()
            attacker.close()
        assert keeper.connections < len(keeper.asked)
