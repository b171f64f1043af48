"""The bench's tests share a server that answers as told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # talker stands beside the tests

from talker import Talker, talking


@pytest.fixture
def talker() -> Iterator[Talker]:
    with talking() as running:
        yield running
