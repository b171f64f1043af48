"""The page's own stage, for each test: a Chromium, a site, a node, a relay, an upstream."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    import pagestage as staging

    if staging.chromium() is None:
        pytest.skip("a Chromium is needed: apt-get install chromium")
    viewport = request.node.get_closest_marker("viewport")
    relay_env = request.node.get_closest_marker("relay_env")
    (tmp_path / "relay").mkdir()
    async with (
        staging.site_server(tmp_path / "certificate") as site,
        staging.browser() as window,
        staging.stage(
            tmp_path / "relay",
            site,
            window,
            viewport.args if viewport else (1100, 800),
            **(relay_env.kwargs if relay_env else {}),
        ) as made,
    ):
        yield made
        assert made.errors == []
