"""What the page costs: its weight, the time until it can be used, and the CPU of a stream that is drawn.

    python -m bench.page [--rate 60] [--seconds 10] [--json F] [--markdown F]

A Chromium without a screen, the site's server, a dev node, the relay, an upstream that says a word a line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web
from playwright.async_api import Browser, CDPSession, Page, async_playwright

from bench import processes, writing
from bench.processes import Child, MissingPartError
from bench.tables import table

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--ignore-certificate-errors")
PHONE = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 90_000}
"""Milliseconds and bytes a second, as browsers' own tools have fast 3G; with it a CPU four times slower."""
PHONE_CPU = 4
PATIENCE_MS = 60_000
SETTLE_S = 1.0
WORDS = [
    "The **sea** ",
    "is ",
    "wide, ",
    "it ",
    "is `deep`, ",
    "and ",
    "nobody ",
    "owns ",
    "it.\n\n",
    "- so ",
]


@dataclass(frozen=True, slots=True)
class Opened:
    """One opening of the page with an empty cache.

    Attributes:
        wire_b, requests: what came over the network, as it came (packed), and in how many files.
        interactive_ms, connected_ms: from the navigation to a page that can be used, to the relay's answer.
    """

    way: str
    wire_b: int
    requests: int
    interactive_ms: float
    connected_ms: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """One stream on a page.

    Attributes:
        lines: how many came, at `rate` a second.
        main_share: of the page's main thread, 1 is all of it.
        cpu_share: of one core, all of the browser's processes together.
        idle_share: the same without a stream.
    """

    tab: str
    rate: float
    lines: int
    main_share: float
    cpu_share: float
    idle_share: float


async def measure(rate: int, seconds: float) -> tuple[list[Opened], list[Drawn]]:
    """Open the page as it is and as on a phone, then stream on both tabs."""
    async with _line(rate, round(rate * seconds)) as link, _browser() as browser:
        opened = [await _open(browser, link, way) for way in ("this machine", "as on a phone")]
        drawn = [await _draw(browser, link, tab, rate, seconds) for tab in ("chat", "stream test")]
    return opened, drawn


@contextlib.asynccontextmanager
async def _line(rate: int, lines: int) -> AsyncIterator[str]:
    """Upstream, node, relay and site; the page's link."""
    async with _upstream(rate, lines) as target:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            rpc = stack.enter_context(processes.dev_node()).told
            relay = stack.enter_context(processes.our_relay(folder, rpc, target, 4)).told
            words = [sys.executable, "site/server.py", "--port", "0", "--cert-dir", str(folder)]
            site = stack.enter_context(Child(words, "→ site ready:")).told
            yield f"{site}#relay={relay}&rpc={rpc}&parts=2"


