"""The proxies of a run, each started in front of the same upstream and ended with the run.

What is not installed is told as a sentence and left out. Linux alone, as `processes`. Used by `proxies`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import processes
from bench.processes import Child, MissingPartError
from bench.proxy_upstream import MODEL

SLOTS = 512
"""Of our front: it is to queue nobody here, since no other proxy does."""
_START_S = 120.0
"""LiteLLM imports for 10 s and more."""

_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream backend {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 3600s;
        }}
    }}
}}
"""
_LITELLM = """
model_list:
  - model_name: "{model}"
    litellm_params:
      model: "openai/{model}"
      api_base: "http://127.0.0.1:{upstream}/v1"
      api_key: "none"
general_settings:
  master_key: "{key}"
litellm_settings:
  telemetry: false
  request_timeout: 3600
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy that runs.

    Attributes:
        port: where it answers.
        pids: its processes.
        version: what it says it is.
        key: that it asks of its clients.
    """

    port: int
    pids: tuple[int, ...]
    version: str = ""
    key: str = ""

    def rss_mib(self) -> float:
        """Memory of all its processes."""
        return sum(map(processes.rss_mib, self.pids))


@contextlib.contextmanager
def farm(upstream: int) -> Iterator[Peer]:
    """Our front, which finds the upstream on its back port and uses it as it is."""
    words = ["--mode", "auto", "--model", MODEL, "--no-pull", "--num-parallel", str(SLOTS)]
    ports = ["--front-port", "0", "--back-port", str(upstream)]
    with Child([sys.executable, "-m", "farm", *words, *ports], "→ farm ready:") as child:
        yield Peer(int(child.told.rpartition(":")[2]), _tree(child.pid))


@contextlib.contextmanager
def nginx(upstream: int) -> Iterator[Peer]:
    """nginx with one worker, connections to the upstream kept, and nothing gathered."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise MissingPartError("nginx is missing: `apt-get install nginx-light`")
    port = processes.free_port()
    with tempfile.TemporaryDirectory() as name:
        config = Path(name, "nginx.conf")
        config.write_text(_NGINX.format(folder=name, upstream=upstream, port=port), encoding="utf-8")
        told = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr
        with _running([program, "-e", f"{name}/error.log", "-p", name, "-c", str(config)], port, "/") as pids:
            yield Peer(port, pids, told.rpartition("/")[2].strip())


@contextlib.contextmanager
def litellm(upstream: int, program: str | None) -> Iterator[Peer]:
    """LiteLLM's proxy with one worker and no database in front of the upstream's /v1."""
    if program is None:
        raise MissingPartError("LiteLLM is missing: --litellm PROGRAM, of `pip install 'litellm[proxy]'`")
    port = processes.free_port()
    with tempfile.TemporaryDirectory() as name:
        config, key = (
            Path(name, "config.yaml"),
            f"sk-{secrets.token_hex(32)}",
        )  # without one it does not start
        config.write_text(_LITELLM.format(model=MODEL, upstream=upstream, key=key), encoding="utf-8")
        words = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_PROXY": "127.0.0.1"}
        with _running([*words, "--num_workers", "1"], port, "/health/liveliness", env, name) as pids:
            yield Peer(port, pids, _litellm_version(program), key)


def _litellm_version(program: str) -> str:
    """Of the library in the environment that the program belongs to."""
    words = "from importlib.metadata import version; print(version('litellm'))"
    python = Path(program).parent / "python"
    done = subprocess.run([python, "-c", words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


@contextlib.contextmanager
def _running(
    words: list[str], port: int, path: str, env: dict[str, str] | None = None, folder: str | None = None
) -> Iterator[tuple[int, ...]]:
    """A program that answers at a port; ended when left."""
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(
            words, env=os.environ | (env or {}), cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            if not _answers(child, f"http://127.0.0.1:{port}{path}"):
                log.seek(0)
                last = (log.read().strip().splitlines() or ["it said nothing"])[-1]
                raise MissingPartError(f"`{Path(words[0]).name}` did not start: {last}")
            yield _tree(child.pid)
        finally:
            processes.end(child)


def _answers(child: subprocess.Popen[bytes], url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + _START_S
    while child.poll() is None and time.monotonic() < until:
        try:
            with opener.open(url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.1)
    return False


def _tree(pid: int) -> tuple[int, ...]:
    return (pid, *(child.pid for child in psutil.Process(pid).children(recursive=True)))
