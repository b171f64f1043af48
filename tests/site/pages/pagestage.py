"""A page in a real Chromium with all it needs: site, node, relay, an upstream that says what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from harness import ROOT, Relay
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from relay.nkn.devnode import DevNode

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--ignore-certificate-errors",
)  # fmt: skip
PATIENCE_MS = 20_000
Word = str | dict[str, Any]


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Talker:
    """An upstream that speaks enough of Ollama's API: each answer is the next of `answers`, word by word.

    A word that is a dict holds a chat message's fields.
    """

    answers: list[Sequence[Word]] = field(default_factory=list)
    default: Sequence[Word] = ("Hello ", "there", ".")
    reachable: bool = True
    gap_s: float = 0.005
    hold_at: int | None = None
    hold_first: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    left: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/api/tags", self._tags)
        app.router.add_post("/api/chat", self._talk)
        app.router.add_post("/api/generate", self._talk)
        app.router.add_route("OPTIONS", "/{path:.*}", self._may)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            self.go.set()
            await runner.cleanup()

    async def _tags(self, _: web.Request) -> web.Response:
        if not self.reachable:
            return web.json_response({"error": "no backend is up"}, status=503)
        return web.json_response({"models": [{"name": "m:1"}, {"name": "n:2"}]})

    async def _may(self, _: web.Request) -> web.Response:
        return web.Response(headers={"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"})

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(asked)
        words = self.answers.pop(0) if self.answers else self.default
        headers = {"Content-Type": "application/x-ndjson", "Access-Control-Allow-Origin": "*"}
        answer = web.StreamResponse(headers=headers)
        self.running += 1
        try:
            if self.hold_first:
                await self.go.wait()
            await answer.prepare(request)
            for index, word in enumerate(words):
                if index == self.hold_at:
                    await self.go.wait()
                await answer.write(_line(request.path, asked["model"], word, done=False))
                await asyncio.sleep(self.gap_s)
            await answer.write(_line(request.path, asked["model"], "", done=True))
            await answer.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            raise
        finally:
            self.running -= 1
        return answer


def _line(path: str, model: str, word: Word, *, done: bool) -> bytes:
    fields = word if isinstance(word, dict) else {"content": word}
    said = {"message": {"role": "assistant", "content": "", **fields}}
    if path != "/api/chat":
        said = {"response": word}
    last = {"done_reason": "stop", "eval_count": 9, "eval_duration": 100_000_000} if done else {}
    return json.dumps({"model": model, **said, "done": done, **last}).encode() + b"\n"


@dataclass
class Stage:
    page: Page
    context: BrowserContext
    site: str
    node: DevNode
    relay: Relay
    talker: Talker
    upstream: str
    errors: list[str]

    @property
    def link(self) -> str:
        return f"{self.site}#relay={self.relay.address}&rpc={self.node.rpc_url}&parts=2"

    async def connect(self, link: str = "") -> None:
        await self.page.goto(link or self.link)
        await self.page.wait_for_selector("#status[data-state=connected]", timeout=PATIENCE_MS)

    async def say(self, words: str) -> None:
        await self.page.click("#tab-chat")
        await self.page.fill("#words", words)
        await self.page.press("#words", "Enter")

    async def said(self) -> str:
        """The words of the last answer, once it is complete."""
        await self.page.wait_for_selector("#stop", state="hidden", timeout=3 * PATIENCE_MS)
        return await self.page.inner_text("#messages li.assistant:last-child .text")

    async def until(self, what: Any, timeout_s: float = 20) -> None:
        async with asyncio.timeout(timeout_s):
            while not what():
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def site_server(folder: Path) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "site" / "server.py"), "--port", "0", "--cert-dir", str(folder),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        assert line.startswith("→ site ready: https://127.0.0.1:"), line
        yield line.split()[-1]
    finally:
        process.terminate()
        await process.wait()
        process._transport.close()


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield started
        finally:
            await started.close()


@contextlib.asynccontextmanager
async def stage(
    folder: Path, site: str, window: Browser, viewport: tuple[int, int] = (1100, 800), **env: str
) -> AsyncIterator[Stage]:
    talker = Talker()
    async with (
        DevNode(wss_port=0) as node,
        talker.serving() as upstream,
        Relay(folder, node.rpc_url, upstream, **{"RELAY_KEEPALIVE_S": "1", **env}) as relay,
    ):
        context = await window.new_context(
            ignore_https_errors=True,
            viewport={"width": viewport[0], "height": viewport[1]},
            accept_downloads=True,
        )
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        try:
            yield Stage(page, context, site, node, relay, talker, upstream, errors)
        finally:
            await context.close()
