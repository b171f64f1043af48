"""Which node holds an address: JSON-RPC over HTTP POST to seed servers.

Every seed may be down, slow, rate-limited (429 with an empty body) or lying, so an answer is only
believed when it has the shape of one. An HTTP status of 200 says nothing: errors come with it too.
An asyncio shell; called by `link`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import urllib.parse
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from functools import lru_cache

import httpx

from relay.nkn.session import NodeInfo
from wire import limits, redact

DEFAULT_SEEDS = (
    "https://mainnet-rpc-node-0001.nkn.org/mainnet/api/wallet",
    "http://seed.nkn.org:30003",
    *(f"http://mainnet-seed-{index:04d}.nkn.org:30003" for index in range(1, 9)),
)
"""The public seed servers of both official SDKs."""


_Candidate = tuple[str, NodeInfo]


class RpcError(Exception):
    """A seed server did not tell the node of an address; the message says which and why."""


class SeedRpc:
    """A list of seed servers, the last that was right first.

    Args:
        seeds: URLs of RPC servers.
        tls: ask for nodes that speak wss.
    """

    def __init__(self, seeds: Sequence[str], *, tls: bool = False) -> None:
        self._seeds = list(dict.fromkeys(seeds))
        self._method = "getwssaddr" if tls else "getwsaddr"

    async def candidates(
        self, address: str, reasons: list[str]
    ) -> AsyncGenerator[tuple[str, NodeInfo], None]:
        """(seed, the node it names) as answers come; whoever takes one says so with `prefer`.

        The next seed is asked when one fails or is slow, without giving the slow one up.

        Args:
            reasons: gets a line for each seed that cannot tell.
        """
        waiting = deque(self._seeds)
        asked: dict[asyncio.Task[NodeInfo], str] = {}
        try:
            while waiting or asked:
                if waiting:
                    seed = waiting.popleft()
                    asked[asyncio.create_task(self._ask(seed, address))] = seed
                patience = limits.RPC_NEXT_S if waiting else None
                done, _ = await asyncio.wait(asked, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    seed = asked.pop(task)
                    try:
                        node = task.result()
                    except RpcError as error:
                        reasons.append(str(error))
                    else:
                        yield seed, node
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def locate(self, address: str) -> NodeInfo:
        """The node that is responsible for `address`, as the first seed that answers has it.

        Raises:
            RpcError: if no seed could tell; one reason per seed.
        """
        reasons: list[str] = []
        async with contextlib.aclosing(self.candidates(address, reasons)) as found:
            async for seed, node in found:
                self.prefer(seed)
                return node
        raise RpcError("; ".join(reasons) or "no RPC server is configured")

    def prefer(self, seed: str) -> None:
        """What this seed said was right: ask it first."""
        self._seeds.remove(seed)
        self._seeds.insert(0, seed)

    async def _ask(self, seed: str, address: str) -> NodeInfo:
        question: dict[str, object] = {
            "id": "relay",
            "jsonrpc": "2.0",
            "method": self._method,
            "params": {"address": address},
        }
        try:
            async with asyncio.timeout(limits.RPC_TIMEOUT_S):
                body = await _post(seed, question)
        except RpcError:
            raise
        except Exception as error:  # a malformed URL or proxy is one seed's fault, not the client's
            raise RpcError(f"{seed}: {type(error).__name__} {error}".strip()) from error
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RpcError(f"{seed}: the answer is not JSON") from error
        node = NodeInfo.parse(answer.get("result")) if isinstance(answer, dict) else None
        if node is None:
            fault = answer.get("error") if isinstance(answer, dict) else None
            raise RpcError(f"{seed}: {_reason(fault)}")
        return node


async def _post(seed: str, question: dict[str, object]) -> bytes:
    timeout = httpx.Timeout(limits.RPC_TIMEOUT_S)
    # A proxy of the environment is for the way out; this machine is reached without.
    parts = urllib.parse.urlsplit(seed)
    outside = parts.hostname not in {"127.0.0.1", "::1", "localhost"}
    verify = _certificates() if parts.scheme == "https" else False  # without TLS there is nothing to verify
    async with (
        httpx.AsyncClient(timeout=timeout, trust_env=outside, verify=verify) as client,
        client.stream("POST", seed, json=question, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        if answer.status_code != 200:
            raise RpcError(f"{seed}: HTTP {answer.status_code}")
        body = bytearray()
        async for piece in answer.aiter_raw():
            body += piece
            if len(body) > limits.RPC_ANSWER_MAX_B:
                raise RpcError(f"{seed}: the answer is too large")
    return bytes(body)


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Made once: it takes 18 ms in which no stream moves."""
    return httpx.create_ssl_context()


def _reason(fault: object) -> str:
    if isinstance(fault, dict):
        said = f"error {fault.get('code')} {fault.get('message', '')} {fault.get('data') or ''}"
        return redact.printable(said.strip())
    return "the answer names no node"
