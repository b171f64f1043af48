"""One run from the first question to the last figure, and the signal that ends it early.

Called by `cli`. Steps come one after the other; a signal ends the step under way, and what was answered until
then is still told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from farm.bench import limits, record, session, target
from farm.bench.asking import Asking
from farm.bench.exchange import Caller
from farm.bench.figures import Figures, figures
from farm.bench.load import Load
from farm.bench.plan import Plan, Step
from farm.bench.progress import Progress
from farm.bench.record import Asked, Result
from farm.bench.tables import number
from wire.errors import OurFault

_CLOCK = time.perf_counter


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        result: what was measured, None if nothing was yet.
        signal: the number of the signal that ended it early, or None.
    """

    result: Result | None
    signal: int | None


async def run(plan: Plan, key: str | None, progress: Progress) -> Ended:
    """Make the load of a plan.

    Raises:
        OurFault: "target": the target cannot be asked; a sentence says why.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    asked: Asked | None = None
    steps: list[Figures] = []
    with _signals() as caught:
        async with session.open_session(key) as http:
            try:
                asked = await target.find(http, plan.target)
                asking = Asking(asked.api, asked.endpoint, asked.model, plan.max_tokens)
                caller = Caller(http, asked.url, asking, plan.timeout_s, key, _CLOCK)
                await _warm_up(plan, caller, progress)
                for step in plan.steps:
                    await _measure(plan, step, caller, progress, steps)
            except asyncio.CancelledError:
                if not caught:
                    raise
    number_caught = caught[0] if caught else None
    if asked is None:
        return Ended(None, number_caught)
    result = Result(
        schema=record.SCHEMA,
        started_at=started,
        interrupted=bool(caught),
        client=_client(),
        target=asked,
        settings=record.settings(plan),
        steps=tuple(steps),
    )
    return Ended(result, number_caught)


async def _warm_up(plan: Plan, caller: Caller, progress: Progress) -> None:
    """Requests that are in no figure: the first loads the model, and shows that it answers at all."""
    for index in range(plan.warmup):
        progress.say(f"warming up, {index + 1} of {plan.warmup}")
        answered = await caller.ask(plan.prompts[index % len(plan.prompts)], plan.seed + index, _CLOCK())
        if answered.failure is not None:
            kind, words = answered.failure.kind, answered.failure.words
            raise OurFault("target", f"{caller.url} does not answer the warm-up ({kind}): {words}")


async def _measure(plan: Plan, step: Step, caller: Caller, progress: Progress, steps: list[Figures]) -> None:
    """One step; its figures go to `steps` even if it is cancelled."""
    load = Load(
        step,
        plan.bounds,
        lambda index, due: caller.ask(plan.prompts[index % len(plan.prompts)], plan.seed + index, due),
        random.Random(plan.seed).random,  # noqa: S311 - a schedule, not a secret
        _CLOCK,
    )
    cpu, begun = time.process_time(), _CLOCK()
    watching = asyncio.create_task(_watch(step, load, progress))
    complete = False
    try:
        await load.run()
        complete = True
    finally:
        watching.cancel()
        ends = [one.end for one in load.answers] if complete else [_CLOCK()]
        wall = max([begun, *ends]) - begun
        steps.append(figures(step, load.answers, wall, time.process_time() - cpu, complete=complete))
        progress.say(_summary(steps[-1]))


async def _watch(step: Step, load: Load, progress: Progress) -> None:
    while True:
        counts = f"{len(load.answers)} answered, {load.failed} failed, {load.in_flight} in flight"
        progress.show(str(step), load.done(), counts, _CLOCK())
        await asyncio.sleep(limits.TICK_S)


def _summary(step: Figures) -> str:
    told = [f"{step.ok} of {step.requests} answered", f"{number(step.requests_per_s)} requests/s"]
    if step.ttft_s:
        told.append(f"first token after {number(step.ttft_s.p50 * 1000)} ms (p50)")
    return f"{step.step}: {', '.join(told)}" + ("" if step.complete else "; interrupted")


def _client() -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"python": platform.python_version(), "aiohttp": aiohttp.__version__, "cores": str(cores)}


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM cancel the task that runs this; gives the numbers caught. A second ends at once."""
    caught: list[int] = []
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def leave(which: int) -> None:
        caught.append(which)
        for one in numbers:
            loop.remove_signal_handler(one)
        if task is not None:
            task.cancel()

    for one in numbers:
        loop.add_signal_handler(one, leave, one)
    try:
        yield caught
    finally:
        for one in numbers:
            loop.remove_signal_handler(one)
