"""What was started how: the file STANDIN_LOG, one JSON line per start of a stand-in program."""

from __future__ import annotations

import json
import os
from pathlib import Path

_ENV = ("OLLAMA_", "CUDA_", "HIP_", "ROCR_", "NVIDIA_", "GPU_", "HSA_")


def note(what: str, argv: list[str]) -> int:
    """Write the start down in STANDIN_LOG; how many of its kind were there before."""
    path = os.environ.get("STANDIN_LOG")
    if not path:
        return 0
    env = {name: value for name, value in os.environ.items() if name.startswith(_ENV)}
    line = json.dumps({"what": what, "argv": argv, "env": env, "pid": os.getpid()}) + "\n"
    file = Path(path)
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    with file.open("a", encoding="utf-8") as log:
        log.write(line)
    return sum(json.loads(one)["what"] == what for one in before)
