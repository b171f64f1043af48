"""A stream that is not whole says so on every route, once and in its own form; a whole one does not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fronts import standing
from holes import PATIENCE_S, TEXTS, Told, ask, asked, farm_of, get, quicken, standin

from farm.witness import BROKEN

NATIVE = ("/api/generate", "/api/chat")
DIED = "an error was encountered while running the model: unexpected EOF"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


def said(path: str, told: Told) -> list[Any]:
    """The errors of a stream, as a reader of its kind finds them."""
    if path in NATIVE:
        return [json.loads(line)["error"] for line in told.lines if b'"error"' in line]
    events = [event for event in told.body.split(b"\n\n") if event]
    found = []
    for event in events:
        lines = event.split(b"\n")
        data = next(line for line in lines if line.startswith(b"data:")).removeprefix(b"data:").strip()
        value = {} if data == b"[DONE]" else json.loads(data)
        if value.get("error") or value.get("type") == "error":
            named = path in {"/v1/responses", "/v1/messages"}
            assert (lines[0] == b"event: error") is named
            found.append(value["error"]["message"])
    return found


@pytest.mark.parametrize("path", TEXTS)
async def test_a_whole_stream_is_left_alone(path: str) -> None:
    async with standin() as ollama, farm_of(ollama) as rooms:
        told = await asked(rooms.url, ask(path, "tokens=3"))
        direct = await asked(ollama.url, ask(path, "tokens=3"))
    assert (told.status, told.end, said(path, told)) == (200, "last chunk", [])
    assert len(told.chunks) == len(direct.chunks)


@pytest.mark.parametrize("path", TEXTS)
async def test_a_runner_that_dies_in_the_middle(path: str) -> None:
    async with standin() as ollama, farm_of(ollama) as rooms:
        told = await asked(rooms.url, ask(path, "tokens=9 crash_at=2"))
    assert told.status == 200
    assert said(path, told) == [DIED if path in NATIVE else BROKEN], "told once, by the one who knew first"
    assert told.end == "last chunk"


@pytest.mark.parametrize("path", TEXTS)
async def test_a_runner_killed_by_a_stranger(path: str) -> None:
    async with standin() as ollama, farm_of(ollama) as rooms:
        asking = asyncio.create_task(asked(rooms.url, ask(path, "tokens=999 gap=0.01")))
        await ollama.until(lambda o: o.told > 3)
        ollama.kill_runner("a")
        told = await asyncio.wait_for(asking, PATIENCE_S)
    assert said(path, told) == [DIED if path in NATIVE else BROKEN]
    assert told.end == "last chunk"


@pytest.mark.parametrize("path", TEXTS)
async def test_more_than_thirty_equal_tokens(path: str) -> None:
    async with standin() as ollama, farm_of(ollama) as rooms:
        told = await asked(rooms.url, ask(path, "tokens=2 repeat=60"))
        assert b"farm_unfinished_streams_total 1.0" in (await metrics(rooms.url))
    assert (said(path, told), told.end) == ([BROKEN], "last chunk")


@pytest.mark.parametrize("path", TEXTS)
async def test_thirty_equal_tokens_are_an_answer(path: str) -> None:
    async with standin() as ollama, farm_of(ollama) as rooms:
        told = await asked(rooms.url, ask(path, "tokens=2 repeat=30"))
        assert b"farm_unfinished_streams_total 0.0" in (await metrics(rooms.url))
    assert (said(path, told), told.end) == ([], "last chunk")


@pytest.mark.parametrize("path", TEXTS)
async def test_a_connection_cut_between_two_lines(path: str) -> None:
    async with standin() as ollama, farm_of(ollama) as rooms:
        told = await asked(rooms.url, ask(path, "tokens=9 cut_at=3"))
    assert said(path, told) == [BROKEN], "a reader of lines is told"
    assert told.end == "cut", "and so is a reader of HTTP"


@pytest.mark.parametrize("path", TEXTS)
async def test_an_error_before_the_first_token_has_its_status(path: str) -> None:
    async with standin() as ollama, farm_of(ollama) as rooms:
        told = await asked(rooms.url, ask(path, "tokens=9 crash_at=0"))
    assert told.status == 500
    assert "unexpectedly stopped" in told.error


# -- cuts that no Ollama makes by itself: byte by byte ---------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
LINES = {
    "/api/generate": (b"application/x-ndjson", b'{"response":"a","done":false}\n'),
    "/v1/chat/completions": (b"text/event-stream", b'data: {"choices":[]}\n\n'),
    "/v1/messages": (b"text/event-stream", b"event: ping\ndata: {}\n\n"),
}
ENDS = {"clean": b"0\r\n\r\n", "cut": b""}


async def answered_with(path: str, pieces: list[bytes], end: bytes) -> Told:
    """What a client gets when the backend sends these chunks."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(HEAD % LINES[path][0])
        for piece in pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(end)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with standing(f"http://127.0.0.1:{port}", alive=False) as rooms:
            rooms.backends[0].place.loaded = frozenset({"a:latest"})
            rooms.backends[0].loads._said["a:latest"] = "1h"
            return await asked(rooms.url, ask(path, "x"))
    finally:
        server.close()


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("path", LINES)
async def test_the_middle_of_a_line_is_a_cut(path: str, how: str) -> None:
    line = LINES[path][1]
    told = await answered_with(path, [line, line[: len(line) // 2]], ENDS[how])
    assert told.body == line + line[: len(line) // 2], "words in the middle of a line would make it no JSON"
    assert told.end == "cut"


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("path", LINES)
async def test_nothing_at_all_is_not_whole(path: str, how: str) -> None:
    told = await answered_with(path, [], ENDS[how])
    assert said(path, told) == [BROKEN]
    assert told.end == {"clean": "last chunk", "cut": "cut"}[how]


@pytest.mark.parametrize("how", ENDS)
async def test_an_event_that_lacks_its_empty_line_is_closed_first(how: str) -> None:
    path = "/v1/chat/completions"
    told = await answered_with(path, [LINES[path][1], b'data: {"choices":[]}\n'], ENDS[how])
    assert said(path, told) == [BROKEN]


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        ("/api/generate", b'{"response":"","done":true,"done_reason":"stop"}\n'),
        ("/v1/chat/completions", b"data: [DONE]\n\n"),
        ("/v1/messages", b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
    ],
)
async def test_a_mark_cut_anywhere_is_a_mark(path: str, mark: bytes) -> None:
    for at in (1, len(mark) // 2, len(mark) - 2, len(mark) - 1):
        told = await answered_with(path, [LINES[path][1], mark[:at], mark[at:]], ENDS["clean"])
        assert (said(path, told), told.end) == ([], "last chunk")


async def test_a_mark_and_then_a_cut_is_still_a_cut() -> None:
    mark = b'{"response":"","done":true}\n'
    told = await answered_with("/api/generate", [mark], ENDS["cut"])
    assert (told.body, told.end) == (mark, "cut"), "nothing is missing that could be told"


async def metrics(url: str) -> bytes:
    return (await asked(url, get("/metrics"))).body
