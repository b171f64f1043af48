"""What tests of the site's server share: a folder to serve, a certificate, a server on loopback."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The site is a script with modules beside it, and rawtls and the like stand beside the tests.
sys.path += [str(ROOT / "site"), str(Path(__file__).parent)]

import keeping  # noqa: E402
import places  # noqa: E402
from keeping import Kept  # noqa: E402
from places import Serving  # noqa: E402

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A certificate for loopback, made once."""
    return keeping.own(tmp_path_factory.mktemp("kept"), LOOPBACK, dt.datetime.now(dt.UTC))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A site with two vendored files, and secrets in it and around it."""
    return places.lay_out(tmp_path)


@pytest.fixture
async def serving(folder: Path, kept: Kept) -> AsyncIterator[Serving]:
    async with Serving(folder, kept) as started:
        yield started
