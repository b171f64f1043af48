"""What the owner asked for, checked.

Pure. Called by `cli`; what comes out is `house`'s plan.
"""

from __future__ import annotations

from farm import limits
from farm.api.durations import parse_keep_alive
from farm.embedded import card
from farm.plan import FarmPlan
from wire.errors import SettingsFault

ONLY_EMBEDDED = (
    "only `embedded` is built now. An Ollama that already runs needs no farm: point the relay straight at "
    'it, RELAY_TARGETS={"ollama":"http://127.0.0.1:11434"}'
)


def check(
    *,
    mode: str,
    model: str,
    host: str,
    front_port: int,
    back_port: int,
    num_parallel: int,
    ctx: int,
    keepalive: str,
) -> FarmPlan:
    """A plan out of the command line's values.

    Raises:
        SettingsFault: names the flag and says what it takes.
    """
    if mode != "embedded":
        raise SettingsFault("--mode", ONLY_EMBEDDED)
    if model.lower() not in card.NAMES:
        raise SettingsFault("--model", f"{model!r} is not here; the embedded engine has {card.NAME}")
    for flag, port in (("--front-port", front_port), ("--back-port", back_port)):
        if not 0 <= port <= 65535:
            raise SettingsFault(flag, "must be 0 (any free port) to 65535")
    if front_port == back_port != 0:
        raise SettingsFault("--back-port", "must differ from --front-port")
    if not 1 <= num_parallel <= limits.NUM_PARALLEL_MAX:
        raise SettingsFault("--num-parallel", f"must be 1 to {limits.NUM_PARALLEL_MAX}")
    if not limits.SLOT_TOKENS_MIN <= ctx <= card.CONTEXT_MAX:
        raise SettingsFault(
            "--ctx", f"must be {limits.SLOT_TOKENS_MIN} to {card.CONTEXT_MAX} tokens per stream"
        )
    try:
        keep_alive_s = parse_keep_alive(keepalive)
    except ValueError as error:
        raise SettingsFault("--keepalive", f"{error}; it takes 5m, 1h30m, 0s or -1s for ever") from error
    return FarmPlan(host, front_port, back_port, num_parallel, ctx, keep_alive_s)
