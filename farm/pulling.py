"""A model that a backend does not have yet, fetched by it, with its progress shown.

Called by `rooms`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.http import HttpProcessingError

from farm import limits
from farm.client import BROKEN
from farm.demand import canonical
from farm.progress import Progress
from wire.errors import OurFault

_LOG = logging.getLogger(__name__)
_NO_PROGRESS = (ValueError, TypeError, HttpProcessingError)
"""What reading something else than the progress of a pull raises."""


async def ensure(
    url: str, session: aiohttp.ClientSession, model: str, *, allowed: bool, tell: Callable[[str], None]
) -> None:
    """Have `model` on the backend's disk.

    Args:
        url: of the backend.
        session: the way to it.
        model: as the owner wrote it.
        allowed: whether it may be fetched.
        tell: told what is going on, for /_health.

    Raises:
        OurFault: "model": it is not there and cannot be had; what to do.
    """
    if canonical(model) in await _present(url, session):
        return
    if not allowed:
        raise OurFault(
            "model", f"{model} is not there and --no-pull is given; without it the farm fetches it"
        )
    tell(f"pulling {model}")
    _LOG.info("pulling %s", model)
    bar = Progress(sys.stderr, f"pulling {model}", bar=sys.stderr.isatty())
    try:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=limits.PULL_SILENT_S)
        wish = json.dumps({"model": model, "stream": True})
        async with session.post(f"{url}/api/pull", data=wish, timeout=timeout) as answer:
            await _follow(answer, model, bar, tell)
    except (*BROKEN, aiohttp.ClientError, TimeoutError, *_NO_PROGRESS) as error:
        why = f"{type(error).__name__}; what was fetched is kept, start again to go on"
        raise OurFault("model", f"pulling {model} broke off: {why}") from None
    finally:
        bar.leave()


async def _present(url: str, session: aiohttp.ClientSession) -> set[str]:
    timeout = aiohttp.ClientTimeout(total=limits.PULL_SILENT_S)
    try:
        async with session.get(f"{url}/api/tags", timeout=timeout) as answer:
            told = await answer.json(content_type=None)
        return {canonical(entry["name"]) for entry in told["models"] or ()}
    except (*BROKEN, aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise OurFault("backend", f"{url} does not list its models ({type(error).__name__})") from None


async def _follow(
    answer: aiohttp.ClientResponse, model: str, bar: Progress, tell: Callable[[str], None]
) -> None:
    """Read the progress of a pull to its end."""
    layers: dict[str, tuple[int, int]] = {}
    percent = -1
    done = False
    async for line in answer.content:
        told = _read(line)
        if "error" in told:
            raise OurFault("model", f"{model} cannot be pulled: {told['error']}")
        if "digest" in told and "total" in told:
            layers[told["digest"]] = (told.get("completed", 0), told["total"])
            have, total = (sum(column) for column in zip(*layers.values(), strict=True))
            bar.show(min(have, total - 1), total, time.monotonic())  # there may be more layers
            if 100 * have // max(total, 1) != percent:
                percent = 100 * have // max(total, 1)
                tell(f"pulling {model}: {percent} %")
        done = done or told.get("status") == "success"
    if done and layers:
        bar.show(total, total, time.monotonic())
    if not done:
        raise OurFault("model", f"pulling {model} ended before it was complete; start again to go on")


def _read(line: bytes) -> dict[str, Any]:
    told = json.loads(line) if line.strip() else {}
    if not isinstance(told, dict):
        raise ValueError("no object")  # noqa: TRY004 - as for a line that is no JSON
    return told
