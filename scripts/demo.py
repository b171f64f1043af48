"""`make demo`: dev node, farm and relay on this machine, and a peer in a process of its own that asks.

Every port is a free one and every file lies in a temporary folder, so nothing of yours is touched.
Stays up until Ctrl-C; with --once it ends by itself. Standard library only: the parts run as processes.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "Tell me in two sentences why the sky is blue."
READY_S = 600
"""A first run fetches 93 MB; on a slow line that takes minutes, with progress shown."""


class DemoError(Exception):
    """A part did not start; its own words stand above."""


class Part:
    """A child process whose ready line is waited for.

    Args:
        name: for people.
        words: the module and its arguments.
        mark: what its ready line begins with; the rest of that line is its value.
    """

    def __init__(self, name: str, words: list[str], mark: str, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.value = ""
        self._mark = mark
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, *([] if words[0].endswith(".py") else ["-m"]), *words],
            cwd=ROOT,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches this script, which ends its parts in order
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self) -> str:
        """What stands behind the mark, once it is printed."""
        until = time.monotonic() + READY_S
        while not self._ready.wait(0.05):
            if self._process.poll() is not None:
                raise DemoError(f"{self.name} ended with exit code {self._process.returncode}")
            if time.monotonic() > until:
                raise DemoError(f"{self.name} was not ready after {READY_S} s")
        return self.value

    def stop(self) -> None:
        """End it, by its own process id."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(self._mark):
                self.value = line.removeprefix(self._mark).strip()
                self._ready.set()


class Steps:
    """Prints what happens and when, in seconds since `make` was called."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line."""
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", flush=True)


def main() -> int:
    """Run the demo; the exit code of the asking peer with --once."""
    parser = argparse.ArgumentParser(description="The whole line on one machine.")
    parser.add_argument("--once", action="store_true", help="end after the first answer")
    parser.add_argument("--target", help="serve this Ollama instead of the embedded model")
    options = parser.parse_args()
    parts: list[Part] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="gpu-over-nkn-") as folder:
            return _run(options, parts, Path(folder))
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 0
    finally:
        for part in reversed(parts):
            part.stop()


def _run(options: argparse.Namespace, parts: list[Part], folder: Path) -> int:
    steps = Steps()
    embedded = "" if options.target else " and the farm with its embedded model"
    steps.say(f"starting a loopback NKN node{embedded}")
    _name_real_ollama(options.target, steps)
    ports = ["--rpc-port", "0", "--ws-port", "0"]
    node = _part(parts, "the dev node", ["relay", "devnode", *ports], "→ NKN dev node ready:")
    farm = None
    if not options.target:
        ports = ["--front-port", "0", "--back-port", "0"]
        farm = _part(parts, "the farm", ["farm", "--mode", "embedded", *ports], "→ farm ready:")
    rpc = node.wait()
    steps.say(f"NKN node ready at {rpc}")
    target = options.target or (farm.wait() if farm else "")
    steps.say(f"model ready at {target}")
    env = {"NKN_RPC_ADDR": rpc, "NKN_BRIDGE_SEED_WS": "", "RELAY_TARGETS": json.dumps({"ollama": target})}
    relay = _part(parts, "the relay", ["relay", "--env-file", str(folder / "relay.env")], "→ NKN ready:", env)
    address = relay.wait()
    steps.say(f"relay ready at {address}")
    steps.say(f"a peer in another process asks over NKN: {PROMPT}\n")
    code = _ask(address, rpc)
    print()
    steps.say("done" if code == 0 else f"the peer ended with exit code {code}")
    if options.once:
        return code
    _page(parts, folder, address, rpc)
    print(f"\nThe relay's address:\n  {address}\nAsk again from another terminal in this folder:\n")
    print(f'  .venv/bin/python -m relay ask {address} --rpc {rpc} "Name three colours."\n')
    print("Ctrl-C ends everything.", flush=True)
    signal.pause()
    return 0


def _part(
    parts: list[Part], name: str, words: list[str], mark: str, env: dict[str, str] | None = None
) -> Part:
    part = Part(name, words, mark, env)
    parts.append(part)
    return part


def _page(parts: list[Part], folder: Path, address: str, rpc: str) -> None:
    """Serve the page and say where it is; without it the demo is none the worse."""
    if not (ROOT / "site" / "node_modules").is_dir():
        return
    words = ["site/server.py", "--port", "0", "--cert-dir", str(folder)]
    try:
        link = f"{_part(parts, 'the page', words, '→ site ready:').wait()}#relay={address}&rpc={rpc}"
    except DemoError as error:
        print(f"\n{error}; the rest goes on without it")
        return
    print(f"\nIn a browser (it warns once, since this machine made the certificate itself):\n  {link}")


def _ask(address: str, rpc: str) -> int:
    words = [sys.executable, "-m", "relay", "ask", address, PROMPT, "--rpc", rpc, "--predict", "80"]
    return subprocess.call(words, cwd=ROOT, stdin=subprocess.DEVNULL)


def _name_real_ollama(target: str | None, steps: Steps) -> None:
    """If a real Ollama runs here, say so and how to serve it instead."""
    named = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434")
    host = named if "://" in named else f"http://{named}"
    host = host.replace("//0.0.0.0", "//127.0.0.1").rstrip("/")
    if host.count(":") < 2:
        host += ":11434"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError, ValueError), opener.open(f"{host}/api/version", timeout=0.5) as answer:
        version = json.load(answer).get("version")
        if target is None:
            steps.say(f"Ollama {version} already answers at {host}; to serve it: make demo TARGET={host}")


def _end_with_parent() -> None:
    """Linux ends the child when this script dies, even by kill -9."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
