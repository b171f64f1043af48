"""An HTTP server in a thread that answers each request as its prompt says, in both languages.

Prompts: ok, untold (no counts), error (in the stream), unmarked (a clean end without end mark), busy (503),
plain (500), cut, garbage (a line that is no JSON), silent (nothing ever), lingering (HTTP goes on behind the
end mark), nothttp, keyed (repeats the key), moved (a redirect), held (until `hold` requests are there).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

GAP_S = 0.004
SPENT = {"total_duration": 3_000_000, "load_duration": 500_000, "prompt_eval_duration": 1_000_000}


class Talker:
    """The server; counts what it sees."""

    def __init__(
        self,
        *,
        models: tuple[str, ...] = ("m",),
        loaded: tuple[str, ...] = (),
        version: Any = "0.24.0",
        openai: bool = True,
        key: str | None = None,
        hold: int = 0,
    ) -> None:
        self.models, self.loaded, self.version, self.openai = models, loaded, version, openai
        self.key, self.hold = key, hold
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        self.news = threading.Condition()
        self.connections = self.running = self.most = self.held = 0

    async def open(self) -> None:
        self.closing = asyncio.Event()
        self.released = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        await self._leave()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=5) if others else None

    def end(self) -> None:
        """Be gone from now on; called by another thread."""
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(10)

    async def _leave(self) -> None:
        self.closing.set()
        self._server.close()

    @property
    def prompts(self) -> list[str]:
        bodies = [body for method, path, _, body in self.seen if method == "POST" and path != "/api/show"]
        return [body.get("prompt") or body["messages"][0]["content"] for body in bodies]

    def until_seen(self, count: int) -> None:
        """Wait until so many requests of any kind came."""
        self._until(lambda: len(self.seen) >= count)

    def until_asked(self, count: int) -> None:
        """Wait until so many prompts came."""
        self._until(lambda: len(self.prompts) >= count)

    def _until(self, so: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(so, 20), self.seen

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        closed = asyncio.create_task(self.closing.wait())
        talk = asyncio.create_task(self._talk(reader, writer))
        await asyncio.wait({closed, talk}, return_when=asyncio.FIRST_COMPLETED)
        for task in (closed, talk):
            task.cancel()
        await asyncio.gather(closed, talk, return_exceptions=True)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            line, *rest = head.decode().strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in rest)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = line.split(" ")
            asked = json.loads(body) if body else {}
            with self.news:
                self.seen.append((method, path, headers, asked))
                self.news.notify_all()
            await self._answer(writer, path, headers, asked)
            await writer.drain()

    async def _answer(
        self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str], asked: Any
    ) -> None:
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            _json(writer, {"error": "who are you?"}, "401 Unauthorized")
        elif path in {"/api/generate", "/api/chat", "/v1/completions", "/v1/chat/completions"}:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await self._speak(writer, path, headers, asked)
            finally:
                self.running -= 1
        else:
            await self._describe(writer, path, asked)

    async def _describe(self, writer: asyncio.StreamWriter, path: str, asked: Any) -> None:
        if path == "/api/version" and self.version == "never":
            await self.closing.wait()
        elif path == "/api/version" and self.version == "gone":
            writer.close()
        elif path == "/api/version" and self.version is not None:
            _json(writer, {"version": self.version})
        elif path == "/api/show" and asked["model"] == "sick":
            _json(writer, {"error": "the disk is sick"}, "500 Internal Server Error")
        elif path == "/api/show" and asked["model"] in self.models:
            _json(writer, {"details": {}})
        elif path == "/api/show":
            _json(writer, {"error": f"model '{asked['model']}' not found"}, "404 Not Found")
        elif path == "/api/tags":
            _json(writer, {"models": [{"name": name} for name in self.models]})
        elif path == "/api/ps":
            _json(writer, {"models": [{"name": name} for name in self.loaded]})
        elif path == "/v1/models" and self.openai:
            _json(writer, {"object": "list", "data": [{"id": name} for name in self.models] or None})
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\n404 page not found")

    async def _speak(
        self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str], asked: Any
    ) -> None:
        prompt = asked.get("prompt") or asked["messages"][0]["content"]
        voice = _Voice(writer, path)
        if prompt == "busy":
            error = {"error": "server busy, please try again."}
            _json(writer, error, "503 Service Unavailable", "Retry-After: 2\r\n")
        elif prompt == "plain":
            writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 17\r\n\r\nno words in JSON\n")
        elif prompt == "moved":
            _json(writer, {}, "307 Temporary Redirect", "Location: http://127.0.0.1:1/\r\n")
        elif prompt == "keyed":
            _json(writer, {"error": {"message": f"not {headers['authorization']}"}}, "401 Unauthorized")
        elif prompt == "silent":
            await self.closing.wait()
        elif prompt == "nothttp":
            writer.write(b"hello, who is there?\r\n\r\n")
        else:
            if prompt == "held":
                self.held += 1
                if self.held >= self.hold:
                    self.released.set()
                await self.released.wait()
            await self._stream(voice, prompt)

    async def _stream(self, voice: _Voice, prompt: str) -> None:
        voice.begin()
        await voice.say(1)
        if prompt == "cut":
            voice.writer.transport.abort()
            return
        if prompt == "error":
            voice.send(voice.message({"error": "an error was encountered"}))
        elif prompt == "garbage":
            voice.send(voice.wrapped(b"{not json"))
        else:
            await voice.say(2)
            if prompt != "unmarked":
                voice.send(voice.end(told=prompt != "untold"))
        if prompt == "lingering":
            await self.closing.wait()
        voice.writer.write(b"0\r\n\r\n")


class _Voice:
    """The two languages."""

    def __init__(self, writer: asyncio.StreamWriter, path: str) -> None:
        self.writer, self.path = writer, path

    def begin(self) -> None:
        self.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def say(self, count: int) -> None:
        for _ in range(count):
            self.send(self.token())
            await self.writer.drain()
            await asyncio.sleep(GAP_S)

    def send(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def token(self) -> bytes:
        return {
            "/api/generate": self.message({"response": "wort ", "done": False}),
            "/api/chat": self.message({"message": {"content": "wort "}, "done": False}),
            "/v1/completions": self.message({"choices": [{"text": "wort "}]}),
            "/v1/chat/completions": self.message({"choices": [{"delta": {"content": "wort "}}]}),
        }[self.path]

    def end(self, *, told: bool) -> bytes:
        if self.path.startswith("/api"):
            counts = {"eval_count": 5, "eval_duration": 1_000_000, **SPENT} if told else {}
            return self.message({"response": "", "done": True, **counts})
        usage = self.message({"choices": [], "usage": {"completion_tokens": 5}}) if told else b""
        return usage + self.wrapped(b"[DONE]")

    def message(self, value: Any) -> bytes:
        return self.wrapped(json.dumps(value).encode())

    def wrapped(self, data: bytes) -> bytes:
        return data + b"\n" if self.path.startswith("/api") else b"data: " + data + b"\n\n"


def _json(writer: asyncio.StreamWriter, value: Any, status: str = "200 OK", headers: str = "") -> None:
    body = json.dumps(value).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)


@contextmanager
def talking(**how: Any) -> Iterator[Talker]:
    """A server that is there while the block runs, on a loop of its own: the bench has the test's thread."""
    talker, ready, over = Talker(**how), threading.Event(), threading.Event()

    async def live() -> None:
        await talker.open()
        ready.set()
        await asyncio.to_thread(over.wait)
        await talker.close()

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield talker
    finally:
        over.set()
        thread.join(20)
        assert not thread.is_alive()
