"""A farm's /_health, told in words.

Pure; takes it as it came, for it may be another version's. Called by `examination`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from farm.doctor.finding import note, ok, trouble
from wire.finding import Finding, foreign, listed


@dataclass(frozen=True, slots=True)
class Front:
    """The farm that was asked: its words, or why there are none."""

    url: str
    health: Mapping[str, Any] | None = None
    trouble: str = ""


def is_health(value: Any) -> bool:
    """Whether an answer is a farm's."""
    return isinstance(value, dict) and {"status", "slots", "backends"} <= value.keys()


def urls(health: Mapping[str, Any]) -> list[str]:
    """Where its backends are."""
    return [one["url"] for one in _backends(health) if isinstance(one.get("url"), str)]


def told(front: Front, unreached: Collection[str] = ()) -> list[Finding]:
    """What it says of itself.

    Args:
        front: its words.
        unreached: URLs of its backends that did not answer the doctor.
    """
    if front.health is None:
        remedy = "is `python -m farm` running? is that its --front-port?"
        return [trouble("front", f"no farm answers at {front.url}: {foreign(front.trouble)}", remedy)]
    health = front.health
    return [_status(front.url, health), *_queue(health), *_cold(health), *_each_backend(health, unreached)]


def _status(url: str, health: Mapping[str, Any]) -> Finding:
    status = foreign(health.get("status"))
    if status == "ready":
        return ok("front", f"the farm at {url} is ready; {_load(health)}")
    if status == "starting":
        doing = health.get("doing")
        text = f"the farm at {url} is starting" + (f": {foreign(doing)}" if doing else "")
        return note("front", text, "wait; `doing` in /_health shows how far it is")
    if status == "degraded":
        return note("front", f"the farm at {url} serves, but not with all its backends; {_load(health)}")
    if status == "down":
        return trouble("front", f"the farm at {url} serves nobody: none of its backends answers")
    return note("front", f"the farm at {url} says it is {status}")


def _load(health: Mapping[str, Any]) -> str:
    numbers = (_number(health.get(name)) for name in ("running", "slots", "waiting"))
    return "{} of {} slots taken, {} waiting".format(*numbers)


def _number(value: Any) -> str:
    return str(value) if isinstance(value, int) else "?"


def _queue(health: Mapping[str, Any]) -> Iterable[Finding]:
    waiting = health.get("waiting")
    if health.get("status") in {"ready", "degraded"} and isinstance(waiting, int) and waiting > 0:
        yield note(
            "queue",
            f"{waiting} request{'s wait' if waiting > 1 else ' waits'} for a slot",
            "more slots: --num-parallel (takes memory) or --per-gpu; who waits: /_requests",
        )


def _cold(health: Mapping[str, Any]) -> Iterable[Finding]:
    warm = health.get("warm")
    cold = [name for name, yes in warm.items() if not yes] if isinstance(warm, dict) else []
    if cold and health.get("status") in {"ready", "degraded"}:
        yield note("front", f"{listed(cold)} is not in memory; the next request loads it and waits")


def _backends(health: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = health.get("backends")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _each_backend(health: Mapping[str, Any], unreached: Collection[str]) -> Iterable[Finding]:
    """A line for each backend of which there is something to say."""
    for one in _backends(health):
        url, phase, up = foreign(one.get("url")), foreign(one.get("phase")), one.get("up")
        restarts = one.get("restarts")
        again = f"; started again {restarts} times" if isinstance(restarts, int) and restarts else ""
        if phase in {"down", "hangs"} or (up is False and phase == "ready"):
            words = f": {foreign(one['error'])}" if one.get("error") else ""
            state = "hangs" if phase == "hangs" else "is down"
            yield trouble("backend", f"backend {url} {state}{words}{again}", _cure(one.get("ours")))
        elif up is True and one.get("url") in unreached:
            text = f"backend {url} does not answer the doctor, though its farm counts it as {phase}"
            yield trouble("backend", text, "look again in 10 s: by then the farm has noticed as well")
        elif again:
            yield note("backend", f"backend {url} serves{again}", "why stands in the farm's own output")


def _cure(ours: Any) -> str:
    if ours is False:
        return "the farm did not start it: start it again yourself, e.g. sudo systemctl restart ollama"
    return "the farm starts it again by itself; why it ended stands in the farm's own output"
