"""An upstream that a farm adopts: Ollama's routes as far as a proxy asks for them, answers at a given pace.

The prompt says what to answer: `{"rate": lines/s, "lines": n}`; rate 0 is without pause, 0 lines is until the
client leaves. Status and headers go out with the first line, as Ollama does it, each line is a chunk and a
write of its own, and its text is the moment it was written. `bench.paced` is the same for a relay, which
needs no Ollama and keeps no connection. Prints its port; started by `proxies`.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httptools

from bench.proxy_cases import NATIVE, OPENAI

MODEL = "bench:latest"
BURST_LINES = 64
"""Without pause: lines written before other connections have their turn."""

_STAMP = "2026-01-01T00:00:00.123456789Z"
_LINES = {
    NATIVE: f'{{"model":"{MODEL}","created_at":"{_STAMP}","response":"%.6f","done":false}}\n',
    OPENAI: f'data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"{MODEL}",'
    '"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"%.6f"},'
    '"finish_reason":null}]}\n\n',
}
_ENDS = {
    NATIVE: f'{{"model":"{MODEL}","created_at":"{_STAMP}","response":"","done":true,"done_reason":"stop",'
    '"total_duration":1000000000,"load_duration":1000000,"prompt_eval_count":12,'
    '"prompt_eval_duration":1000000,"eval_count":%d,"eval_duration":1000000000}\n',
    OPENAI: f'data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"{MODEL}",'
    '"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
    '"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
}
_TYPES = {NATIVE: "application/x-ndjson", OPENAI: "text/event-stream"}
_TOLD: dict[str, Any] = {
    "/": "Ollama is running",
    "/api/version": {"version": "0.24.0"},
    "/api/tags": {"models": [{"name": MODEL, "model": MODEL}]},
    "/api/ps": {"models": [{"name": MODEL, "model": MODEL}]},
    "/api/embed": {"model": MODEL, "embeddings": []},
}


def _chunk(text: str) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text.encode())


def wish(path: str, body: bytes) -> dict[str, int]:
    """What a request asks for: its prompt, read."""
    asked = json.loads(body)
    text = asked["prompt"] if path == NATIVE else asked["messages"][-1]["content"]
    if isinstance(text, list):
        text = text[0]["text"]
    found: dict[str, int] = json.loads(text)
    return found


class Speaker(asyncio.Protocol):
    """One connection, one answer after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path = ""
        self._body: list[bytes] = []
        self._rate = self._left = self._said = 0
        self._began = 0.0
        self._paused = False
        self._next: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        if self._next is not None:
            self._next.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if not self._rate and self._left:
            self._flow()

    # -- for the parser -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._path, self._body = "", []

    def on_url(self, url: bytes) -> None:
        self._path += url.decode()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path = self._path.partition("?")[0]
        if path not in _LINES:
            return self._tell(path)
        asked = wish(path, b"".join(self._body))
        self._path, self._said = path, 0
        self._rate, self._left = asked["rate"], asked["lines"] or -1
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {_TYPES[path]}\r\nTransfer-Encoding: chunked\r\n\r\n"
        self._began = time.monotonic()
        self._transport.write(head.encode() + self._line())
        return self._step() if self._rate else self._flow()

    # -- answers --------------------------------------------------------------------------

    def _tell(self, path: str) -> None:
        told = _TOLD.get(path)
        status = "404 Not Found" if told is None else "200 OK"
        body = json.dumps(told).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    def _line(self) -> bytes:
        self._left -= 1
        self._said += 1
        return _chunk(_LINES[self._path] % time.monotonic())

    def _step(self) -> None:
        """Paced: one line, and the next in time."""
        if not self._left:
            return self._end()
        # Times on the clock from the stream's beginning: what is late once does not delay the rest.
        self._next = asyncio.get_running_loop().call_at(self._began + self._said / self._rate, self._speak)
        return None

    def _speak(self) -> None:
        self._transport.write(self._line())
        self._step()

    def _flow(self) -> None:
        """Without pause: as much as is taken."""
        for _ in range(BURST_LINES):
            if self._paused or not self._left or self._transport.is_closing():
                break
            self._transport.write(self._line())
        if not self._left:
            self._end()
        elif not self._paused and not self._transport.is_closing():
            self._next = asyncio.get_running_loop().call_soon(self._flow)

    def _end(self) -> None:
        last = _ENDS[self._path]
        text = last % self._said if "%d" in last else last
        self._transport.write(_chunk(text) + b"0\r\n\r\n")


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Speaker, "127.0.0.1", 0, backlog=1024)
    print(f"ready {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
