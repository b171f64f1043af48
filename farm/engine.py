"""The engine child: `python -m farm.engine PLAN`, one xllamacpp server on a free loopback port.

It prints one JSON line, `{"url": ...}` when the model is loaded or `{"error": ...}` with a sentence for
the owner, and lives until its stdin ends: however the farm dies, no engine stays behind.
A process of its own because a native abort must not take the farm down, and unloading is killing.
Started by `farm.embedded.runner`; imports nothing of the farm but the plan.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from farm.plan import KEY_VARIABLE, EnginePlan

NO_LIBGOMP = (
    "the engine needs the system library libgomp: apt-get install libgomp1 (Debian, Ubuntu), "
    "dnf install libgomp (Fedora), apk add libgomp (Alpine)"
)
NO_ENGINE = "the embedded engine is not installed: pip install 'gpu-over-nkn[embedded]'"


def _say(**fact: str) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


def why_no_import(error: ImportError) -> str:
    """The sentence for an engine that cannot be imported."""
    if "libgomp" in str(error):
        return NO_LIBGOMP
    if isinstance(error, ModuleNotFoundError):
        return NO_ENGINE
    return f"the embedded engine cannot be loaded: {error}"


def parameters(engine: Any, plan: EnginePlan, key: str) -> Any:
    """The engine's own parameter object for `plan`."""
    settings = engine.CommonParams()
    settings.model.path = plan.model
    settings.n_parallel = plan.slots
    settings.n_ctx = plan.slots * plan.slot_tokens  # the total: each slot gets its share
    settings.n_batch = settings.n_ubatch = plan.batch
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = plan.threads
    settings.ctx_shift = True  # a full context drops its oldest half and goes on, as Ollama's does
    settings.embedding = True
    # The last token's vector: what Ollama's runner gives for a model that names no pooling.
    settings.pooling_type = engine.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    settings.port = 0
    settings.api_keys = [key]  # it allows every web origin: without a key any page could use it
    settings.ui = False
    return settings


def main() -> int:
    """Run the engine until stdin ends; exit code 1 when it cannot start."""
    plan = EnginePlan(**json.loads(sys.argv[1]))
    try:
        import xllamacpp
    except ImportError as error:
        _say(error=why_no_import(error))
        return 1
    try:
        server = xllamacpp.Server(parameters(xllamacpp, plan, os.environ.get(KEY_VARIABLE, "")))
    except Exception as error:  # noqa: BLE001 - whatever the native side raises is told to the parent
        _say(error=f"the engine could not load {plan.model}: {error}")
        return 1
    _say(url=server.listening_address)
    sys.stdin.buffer.read()
    # No tidy end: it would wait for running streams, and the system takes everything back anyway.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
