"""What the farm counts, by Prometheus' conventions.

Label values are the farm's own words and the names of models that a backend answered for: a client cannot
make up series. Read by `panel`, fed by the front.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from farm import limits
from farm.witness import Counts

if TYPE_CHECKING:
    from farm.backend import Backend
    from farm.desk import Desk

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series beside each, which nobody reads
_FIRST_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_STEP_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """The farm's figures, each farm's own.

    Args:
        desk: where requests wait and run.
        backends: whose state is shown.
    """

    def __init__(self, desk: Desk, backends: Sequence[Backend]) -> None:
        self._registry = own = CollectorRegistry()
        self._named: set[str] = set()
        self.requests = Counter(
            "farm_requests", "Requests for a model that ended", ["path", "outcome"], registry=own
        )
        self.ttft = Histogram(
            "farm_ttft_seconds", "From a request's arrival to the first byte of its answer",
            buckets=_FIRST_S, registry=own,
        )  # fmt: skip
        self.queue = Histogram(
            "farm_queue_seconds", "From a request's arrival to its slot", buckets=_FIRST_S, registry=own
        )
        self.gap = Histogram(
            "farm_chunk_gap_seconds",
            "Between two arrivals of chunks of a stream",
            buckets=_STEP_S,
            registry=own,
        )
        self.tokens = Counter("farm_tokens", "Tokens by kind", ["model", "kind"], registry=own)
        self.sent_b = Counter("farm_sent_bytes", "Bytes of answers sent to clients", registry=own)
        self.unfinished = Counter(
            "farm_unfinished_streams", "Streams that ended without their end mark", registry=own
        )
        self.retries = Counter("farm_retries", "Requests tried again before their first byte", registry=own)
        self.dropped = Counter(
            "farm_dropped_options",
            "Options taken out because they load the model anew",
            ["option"],
            registry=own,
        )
        self._watch(desk, backends)

    def count_tokens(self, model: str, counts: Counts) -> None:
        """Add what an answer told. A model may have more names than anybody wants series: some have to do."""
        if model not in self._named:
            if len(self._named) < limits.NAMED_MODELS_MAX:
                self._named.add(model)
            else:
                model = "other"
        if counts.prompt:
            self.tokens.labels(model, "prompt").inc(counts.prompt)
        if counts.completion:
            self.tokens.labels(model, "completion").inc(counts.completion)

    def text(self) -> bytes:
        """All figures in the text format that Prometheus reads."""
        return generate_latest(self._registry)

    def _watch(self, desk: Desk, backends: Sequence[Backend]) -> None:
        def gauge(name: str, what: str) -> Gauge:
            return Gauge(name, what, registry=self._registry)

        pool = desk.pool
        gauge("farm_requests_waiting", "Requests that wait for a slot").set_function(lambda: pool.waiting)
        gauge("farm_requests_running", "Slots in use").set_function(lambda: pool.used)
        gauge("farm_slots", "Slots of all backends").set_function(lambda: pool.slots)
        gauge("farm_ghosts", "Slots in use for clients that left").set_function(lambda: desk.ghosts)
        up = Gauge("farm_backend_up", "1 while requests are sent to it", ["backend"], registry=self._registry)
        again = Gauge(
            "farm_backend_restarts", "Times it was started again", ["backend"], registry=self._registry
        )
        loads = Gauge("farm_backend_loads", "Models loaded by the farm", ["backend"], registry=self._registry)
        for index, backend in enumerate(backends):
            up.labels(index).set_function(partial(_is_up, backend))
            again.labels(index).set_function(partial(_restarts, backend))
            loads.labels(index).set_function(partial(_loads, backend))


def _is_up(backend: Backend) -> float:
    return float(backend.place.up)


def _restarts(backend: Backend) -> float:
    return backend.restarts


def _loads(backend: Backend) -> float:
    return backend.loads.count
