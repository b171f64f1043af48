"""The relay's figures: names and labels by the book, nothing in them that a peer could choose."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from desks import ALICE, BOB, Desk
from prometheus_client.parser import text_string_to_metric_families

from relay.commands import Note
from relay.metrics import OUTCOMES, Metrics
from wire import errors

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "relay-operator.md").read_text(encoding="utf-8")
SEEN: dict[str, Any] = {
    "ended_ok": 3, "ended_timeout": 1, "refused_timeout": 1, "refused_busy": 2, "event_http": 7,
    "dropped_stranger": 4, "running": 2, "waiting": 5, "retained_b": 1000, "bytes_in": 10, "bytes_out": 20,
    "send_failed_OutboxFull": 6, "unsent_b": 9, "ids": 12,
    "nkn": {
        "sent": 11, "resent": 2, "unsealed_dropped": 8,
        "parts": {"__0__": {"ready": True, "losses": 1}, "": {"ready": False, "losses": 2, "failures": 3}},
    },
}  # fmt: skip


def figures(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    families = list(text_string_to_metric_families(metrics.text().decode()))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation for family in families)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_was_counted_stands_there() -> None:
    told = figures(Metrics(lambda: SEEN, 4, "0.1"))
    wanted = {
        ("relay_requests_total", ("ok",)): 3,
        ("relay_requests_total", ("timeout",)): 2,
        ("relay_requests_total", ("busy",)): 2,
        ("relay_requests_total", ("denied",)): 0,
        ("relay_requests_running", ()): 2,
        ("relay_requests_waiting", ()): 5,
        ("relay_events_total", ("http",)): 7,
        ("relay_dropped_total", ("stranger",)): 4,
        ("relay_dropped_total", ("unsealed",)): 8,
        ("relay_frames_sent_total", ()): 11,
        ("relay_frames_resent_total", ()): 2,
        ("relay_send_failures_total", ("outbox_full",)): 6,
        ("relay_bytes_total", ("in",)): 10,
        ("relay_bytes_total", ("out",)): 20,
        ("relay_unsent_bytes", ()): 9,
        ("relay_retained_bytes", ()): 1000,
        ("relay_remembered_ids", ()): 12,
        ("relay_nkn_links", ("up",)): 1,
        ("relay_nkn_links", ("down",)): 1,
        ("relay_nkn_losses_total", ()): 3,
        ("relay_nkn_connect_failures_total", ()): 3,
        ("relay_workers", ()): 4,
        ("relay_info", ("0.1",)): 1,
    }
    assert {name: told[name] for name in wanted} == wanted


def test_before_anything_happened_there_are_figures_too() -> None:
    told = figures(Metrics(dict, 4, "0.1"))
    assert told["relay_requests_total", ("ok",)] == 0
    assert told["relay_nkn_links", ("up",)] == 0


def test_every_outcome_is_known() -> None:
    source = inspect.getsource(errors)
    codes = set(re.findall(r'(?:PeerFault|UpstreamFault|OurFault)\(\s*"([a-z_]+)"', source))
    assert set(OUTCOMES) == {"ok", *codes}


def test_the_first_line_is_a_histogram() -> None:
    metrics = Metrics(dict, 4, "0.1")
    for seconds in (0.02, 3.0):
        metrics.note(Note("first", {"tag": 1, "s": seconds}))
    metrics.note(Note("end", {"tag": 1, "code": "ok"}))
    told = figures(metrics)
    assert told["relay_first_line_seconds_count", ()] == 2
    assert told["relay_first_line_seconds_bucket", ("0.025",)] == 1
    assert not any("created" in name for name, _ in told)


@pytest.mark.parametrize("name", ["dropped_Alice says hi", "dropped_" + "x" * 41, "ended_a\nb", "event_"])
def test_what_is_no_word_of_ours_is_other(name: str) -> None:
    labels = {label for _, labels in figures(Metrics(lambda: {name: 1}, 4, "0")) for label in labels}
    assert "other" in labels
    assert name.partition("_")[2] not in labels - {"other"}


def test_there_are_never_many_series() -> None:
    seen = {f"dropped_{a}{b}": 1 for a in "abcdefghij" for b in "abcdefghij"}
    told = figures(Metrics(lambda: seen, 4, "0"))
    reasons = {labels[0]: count for (name, labels), count in told.items() if name == "relay_dropped_total"}
    assert len(reasons) < 70
    assert sum(reasons.values()) == 100


def test_no_prompt_and_no_peer_is_in_there() -> None:
    desk = Desk(allow_peers=frozenset({ALICE}))
    secret = "s3cretprompt"
    desk.ask("s3cretid", json={"model": "s3cretmodel", "prompt": secret})
    desk.ask("i2", path=f"/api/{secret}", method="DELETE")
    desk.say(secret)
    desk.hear(secret)
    desk.hear(secret, BOB)
    text = Metrics(desk.engine.statistics, 4, "0.1").text().decode()
    assert 'relay_dropped_total{reason="stranger"} 1.0' in text
    assert 'relay_requests_total{outcome="denied"} 1.0' in text
    for word in ("s3cret", "alice", ALICE.hex()[:8], BOB.hex()[:8]):
        assert word not in text


def test_every_family_stands_on_the_page() -> None:
    text = Metrics(dict, 4, "0.1").text().decode()
    names = set(re.findall(r"^# TYPE (relay_\w+) ", text, re.MULTILINE))
    assert len(names) > 15
    assert {name for name in names if f"`{name}" not in PAGE} == set()