@contextlib.asynccontextmanager
async def _upstream(rate: int, lines: int) -> AsyncIterator[str]:
    async def tags(_: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": "m"}]})

    async def talk(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        began = time.monotonic()
        for index in range(lines):
            await asyncio.sleep(max(0.0, began + index / rate - time.monotonic()))
            word, done = WORDS[index % len(WORDS)], index + 1 == lines
            line = {"response": word, "message": {"role": "assistant", "content": word}, "done": done}
            await answer.write(json.dumps(line).encode() + b"\n")
        return answer

    app = web.Application()
    app.add_routes([web.get("/api/tags", tags), web.post("/api/{_}", talk)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise MissingPartError("a Chromium is missing: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def _page(browser: Browser) -> AsyncIterator[tuple[Page, CDPSession]]:
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    try:
        yield page, await context.new_cdp_session(page)
    finally:
        await context.close()


async def _connect(page: Page, link: str) -> None:
    await page.goto(link)
    await page.wait_for_selector("#status[data-state=connected]", timeout=PATIENCE_MS)


async def _open(browser: Browser, link: str, way: str) -> Opened:
    sizes: list[int] = []
    async with _page(browser) as (page, inside):
        await inside.send("Network.enable")
        inside.on("Network.loadingFinished", lambda told: sizes.append(int(told["encodedDataLength"])))
        if way != "this machine":
            await inside.send("Network.emulateNetworkConditions", PHONE)
            await inside.send("Emulation.setCPUThrottlingRate", {"rate": PHONE_CPU})
        # The files alone: with a relay in the link, what the NKN client fetches would be counted too.
        await page.goto(link.partition("#")[0])
        await page.wait_for_function("() => performance.getEntriesByName('interactive').length")
        weight, requests = sum(sizes), len(sizes)
    async with _page(browser) as (page, inside):
        if way != "this machine":
            await inside.send("Network.enable")
            await inside.send("Network.emulateNetworkConditions", PHONE)
            await inside.send("Emulation.setCPUThrottlingRate", {"rate": PHONE_CPU})
        await _connect(page, link)
        marks = "name => performance.getEntriesByName(name)[0].startTime"
        ready, answered = [await page.evaluate(marks, name) for name in ("interactive", "connected")]
    return Opened(way, weight, requests, float(ready), float(answered))


async def _draw(browser: Browser, link: str, tab: str, rate: int, seconds: float) -> Drawn:
    async with _page(browser) as (page, inside):
        await inside.send("Performance.enable")
        await _connect(page, link)
        await asyncio.sleep(SETTLE_S)
        idle = await _spent(inside, asyncio.sleep(min(3.0, seconds)))
        work = _chat(page) if tab == "chat" else _stream_test(page)
        spent = await _spent(inside, work)
    return Drawn(tab, rate, round(rate * seconds), spent[0], spent[1], idle[1])


async def _chat(page: Page) -> None:
    await page.click("#tab-chat")
    await page.fill("#words", "Tell me of the sea.")
    await page.press("#words", "Enter")
    await page.wait_for_selector("#stop", state="visible")
    await page.wait_for_selector("#stop", state="hidden", timeout=PATIENCE_MS)


async def _stream_test(page: Page) -> None:
    await page.click("#stream-test [type=submit]")
    await page.wait_for_selector("#runs tbody tr", timeout=PATIENCE_MS)


async def _spent(inside: CDPSession, work: Any) -> tuple[float, float]:
    """Shares of the time that `work` took: the page's main thread, and all of the browser's processes."""
    at, main, cpu = time.monotonic(), await _main_s(inside), _cpu_s()
    await work
    took = time.monotonic() - at
    return (await _main_s(inside) - main) / took, (_cpu_s() - cpu) / took


async def _main_s(inside: CDPSession) -> float:
    told = await inside.send("Performance.getMetrics")
    return float(next(one["value"] for one in told["metrics"] if one["name"] == "TaskDuration"))


def _cpu_s() -> float:
    """CPU seconds of the browser, its helpers too."""
    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "chrom" in process.name():
                spent += sum(process.cpu_times()[:2])
    return spent


def shown(opened: Sequence[Opened], drawn: Sequence[Drawn]) -> str:
    """Both tables as Markdown."""
    first = [
        (one.way, f"{one.wire_b / 1024:.0f} KiB in {one.requests}", f"{one.interactive_ms:.0f} ms",
         f"{one.connected_ms:.0f} ms")
        for one in opened
    ]  # fmt: skip
    second = [
        (one.tab, f"{one.lines} at {one.rate:.0f}/s", f"{one.main_share:.1%}", f"{one.cpu_share:.1%}",
         f"{one.idle_share:.1%}")
        for one in drawn
    ]  # fmt: skip
    heads = ("opened", "over the network", "can be used after", "relay answered after")
    streams = ("stream on", "lines", "main thread", "all of the browser, of one core", "the same, idle")
    return f"{table(heads, first)}\n\n{table(streams, second)}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run it and print the tables; 0 done, 1 something is missing."""
    parser = argparse.ArgumentParser(description="What the page costs.")
    parser.add_argument("--rate", type=int, default=60, help="lines a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    writing.flags(parser)
    given = parser.parse_args(argv)
    try:
        opened, drawn = asyncio.run(measure(given.rate, given.seconds))
    except MissingPartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = shown(opened, drawn)
    told = {"opened": [asdict(one) for one in opened], "drawn": [asdict(one) for one in drawn]}
    writing.write(text, told, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
