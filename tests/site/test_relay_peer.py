"""The JavaScript peer's own tests, run by node."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("relay-peer.test.mjs")


@pytest.mark.node
def test_the_javascript_peer() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is needed: apt-get install nodejs npm")
    ran = subprocess.run([node, "--test", str(TESTS)], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert int(re.search(r"^# pass (\d+)$", ran.stdout, re.MULTILINE)[1]) >= 25
