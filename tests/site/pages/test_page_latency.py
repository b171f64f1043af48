"""The latency tab, in a real Chromium."""

# ruff: noqa: E501 - the pages' own expressions

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any


async def test_pings_fill_the_chart(stage: Any) -> None:
    await stage.connect()
    await stage.page.click("#ping")
    await stage.page.wait_for_function(
        "() => parseInt(document.getElementById('ping-figures').textContent) >= 5"
    )
    told = await stage.page.inner_text("#ping-figures")
    assert re.fullmatch(r"\d+ pings, p50 [\d.]+ ms, p95 [\d.]+ ms, lost 0 \(0 %\)", told)
    # The chart is drawn: some of its pixels have the line's colour.
    green = await stage.page.evaluate(
        """() => { const c = document.querySelector('#ping-chart canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
        for (let i = 0; i < d.length; i += 4) if (d[i] < 90 && d[i+1] > 120 && d[i+2] < 160 && d[i+3] > 200) n++; return n; }"""
    )
    assert green > 20
    await stage.page.click("#ping")
    assert await stage.page.get_attribute("#ping", "aria-pressed") == "false"


async def test_a_stream_test_tells_its_figures_and_exports_them(stage: Any) -> None:
    stage.talker.default = [f"word {n} " for n in range(40)]
    await stage.connect()
    await stage.page.fill("[name=direct]", stage.upstream)
    await stage.page.fill("[name=parts]", "1, 2")
    await stage.page.click("#stream-test [type=submit]")
    await stage.page.wait_for_function("() => document.querySelectorAll('#runs tbody tr').length === 3")
    rows = [await row.inner_text() for row in await stage.page.query_selector_all("#runs tbody tr")]
    assert [row.split("\t")[0] for row in rows] == ["NKN, 2 parts", "NKN, 1 part", "HTTP, direct"]
    assert all(row.endswith("whole") for row in rows)
    assert rows[0].split("\t")[5] == "90.0"  # the upstream's own count and time
    async with stage.page.expect_download() as download:
        await stage.page.click("#export")
    kept = json.loads((await (await download.value).path()).read_text())
    assert [run["lines"] for run in kept["runs"]] == [41, 41, 41]
    assert all(run["firstMs"] > 0 and run["gapP95"] >= run["gapP50"] for run in kept["runs"])


async def test_a_lost_ping_is_counted(stage: Any) -> None:
    await stage.connect()
    stage.node.faults = replace(stage.node.faults, loss=1.0)
    await stage.page.click("#ping")
    await stage.page.wait_for_function(
        "() => /lost [1-9]/.test(document.getElementById('ping-figures').textContent)"
    )


async def test_a_stopped_stream_test_frees_the_upstream(stage: Any) -> None:
    stage.talker.hold_at = 1
    await stage.connect()
    await stage.page.click("#stream-test [type=submit]")
    await stage.until(lambda: stage.talker.running == 1)
    await stage.page.click("#stop-test")
    await stage.until(lambda: stage.talker.left == 1)
    assert "cancelled" in await stage.page.inner_text("#runs tbody")
