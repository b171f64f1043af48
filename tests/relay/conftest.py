"""What the tests of the relay's second floor share: a request that may be sent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay.events import StreamMode
from relay.policy import UpstreamRequest

sys.path.append(str(Path(__file__).parent))  # desks.py

_REQUEST = UpstreamRequest(
    service="ollama",
    method="POST",
    url="http://127.0.0.1:8080/api/chat",
    path="/api/chat",
    headers={},
    body=b"{}",
    timeout_s=30.0,
    verify=True,
    stream=StreamMode(wanted=True, lines=False),
)


@pytest.fixture(scope="session")
def make_request() -> Callable[..., UpstreamRequest]:
    """A request to /api/chat that asks for a stream; keywords change it."""
    return lambda **changes: replace(_REQUEST, **changes)
