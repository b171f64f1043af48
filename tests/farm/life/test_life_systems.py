"""Other systems: the code is imported where Unix' own modules and calls are missing."""

from __future__ import annotations

import subprocess
import sys

from lifestage import ROOT

ELSEWHERE = """
import asyncio, importlib, os, pathlib, signal, socket, sys, types
import aiohttp, fastapi, httpx, prometheus_client, psutil, uvicorn
import uvicorn.protocols.http.httptools_impl, cryptography, requests

for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
sys.modules["msvcrt"] = types.SimpleNamespace()
for name in "fork getuid geteuid getpgid killpg pidfd_open sched_getaffinity setsid wait3".split():
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGALRM", "SIGSTOP", "pthread_kill"):
    delattr(signal, name)
sys.platform = "win32"
for path in sorted(pathlib.Path("farm").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if path.name not in {"__main__.py", "ollama_farm.py"}:
        importlib.import_module(name)
print("all")
"""


def test_every_module_is_imported_as_on_windows() -> None:
    made = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (made.returncode, made.stdout) == (0, "all\n"), made.stderr


def test_a_terminal_without_arrows_is_no_reason_to_end() -> None:
    env = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"}
    script = "from farm.cli import main; main(['--mode', 'embedded', '--dry-run']); print('→')"
    made = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert (made.returncode, made.stdout.splitlines()[-1]) == (0, "\\u2192"), made.stderr
