"""`ollama serve`: the stand-in as a process, told by OLLAMA_* what the real one is, by STANDIN_* how to fail.

STANDIN_LOG       file that gets one JSON line per start (argv, environment, pid)
STANDIN_MODELS    JSON, name → fields of Model; default one model "a"
STANDIN_REGISTRY  the same, for what can be pulled
STANDIN_LOAD_S    seconds of a load, where STANDIN_MODELS does not say
STANDIN_START_S   seconds before it listens
STANDIN_FAIL      words: printed to stderr, exit 1; STANDIN_FAILS: only that many times (counted in the log)
STANDIN_DIE_S     it dies (exit 2) after so many seconds
STANDIN_DEAF      1: SIGTERM and SIGINT are not heard
STANDIN_LIFE_S    it ends after so many seconds, whatever happens (120)
STANDIN_HOST_CHECK  0: as one that is not bound to loopback
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from standin.catalogue import VERSION
from standin.child import Child
from standin.models import Model, digest_of, keep_alive_of
from standin.notes import note
from standin.ollama import Standin
from standin.runner import Process
from standin.shelf import Shelf
from standin.voices import stamp

_DEFAULT_PORT = 11434
LIFE_S = 120.0


def say(words: str, source: str = "routes.go:1864", **more: str) -> None:
    rest = "".join(f' {name}="{value}"' for name, value in more.items())
    complain(f'time={stamp()} level=INFO source={source} msg="{words}"{rest}')


def complain(words: str) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


def models_of(text: str, load_s: float) -> dict[str, Model]:
    given: dict[str, dict[str, Any]] = json.loads(text)
    made = {}
    for name, told in given.items():
        fields: dict[str, Any] = {"load_s": load_s, **told}
        made[name] = Model(**fields)
    return made


def host_of(told: str) -> tuple[str, int]:
    """OLLAMA_HOST: with or without scheme, host and port."""
    rest = told.partition("://")[2] or told
    host, _, port = rest.strip("/").rpartition(":") if ":" in rest else (rest.strip("/"), "", "")
    return host.strip("[]") or "127.0.0.1", int(port) if port.isdigit() else _DEFAULT_PORT


def seconds_of(told: str | None, otherwise: float) -> float:
    """A duration of the environment: a number without unit is seconds."""
    if not told:
        return otherwise
    number = told.lstrip("-").isdigit()
    found = keep_alive_of(int(told) if number else told)
    return otherwise if found is None else found


def standin(env: Mapping[str, str]) -> Standin:
    load_s = float(env.get("STANDIN_LOAD_S", "0"))
    host, port = host_of(env.get("OLLAMA_HOST", ""))
    home = Path(env.get("HOME", ".")) / ".ollama" / "models"
    store = Path(env.get("OLLAMA_MODELS") or home)
    origins = tuple(one for one in env.get("OLLAMA_ORIGINS", "").split(",") if one)

    async def spawn(model: str) -> Process:
        child = Child(model, str(store / "blobs" / f"sha256-{digest_of(model)}"))
        say("starting runner", "server.go:433", cmd=" ".join(child.argv[1:]))
        await child.start()
        return child

    number = {name: int(env.get(f"OLLAMA_{name}") or "0") for name in (
        "NUM_PARALLEL", "MAX_QUEUE", "MAX_LOADED_MODELS", "CONTEXT_LENGTH")}  # fmt: skip
    given = models_of(env.get("STANDIN_MODELS", '{"a":{}}'), load_s)
    return Standin(
        Shelf(given, store / "standin.json"),
        registry=models_of(env.get("STANDIN_REGISTRY", "{}"), load_s),
        parallel=number["NUM_PARALLEL"] or 1, max_queue=number["MAX_QUEUE"] or 512,
        max_loaded=number["MAX_LOADED_MODELS"], context_length=number["CONTEXT_LENGTH"],
        keep_alive_s=seconds_of(env.get("OLLAMA_KEEP_ALIVE"), 300.0),
        load_timeout_s=seconds_of(env.get("OLLAMA_LOAD_TIMEOUT"), 300.0),
        ping_s=float(env.get("STANDIN_PING_S", "10")), pull_s=float(env.get("STANDIN_PULL_S", "0")),
        origins=origins, host=host, port=port, spawn=spawn,
        host_check=env.get("STANDIN_HOST_CHECK", "1") != "0" and host not in {"0.0.0.0", "::"},
    )  # fmt: skip


async def _serve(env: Mapping[str, str]) -> int:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, (lambda: None) if env.get("STANDIN_DEAF") == "1" else over.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), float(env.get("STANDIN_START_S", "0")))
        return 0
    ollama = standin(env)
    try:
        await ollama.open()
    except OSError:
        complain(f"Error: listen tcp {ollama.host}:{ollama.port}: bind: address already in use")
        return 1
    say(f"Listening on {ollama.host}:{ollama.port} (version {VERSION})")
    die_s = float(env.get("STANDIN_DIE_S", "0"))
    life_s = float(env.get("STANDIN_LIFE_S", LIFE_S))
    try:
        await asyncio.wait_for(over.wait(), die_s or life_s)
    except TimeoutError:
        if die_s:
            os._exit(2)
    await ollama.close()
    return 0


def serve() -> int:
    """Exit status."""
    env = os.environ
    before = note("serve", sys.argv)
    if env.get("STANDIN_FAIL") and before < int(env.get("STANDIN_FAILS", "1000000")):
        complain(env["STANDIN_FAIL"])
        return 1
    return asyncio.run(_serve(env))
