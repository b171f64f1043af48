"""A made-up Ubuntu machine for each test of docker_ensure.sh."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # fakeroot stands beside the tests

from fakeroot import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Ubuntu 24.04 with a driver and Docker, and nothing else done."""
    return Machine.new(tmp_path)
