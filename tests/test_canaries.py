"""The watch over every program of the suite sees what it is there to see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SEED = "5e" * 32
ASKED = """
from relay import events, policy
from wire.origin import Origin
rules = policy.Policy(targets={"ollama": Origin.parse("http://127.0.0.1:1")})
req = {"path": "/api/chat", "method": "POST", "json": {"messages": [{"content": "my tallest secret"}]}}
rules.judge(req, events.StreamMode(True, True))
"""
KNOWN = f"from relay.nkn.identity import Identity\nIdentity(bytes.fromhex('{SEED}'))\n"
DEMANDED = """
from farm import demand
from farm.routes import ROUTES
body = b'{"model": "m", "prompt": "my tallest secret"}'
demand.read(body, "/api/generate", ROUTES["/api/generate"], demand.House("1h"))
"""
RAISE = "raise ValueError('my tallest secret')"
METRICS = """
from relay.metrics import Metrics
Metrics(lambda: {"targets": {}}, 1, "my tallest secret").text()
"""


def run(code: str, found: Path) -> list[str]:
    paths = (str(ROOT / "tests" / "canaries"), str(ROOT))
    env = {**os.environ, "TEST_CANARIES": str(found), "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, timeout=60)
    assert len(list(found.glob("seen-*"))) == 1
    return [line for file in found.glob("leak-*") for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("code", "where"),
    [
        (f"{KNOWN}print('{SEED}')", "stdout"),
        (f"{KNOWN}import sys; sys.stderr.write('x{SEED[:30]}')", "stderr"),
        (f"{KNOWN}import logging; logging.error('%s', '{SEED}')", "stderr"),
        (f"{KNOWN}raise ValueError('{SEED}')", "stderr"),
        (
            f"{KNOWN}from relay.nkn import payload; payload.message('{SEED}', b'12345678').encode()",
            "a message",
        ),
        (ASKED + "print('he said my tallest secret')", "stdout"),
        (ASKED + RAISE, "stderr"),
        (ASKED + METRICS, "/metrics"),
        (DEMANDED + RAISE, "stderr"),
    ],
)
def test_a_secret_that_shows_is_seen(code: str, where: str, tmp_path: Path) -> None:
    leaks = run(code, tmp_path)
    assert leaks
    assert all(f" in {where} of " in leak for leak in leaks)


@pytest.mark.parametrize(
    "code",
    [
        f"print('{SEED}')",  # nobody's seed
        f"{KNOWN}print('{SEED[:16]}')",
        ASKED + "from relay.nkn import payload; payload.message('my tallest secret', b'12345678').encode()",
        "print('my tallest secret')",
    ],
)
def test_what_is_no_secret_may_show(code: str, tmp_path: Path) -> None:
    assert run(code, tmp_path) == []
