"""What to measure, as data: whom to ask, how, and the load of each step.

Pure. Made by `settings`; read by everything else here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Api(enum.StrEnum):
    """The language of the endpoint."""

    NATIVE = "native"
    OPENAI = "openai"


class Endpoint(enum.StrEnum):
    """One text, or a conversation of one message."""

    GENERATE = "generate"
    CHAT = "chat"


class Kind(enum.StrEnum):
    """Who decides when the next request leaves.

    CLOSED: a fixed number of clients, each waits for its answer. OPEN: the clock; answers are not waited for.
    """

    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Step:
    """One load.

    Attributes:
        kind: closed or open.
        level: clients at the same time, or arrivals per second.
    """

    kind: Kind
    level: float

    def __str__(self) -> str:
        if self.kind is Kind.OPEN:
            return f"{self.level:g}/s"
        return f"{self.level:g} client{'' if self.level == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a step is over: one of the two is set.

    Attributes:
        requests: so many requests.
        duration_s: requests that begin within so many seconds.
    """

    requests: int | None
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask. Before the target was asked, `api`, `endpoint` and `model` may be open (None)."""

    url: str
    api: Api | None
    endpoint: Endpoint | None
    model: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        target: whom to ask.
        steps: the loads, in order.
        bounds: the same for each step.
        prompts: used in turn.
        max_tokens: per answer; 0 leaves it to the server.
        seed: of the sampling (each request adds its number) and of the arrivals.
        warmup: requests before the first step, one after the other.
        timeout_s: for one request.
        json_out: path of the result, or None.
        plot_out: path of the picture, or None.
    """

    target: Target
    steps: tuple[Step, ...]
    bounds: Bounds
    prompts: tuple[str, ...]
    max_tokens: int
    seed: int
    warmup: int
    timeout_s: float
    json_out: str | None
    plot_out: str | None
