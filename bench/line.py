"""What the line adds: the same streams over direct HTTP and over NKN, side by side in one run.

    python bench/line.py [--rate 30] [--seconds 4] [--streams 1,8,32] [--rpc URL]

Upstream, node and relay are processes of their own, the peer is this one. A line is as late as the time
between the upstream's write and its arrival here. CPU is the relay process's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from relay.nkn import MultiClient
from relay.peer import Peer

ROOT = Path(__file__).resolve().parent.parent


def start(
    words: list[str], mark: str, env: dict[str, str] | None = None
) -> tuple[subprocess.Popen[str], str]:
    """A child and what stands behind `mark` in its ready line."""
    child = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=os.environ | (env or {}), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(mark):
            return child, line.removeprefix(mark).strip()
    raise SystemExit(f"{words} did not start")


def cpu_s(pid: int) -> float:
    """User and system seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def direct(client: httpx.AsyncClient, url: str, body: dict[str, int]) -> list[tuple[float, float]]:
    """(arrived, written) of each line over HTTP."""
    async with client.stream("POST", f"{url}/api/generate", json=body) as answer:
        return [(time.monotonic(), json.loads(line)["at"]) async for line in answer.aiter_lines()]


async def over_nkn(peer: Peer, body: dict[str, int]) -> list[tuple[float, float]]:
    """(arrived, written) of each line over NKN."""
    request = {"path": "/api/generate", "method": "POST", "json": {"model": "m", **body}}
    return [(time.monotonic(), json.loads(piece.line or "{}")["at"]) async for piece in peer.request(request)]


def row(name: str, runs: list[list[tuple[float, float]]], began: float, cpu: float | None) -> str:
    """One line of the table."""
    late = sorted((arrived - written) * 1000 for run in runs for arrived, written in run[1:])
    first = statistics.median((run[0][0] - began) * 1000 for run in runs)
    count = sum(map(len, runs))
    rate = count / (max(run[-1][0] for run in runs) - began)
    load = "–" if cpu is None else f"{cpu / count * 1000:.3f}"
    p95 = late[int(len(late) * 0.95)]
    return f"| {name} | {first:.1f} | {statistics.median(late):.2f} | {p95:.2f} | {rate:.0f} | {load} |"


async def compare(options: argparse.Namespace, url: str, address: str, rpc: str, relay_pid: int) -> None:
    """Print the table."""
    async with (
        MultiClient(num_sub_clients=2, rpc_server_addr=[rpc]) as client,
        httpx.AsyncClient(timeout=60, trust_env=False, limits=httpx.Limits()) as http,
    ):
        await client.wait_connected(30)
        peer = Peer(address, client)
        pings = [(await peer.call("relay.ping"))["rtt_ms"] for _ in range(50)]
        print(f"ping p50 {statistics.median(pings):.2f} ms, p95 {sorted(pings)[47]:.2f} ms\n")
        print("| path | first line ms | line late p50 ms | p95 | lines/s | relay CPU s per 1,000 lines |")
        print("|---|---|---|---|---|---|")
        for streams in options.streams:
            flat = streams < 0
            count = 4000 if flat else int(options.rate * options.seconds)
            body = {"rate": 0 if flat else options.rate, "lines": count}
            name = f"{abs(streams)} flat out" if flat else f"{streams} × {options.rate}/s"
            for path in ("direct", "NKN"):
                began, before = time.monotonic(), cpu_s(relay_pid)
                if path == "direct":
                    runs = await asyncio.gather(*(direct(http, url, body) for _ in range(abs(streams))))
                else:
                    runs = await asyncio.gather(*(over_nkn(peer, body) for _ in range(abs(streams))))
                used = cpu_s(relay_pid) - before if path == "NKN" else None
                print(row(f"{name}, {path}", runs, began, used), flush=True)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--streams", default="1,8,32,-8", help="negative: so many without pause")
    parser.add_argument("--rpc", help="a real node's RPC instead of the development node")
    options = parser.parse_args()
    options.streams = [int(text) for text in options.streams.split(",")]
    children = []
    try:
        child, port = start(["bench/paced.py"], "ready")
        children.append(child)
        rpc = options.rpc
        if not rpc:
            ports = ["--rpc-port", "0", "--ws-port", "0"]
            child, rpc = start(["-m", "relay", "devnode", *ports], "→ NKN dev node ready:")
            children.append(child)
        with tempfile.TemporaryDirectory() as folder:
            target = f"http://127.0.0.1:{port}"
            env = {
                "NKN_RPC_ADDR": rpc, "RELAY_TARGETS": json.dumps({"ollama": target}), "RELAY_WORKERS": "128",
                "RELAY_PEER_STREAMS": "128",
            }  # fmt: skip
            relay, address = start(["-m", "relay", "--env-file", f"{folder}/.env"], "→ NKN ready:", env)
            children.append(relay)
            asyncio.run(compare(options, target, address, rpc, relay.pid))
    finally:
        for child in reversed(children):
            child.terminate()
            child.wait(10)
    return 0


if __name__ == "__main__":
    sys.exit(main())
