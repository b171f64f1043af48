"""A client's connection fed by hand: requests cut anywhere are the same ones, and no bytes upset it."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talking import LAST, chunk
from uvicorn.server import ServerState

from farm import limits
from farm.door import Door

OFFER = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
Seen = tuple[str, str, tuple[tuple[bytes, bytes], ...], bytes]


class Wall(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2), "socket": self})
        self.said = b""
        self.closed = False
        self.unsent = 0

    def setsockopt(self, *_: object) -> None:
        pass

    def write(self, data: Any) -> None:
        assert not self.closed
        self.said += bytes(data)

    def close(self) -> None:
        self.closed = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


async def fed(pieces: list[bytes]) -> tuple[list[Seen], Wall]:
    """What an application sees of these bytes, and what is answered."""
    seen: list[Seen] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
        seen.append((scope["method"], scope["target"], tuple(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    wall = Wall()
    door = Door(SimpleNamespace(loaded_app=app), ServerState())  # type: ignore[arg-type]
    door.connection_made(wall)
    for piece in pieces:
        if not wall.closed:
            door.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
    for _ in range(60):
        await asyncio.sleep(0)
    door.connection_lost(None)
    await asyncio.sleep(0)
    return seen, wall


@st.composite
def requests(draw: st.DrawFn) -> tuple[Seen, bytes]:
    """What is to be seen, and the bytes that say so."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
    target = draw(st.sampled_from(["/", "/api/x?y=%20", "/a" * 50, "/?", "*"]))
    body = draw(st.binary(max_size=60))
    cut = draw(st.integers(0, len(body)))
    pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
    trailer = draw(st.sampled_from([b"", b"Host: evil\r\n", b"X-T: 1\r\n"]))
    lines, behind = {
        "length": (b"Content-Length: %d\r\n" % len(body), body),
        "chunks": (
            b"Transfer-Encoding: chunked\r\n",
            b"".join(chunk(piece, b";e=1") for piece in pieces) + LAST[:3] + trailer + b"\r\n",
        ),
        "none": (b"", b""),
    }[draw(st.sampled_from(["length", "chunks", "none"]))]
    lines += draw(st.sampled_from([b"", OFFER, b"X-Odd: \xff\r\n"]))
    head = b"Host: h\r\n" + lines
    told = [line.split(b": ") for line in head.split(b"\r\n")[:-1]]
    headers = tuple((name.lower(), value) for name, value in told)
    said = f"{method} {target} HTTP/1.1\r\n".encode() + head + b"\r\n" + behind
    return (method, target, headers, body if behind else b""), said


@settings(max_examples=300, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=5), st.lists(st.integers(0, 2000), max_size=10))
def test_requests_cut_anywhere_are_the_same(told: list[tuple[Seen, bytes]], cuts: list[int]) -> None:
    said = b"".join(one for _, one in told)
    ends = sorted({cut for cut in cuts if cut < len(said)})
    pieces = [said[a:b] for a, b in zip([0, *ends], [*ends, len(said)], strict=True)]
    seen, wall = asyncio.run(fed(pieces))
    assert seen == [one for one, _ in told]
    assert wall.said.count(b"HTTP/1.1 200 ") == len(told)
    assert wall.said.count(b"HTTP/1.1 ") == len(told)


@settings(max_examples=500, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=3), st.data())
def test_no_bytes_upset_it(told: list[tuple[Seen, bytes]], data: st.DataObject) -> None:
    said = bytearray(b"".join(one for _, one in told))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(said)))
        junk = data.draw(
            st.sampled_from([b"", b"\0", b"\r", b"\n", b"\r\n\r\n", b" ", b":", b"0", b"\xff", b"GET"])
        )
        said[at : at + data.draw(st.integers(0, 3))] = junk
    seen, wall = asyncio.run(fed([bytes(said)]))
    assert len(seen) <= said.count(b"HTTP/")
    answers = re.findall(rb"HTTP/1\.[01] (\d{3}) ", wall.said)
    assert answers.count(b"200") == len(seen)
    assert set(answers) <= {b"200", b"400"}
    assert answers.count(b"400") <= 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_garbage_is_refused_or_waited_for(pieces: list[bytes]) -> None:
    seen, wall = asyncio.run(fed(pieces))
    assert seen == []
    assert wall.said == b"" or wall.said.startswith(b"HTTP/1.1 400 ")


async def test_who_still_takes_its_answer_is_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_S", 0.05)
    monkeypatch.setattr(limits, "STALLED_S", 0.3)
    wall = Wall()
    door = Door(SimpleNamespace(loaded_app=None), ServerState())  # type: ignore[arg-type]
    wall.unsent = 1000
    door.connection_made(wall)
    for _ in range(20):
        await asyncio.sleep(0.04)
        wall.unsent -= 10
        assert not wall.closed
    async with asyncio.timeout(10):
        while not wall.closed:  # nothing is taken any more
            await asyncio.sleep(0.01)


async def test_the_end_of_the_server_ends_a_connection() -> None:
    wall = Wall()
    state = ServerState()
    door = Door(SimpleNamespace(loaded_app=None), state)  # type: ignore[arg-type]
    door.connection_made(wall)
    assert state.connections == {door}
    door.shutdown()
    assert wall.closed
    door.connection_lost(None)
    assert not state.connections
