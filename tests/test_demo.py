"""`make demo` with an upstream of the test's own: the main job ends to end, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from harness import ROOT, Ollamalike

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to see what is left")


async def demo(upstream: Ollamalike, *words: str) -> asyncio.subprocess.Process:
    upstream.models = [{"name": "m"}]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "scripts/demo.py", *words, "--target", upstream.url),
        cwd=ROOT,
        env=os.environ | {"OLLAMA_HOST": upstream.url.removeprefix("http://")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )


def descendants(pid: int) -> set[int]:
    """Processes begun by `pid`, by their parents' ids."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that still run; a zombie that nobody has waited for does not."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.add(pid)
    return found


async def until_gone(pids: set[int]) -> None:
    async with asyncio.timeout(20):
        while alive(pids):
            await asyncio.sleep(0.02)


async def test_once_asks_over_nkn_prints_the_words_and_ends(upstream: Ollamalike) -> None:
    child = await demo(upstream, "--once")
    out = (await child.communicate())[0].decode()
    assert child.returncode == 0, out
    assert "wörd 0 wörd 1 wörd 2 " in out
    assert "ok=true done_seen=true" in out


async def test_a_peer_that_fails_is_the_exit_code(upstream: Ollamalike) -> None:
    child = await demo(upstream, "--once")
    upstream.models = []
    await child.communicate()
    assert child.returncode == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_it_stays_up_and_leaves_no_process_behind(upstream: Ollamalike, how: signal.Signals) -> None:
    child = await demo(upstream)
    assert child.stdout is not None
    async with asyncio.timeout(60):
        while b"Ctrl-C ends everything" not in await child.stdout.readline():
            pass
    parts = descendants(child.pid)
    page = (ROOT / "site" / "node_modules").is_dir()  # left out where npm brought nothing
    assert len(parts) == 2 + page  # dev node, relay and page; the peer has ended
    child.send_signal(how)
    await child.wait()
    await until_gone(parts)


async def test_a_real_ollama_is_named_with_the_way_to_serve_it(upstream: Ollamalike) -> None:
    code = "import scripts.demo as d; d._name_real_ollama(None, d.Steps())"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        cwd=ROOT,
        env=os.environ | {"OLLAMA_HOST": upstream.url.removeprefix("http://")},
        stdout=asyncio.subprocess.PIPE,
    )
    out = (await child.communicate())[0].decode()
    assert (
        f"Ollama 0.24.0 already answers at {upstream.url}; to serve it: make demo TARGET={upstream.url}"
        in out
    )
