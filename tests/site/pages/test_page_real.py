"""What `make demo` opens, in a real Chromium with the real embedded model: no part is a stand-in."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pagestage as staging
import pytest
from harness import ROOT
from playwright.async_api import Page

pytestmark = pytest.mark.engine


@dataclass
class Demo:
    page: Page
    farm: str
    link: str

    async def slots_in_use(self) -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            health: dict[str, Any] = (await client.get(f"{self.farm}/_health")).json()
        return int(health["running"])

    async def until_in_use(self, wanted: int) -> None:
        async with asyncio.timeout(30):
            while await self.slots_in_use() != wanted:
                await asyncio.sleep(0.02)


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "scripts/demo.py"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert child.stdout is not None
    try:
        said = ""
        async with asyncio.timeout(300):
            while "Ctrl-C ends everything" not in said:
                line = (await child.stdout.readline()).decode()
                assert line, said
                said += line
        farm = re.search(r"model ready at (\S+)", said)
        link = re.search(r"https://\S+#relay=\S+", said)
        assert farm is not None
        assert link is not None
        async with staging.browser() as window:
            context = await window.new_context(ignore_https_errors=True)
            page = await context.new_page()
            yield Demo(page, farm[1], link[0])
    finally:
        child.send_signal(signal.SIGINT)
        await child.wait()


async def test_both_tabs_with_the_real_model(demo: Demo, tmp_path: Path) -> None:
    page = demo.page
    await page.goto(demo.link)
    await page.wait_for_selector("#status[data-state=connected]", timeout=30_000)

    # Latency: pings fill the chart, a stream test comes to its end over NKN and beside it over HTTP.
    await page.click("#ping")
    await page.wait_for_function("() => parseInt(document.querySelector('#ping-figures').textContent) >= 3")
    await page.fill("#stream-test [name=tokens]", "16")
    await page.fill("#stream-test [name=direct]", demo.farm)
    await page.click("#stream-test [type=submit]")
    await page.wait_for_selector("#runs tbody tr:nth-child(2)", timeout=60_000)
    rows = await page.locator("#runs tbody tr").all_inner_texts()
    assert [row.split("\t")[-1] for row in rows] == ["whole", "whole"], rows
    await page.click("#ping")

    # Chat: stop frees the engine's slot; then an answer comes to its end and is there after a reload.
    await page.click("#tab-chat")
    await page.fill("#words", "Count from one to one thousand, in words.")
    await page.press("#words", "Enter")
    await page.wait_for_function(
        "() => document.querySelector('#messages li.assistant .text')?.textContent.length > 10"
    )
    await demo.until_in_use(1)
    await page.click("#stop")
    await demo.until_in_use(0)
    await page.click(".talk summary")
    await page.fill("#predict", "24")
    await page.fill("#words", "Name three colours.")
    await page.press("#words", "Enter")
    await page.wait_for_selector("#stop", state="hidden", timeout=60_000)
    said = await page.inner_text("#messages li.assistant:last-child .text")
    assert said
    assert " tokens, " in await page.inner_text("#messages li.assistant:last-child .note")
    await asyncio.sleep(0.5)  # it is written down a moment later
    await page.reload()
    await page.click("#tab-chat")
    assert await page.inner_text("#messages li.assistant:last-child .text") == said
