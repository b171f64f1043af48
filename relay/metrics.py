"""What the relay counts, by Prometheus' conventions.

Label values are the relay's own words, never a peer's: nobody outside can make up a series, and no prompt,
address or secret gets in. Made from `Pump.statistics` at each scrape and from Notes; read by `panel`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from relay.commands import Note

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series beside each, which nobody reads

OUTCOMES = (
    "ok", "bad_request", "busy", "cancelled", "denied", "internal", "line_too_long", "peer_gone", "replayed",
    "shutdown", "timeout", "truncated", "upload_incomplete", "upstream_broke", "upstream_refused",
    "upstream_status",
)  # fmt: skip
"""How a request can end: they stand there with 0 from the start, so that the first one counts as a rise."""
_FIRST_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_WORD = re.compile(r"[a-z][a-z_]{0,39}")
_WORDS_MAX = 64
_AT_THE_DOOR = {
    "unsealed_dropped": "unsealed",
    "undecipherable_dropped": "undecipherable",
    "sessions_dropped": "session",
}
"""Counters of the NKN client that are messages dropped before the relay saw them."""
_UNSENT = {"send_failed_OutboxFull": "outbox_full", "send_failed_MessageTooLargeError": "too_large"}

Look = Callable[[], Mapping[str, Any]]


class Metrics:
    """One relay's figures.

    Args:
        look: the counters as they stand, see `Pump.statistics`.
        workers: requests that can run at once.
        version: of this program.
    """

    def __init__(self, look: Look, workers: int, version: str) -> None:
        self._registry = own = CollectorRegistry()
        self._first = Histogram(
            "relay_first_line_seconds",
            "From a request's arrival to the first line or chunk of its answer",
            buckets=_FIRST_S,
            registry=own,
        )
        own.register(_Counted(look, workers, version))
        ProcessCollector(registry=own)

    def note(self, note: Note) -> None:
        """An event of the engine."""
        if note.event == "first":
            self._first.observe(note.fields["s"])

    def text(self) -> bytes:
        """All figures in the text format that Prometheus reads."""
        return generate_latest(self._registry)


class _Counted:
    """The counters of one look, as families."""

    def __init__(self, look: Look, workers: int, version: str) -> None:
        self._look = look
        self._workers = workers
        self._version = version

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first look."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All that is counted, from one look."""
        seen = self._look()
        nkn = seen.get("nkn", {})
        yield _gauge("relay_info", "The program", 1, version=self._version)
        yield _gauge("relay_workers", "Requests that can run at once", self._workers)
        yield from _requests(seen)
        yield from _traffic(seen, nkn)
        yield from _links(nkn.get("parts", {}))


def _requests(seen: Mapping[str, Any]) -> Iterable[Metric]:
    outcomes = Counter(dict.fromkeys(OUTCOMES, 0))
    outcomes.update(_named(seen, "ended_"))
    outcomes.update(_named(seen, "refused_"))
    yield _counter("relay_requests", "Requests that ended or were refused", "outcome", outcomes)
    yield _counter("relay_events", "Messages of peers, by event", "event", _named(seen, "event_"))
    yield _gauge("relay_requests_running", "Requests that hold a worker", seen.get("running", 0))
    yield _gauge("relay_requests_waiting", "Requests in the queue", seen.get("waiting", 0))
    yield _gauge("relay_uploads", "Requests that come in pieces, not complete", seen.get("uploads", 0))
    yield _gauge("relay_upload_bytes", "What has come of them", seen.get("uploads_b", 0))


def _traffic(seen: Mapping[str, Any], nkn: Mapping[str, Any]) -> Iterable[Metric]:
    drops = _named(seen, "dropped_")
    drops.update({reason: nkn.get(name, 0) for name, reason in _AT_THE_DOOR.items()})
    yield _counter("relay_dropped", "Messages that were not acted upon", "reason", drops)
    unsent = {reason: seen.get(name, 0) for name, reason in _UNSENT.items()}
    yield _counter("relay_send_failures", "Messages that could not be sent", "reason", unsent)
    ways = {"in": seen.get("bytes_in", 0), "out": seen.get("bytes_out", 0)}
    yield _counter("relay_bytes", "Bytes of peers' messages and of those to them", "direction", ways)
    plain = (
        ("relay_frames_sent", "Messages to peers; copies and repeats are not counted", nkn.get("sent", 0)),
        ("relay_frames_resent", "Sent again, not having been acknowledged", nkn.get("resent", 0)),
        ("relay_frames_sent_again", "Sent again because a peer asked", seen.get("sent_again", 0)),
        ("relay_retained_dropped", "Kept frames that had to go early", seen.get("retained_dropped", 0)),
    )
    for name, what, count in plain:
        yield CounterMetricFamily(name, what, value=count)
    yield _gauge("relay_retained_bytes", "Frames kept to be sent again", seen.get("retained_b", 0))
    yield _gauge("relay_remembered_ids", "Requests that are over, by id", seen.get("ids", 0))
    yield _gauge("relay_unsent_bytes", "What waits for the slowest node's socket", seen.get("unsent_b", 0))


def _links(parts: Mapping[str, Mapping[str, Any]]) -> Iterable[Metric]:
    up = sum(bool(part.get("ready")) for part in parts.values())
    links = GaugeMetricFamily("relay_nkn_links", "Parts of the address by state", labels=["state"])
    links.add_metric(["up"], up)
    links.add_metric(["down"], len(parts) - up)
    yield links
    sums = {name: sum(part.get(name, 0) for part in parts.values()) for name in ("losses", "failures")}
    yield CounterMetricFamily("relay_nkn_losses", "Connections to nodes that were lost", value=sums["losses"])
    what = "Attempts to reach a node that failed"
    yield CounterMetricFamily("relay_nkn_connect_failures", what, value=sums["failures"])


def _named(seen: Mapping[str, Any], prefix: str) -> Counter[str]:
    """Counts whose names begin so, by the rest of it; what is no word of ours counts as "other"."""
    found: Counter[str] = Counter()
    for name, count in seen.items():
        if name.startswith(prefix):
            word = name.removeprefix(prefix)
            known = _WORD.fullmatch(word) and len(found) < _WORDS_MAX
            found[word if known else "other"] += count
    return found


def _counter(name: str, what: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, what, labels=[label])
    for word, count in counts.items():
        family.add_metric([word], count)
    return family


def _gauge(name: str, what: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(name, what, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family
