"""What the owner asked for, checked.

Pure. Called by `cli`; what comes out is `house`'s plan.
"""

from __future__ import annotations

from farm import limits
from farm.api.durations import parse_keep_alive
from farm.embedded import card
from farm.plan import FarmPlan, Mode
from wire.errors import SettingsFault


def check(
    *,
    mode: str,
    model: str | None,
    host: str,
    front_port: int,
    back_port: int | None,
    num_parallel: int,
    ctx: int | None,
    keepalive: str,
    gpu_layers: int = -1,
    models_dir: str | None = None,
    no_pull: bool = False,
    per_gpu: bool = False,
    image: str = "",
    max_queue: int = limits.WAITING_MAX,
    allow_admin: bool = False,
) -> FarmPlan:
    """A plan out of the command line's values.

    Raises:
        SettingsFault: names the flag and says what it takes.
    """
    kind = _mode(mode)
    embedded = kind is Mode.EMBEDDED
    if back_port is None:
        back_port = limits.BACK_PORT if embedded else limits.OLLAMA_PORT
    _ports(front_port, back_port)
    most = limits.NUM_PARALLEL_MAX if embedded else limits.OLLAMA_PARALLEL_MAX
    _within("--num-parallel", num_parallel, 1, most, f"1 to {most}")
    _within("--max-queue", max_queue, 0, limits.WAITING_LIMIT, f"0 to {limits.WAITING_LIMIT}")
    _fit(kind, ("--per-gpu", per_gpu), ("--image", image), ("--models-dir", models_dir))
    return FarmPlan(
        mode=kind,
        model=_model(model, embedded=embedded),
        host=host,
        front_port=front_port,
        back_port=back_port,
        slots=num_parallel,
        slot_tokens=_context(ctx, embedded=embedded),
        gpu_layers=gpu_layers,
        keep_alive=keepalive,
        keep_alive_s=_seconds(keepalive),
        models_dir=models_dir,
        pull=not no_pull,
        per_gpu=per_gpu,
        image=image,
        waiting_max=max_queue,
        allow_admin=allow_admin,
    )


def _ports(front_port: int, back_port: int) -> None:
    for flag, port in (("--front-port", front_port), ("--back-port", back_port)):
        _within(flag, port, 0, 65535, "0 (any free port) to 65535")
    if front_port == back_port != 0:
        raise SettingsFault("--back-port", "must differ from --front-port")


def _seconds(keepalive: str) -> float:
    try:
        return parse_keep_alive(keepalive)
    except ValueError as error:
        raise SettingsFault("--keepalive", f"{error}; it takes 5m, 1h30m, 0s or -1s for ever") from error


def _mode(mode: str) -> Mode:
    try:
        return Mode(mode)
    except ValueError:
        known = ", ".join(kind.value for kind in Mode)
        raise SettingsFault("--mode", f"{mode!r} is none of {known}") from None


def _model(model: str | None, *, embedded: bool) -> str:
    if not embedded:
        if not model or not model.strip():
            raise SettingsFault("--model", "is required, e.g. --model gemma3:4b")
        return model.strip()
    if model is not None and model.lower() not in card.NAMES:
        raise SettingsFault("--model", f"{model!r} is not here; the embedded engine has {card.NAME}")
    return card.NAME


def _context(ctx: int | None, *, embedded: bool) -> int:
    if ctx is None:
        return limits.SLOT_TOKENS if embedded else limits.CTX
    most = card.CONTEXT_MAX if embedded else limits.CTX_MAX
    what = f"{limits.SLOT_TOKENS_MIN} to {most} tokens per stream"
    _within("--ctx", ctx, limits.SLOT_TOKENS_MIN, most, what)
    return ctx


def _within(flag: str, value: int, least: int, most: int, what: str) -> None:
    if not least <= value <= most:
        raise SettingsFault(flag, f"must be {what}")


def _fit(kind: Mode, *given: tuple[str, object]) -> None:
    """What is for an Ollama goes with a mode that has one, and an image with a container."""
    for flag, value in given:
        if value and kind is Mode.EMBEDDED:
            raise SettingsFault(flag, "is for an Ollama; the embedded engine has none of it")
        if value and kind is Mode.LOCAL and flag == "--image":
            raise SettingsFault(flag, "goes with --mode docker")
