"""The bench of the page runs and its figures hang together; what they are is told in docs/site.md."""

from __future__ import annotations

import pagestage as staging
import pytest

from bench import page


async def test_the_page_is_weighed_opened_and_streamed_on() -> None:
    if staging.chromium() is None:
        pytest.skip("a Chromium is needed: apt-get install chromium")
    opened, drawn = await page.measure(rate=60, seconds=0.5)
    assert [one.way for one in opened] == ["this machine", "as on a phone"]
    assert all(one.requests >= 10 and one.wire_b > 100_000 for one in opened)
    assert all(0 < one.interactive_ms < one.connected_ms for one in opened)
    assert [(one.tab, one.lines) for one in drawn] == [("chat", 30), ("stream test", 30)]
    assert all(one.main_share > 0 for one in drawn)
    assert page.shown(opened, drawn).count("\n| ") == 7
