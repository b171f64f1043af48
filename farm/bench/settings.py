"""What the user asked for, checked: flags in, a plan out.

Called by `cli`; every refusal names the flag and says what it takes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from farm.bench import files, limits, plot, prompts
from farm.bench.plan import Api, Bounds, Endpoint, Kind, Plan, Step, Target
from wire.errors import SettingsFault
from wire.origin import Origin

KEY_VARIABLE = "FARM_BENCH_KEY"
"""The bearer key travels in the environment: a command line is shown to every user."""
PROMPT = "Why is the sky blue?"

_Number = TypeVar("_Number", int, float)


def check(flags: argparse.Namespace) -> Plan:
    """A plan out of the command line's values; its files are seen to be writable and readable.

    Raises:
        SettingsFault: names the flag and says what it takes.
    """
    if flags.plot is not None:
        plot.look(flags.plot)
    for flag, name in (("--json", flags.json), ("--plot", flags.plot)):
        if name is not None:
            files.claim(flag, name)
    bounds = _bounds(flags.requests, flags.duration)
    return Plan(
        target=_target(flags),
        steps=_steps(flags.concurrency, flags.rate, bounds),
        bounds=bounds,
        prompts=_prompts(flags.prompt, flags.prompts),
        max_tokens=_within("--max-tokens", flags.max_tokens, 0, limits.TOKENS_MAX),
        seed=_within("--seed", flags.seed, 0, limits.SEED_MAX),
        warmup=_within("--warmup", flags.warmup, 0, limits.WARMUP_MAX),
        timeout_s=_positive("--timeout", flags.timeout, limits.DURATION_MAX_S),
        json_out=flags.json,
        plot_out=flags.plot,
    )


def key(environ: Mapping[str, str]) -> str | None:
    """The bearer key, or None.

    Raises:
        SettingsFault: if no header can hold it; does not show it.
    """
    found = environ.get(KEY_VARIABLE, "").strip()
    if not (found.isascii() and found.isprintable()):
        raise SettingsFault(KEY_VARIABLE, "holds a character that no HTTP header may hold")
    return found or None


def _target(flags: argparse.Namespace) -> Target:
    try:
        origin = Origin.parse(flags.url)
    except ValueError as error:
        raise SettingsFault("URL", str(error)) from error
    if flags.model is not None and not (flags.model.strip() and flags.model.isprintable()):
        raise SettingsFault("--model", "must be a model's name")
    return Target(
        # Clients of OpenAI's API are told URLs that end so; the paths here bring their own.
        url=str(origin).removesuffix("/v1"),
        api=None if flags.api == "auto" else Api(flags.api),
        endpoint=None if flags.endpoint is None else Endpoint(flags.endpoint),
        model=flags.model,
    )


def _bounds(requests: int | None, duration: float | None) -> Bounds:
    if duration is not None:
        return Bounds(None, _positive("--duration", duration, limits.DURATION_MAX_S))
    return Bounds(
        _within("--requests", limits.REQUESTS if requests is None else requests, 1, limits.REQUESTS_MAX), None
    )


def _steps(concurrency: str | None, rate: str | None, bounds: Bounds) -> tuple[Step, ...]:
    if rate is not None:
        levels = _list("--rate", rate, float)
        return tuple(Step(Kind.OPEN, _positive("--rate", level, limits.RATE_MAX)) for level in levels)
    counts = _list("--concurrency", concurrency or limits.CONCURRENCY, int)
    for count in counts:
        _within("--concurrency", count, 1, limits.CONCURRENCY_MAX)
        if bounds.requests is not None and count > bounds.requests:
            raise SettingsFault("--requests", f"{bounds.requests} are too few for {count} clients")
    return tuple(Step(Kind.CLOSED, count) for count in counts)


def _list(flag: str, text: str, kind: Callable[[str], _Number]) -> list[_Number]:
    try:
        levels = [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingsFault(flag, f"{text!r} is no list of numbers such as 1,2,4") from error
    if len(levels) > limits.STEPS_MAX:
        raise SettingsFault(flag, f"takes at most {limits.STEPS_MAX} numbers")
    if len(set(levels)) < len(levels):
        raise SettingsFault(flag, "names a number twice")
    return levels


def _prompts(prompt: str | None, name: str | None) -> tuple[str, ...]:
    if name is None:
        if prompt is not None and not prompt.strip():
            raise SettingsFault("--prompt", "is empty")
        return (PROMPT if prompt is None else prompt,)
    try:
        return prompts.parse(files.read("--prompts", name, limits.PROMPTS_MAX_B).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingsFault("--prompts", f"{name} is not UTF-8") from error
    except ValueError as error:
        raise SettingsFault("--prompts", f"{name} {error}") from error


def _within(flag: str, number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise SettingsFault(flag, f"must be {least} to {most}")
    return number


def _positive(flag: str, number: float, most: float) -> float:
    if not (math.isfinite(number) and 0 < number <= most):
        raise SettingsFault(flag, f"must be more than 0 and at most {most:g}")
    return number
