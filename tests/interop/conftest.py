"""What the interop tests share: the SDK in a process, a node, patience.

Tests marked `node` need the SDK; without node or its packages they skip, but fail where CI=true.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from interop.line import Seed
from interop.sdk import ANSWER_S, Peers, missing

from relay.nkn.devnode import DevNode
from relay.nkn.rpc import SeedRpc

NODES = ["devnode", pytest.param("nknd", marks=pytest.mark.nknd)]

BLOCK_S = 0.2
"""A hundred times as often as in earnest, so that every test sees some."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    lack = missing() if item.get_closest_marker("node") else ""
    if lack and os.environ.get("CI") == "true":
        pytest.fail(lack)
    if lack:
        pytest.skip(lack)
    if item.get_closest_marker("nknd") and "NKN_TEST_RPC" not in os.environ:
        pytest.skip("set NKN_TEST_RPC to the JSON-RPC URL of a running nknd, such as http://127.0.0.1:30003")


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    async with Peers() as started:
        yield started


@pytest.fixture
def peers_with() -> type[Peers]:
    """For tests that need an environment of their own."""
    return Peers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_peers() -> AsyncIterator[Peers]:
    """One process for all tests of a module; they run on the module's loop."""
    async with Peers() as started:
        yield started


@pytest.fixture(params=NODES)
async def rpc(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The RPC address of a node that must find nothing wrong."""
    async with node(request.param) as url:
        yield url


@pytest_asyncio.fixture(params=NODES, scope="module", loop_scope="module")
async def shared_rpc(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The same for all tests of a module, which may say how often a block is made.

    A seed of our own stands before a real one, which grants ten RPC requests and ten sockets a second: the
    SDK makes two requests for each part of a client, and a part refused at its start never comes back.
    """
    async with (
        node(request.param, getattr(request.module, "BLOCK_S", BLOCK_S)) as url,
        Seed(await SeedRpc([url]).locate("00" * 32)) as seed,
    ):
        seed.per_s = 0.0 if request.param == "devnode" else 8.0
        yield seed.url


@asynccontextmanager
async def node(kind: str, block_s: float = BLOCK_S) -> AsyncIterator[str]:
    if kind == "devnode":
        async with DevNode(block_s=block_s) as started:
            yield started.rpc_url
            assert wrong(started) == {}
    else:
        yield os.environ["NKN_TEST_RPC"]


def wrong(node: DevNode) -> dict[str, int]:
    """What the node found wrong with its clients."""
    kinds = ("dropped_", "refused_", "text_refused")
    return {name: count for name, count in node.statistics().items() if name.startswith(kinds) and count}


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait until something is so; it is asked again every 10 ms."""

    async def wait(so: Callable[[], Any]) -> None:
        async with asyncio.timeout(ANSWER_S):
            while not so():
                await asyncio.sleep(0.01)

    return wait
