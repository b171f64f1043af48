"""A farm's /_health in words, and what a trial means."""

from __future__ import annotations

from typing import Any

import pytest

from farm.doctor import front, trial
from farm.doctor.finding import Level
from farm.doctor.front import Front
from farm.doctor.trial import Trial

URL = "http://127.0.0.1:8080"
BACK = {
    "url": "http://127.0.0.1:11434",
    "phase": "ready",
    "up": True,
    "ours": True,
    "restarts": 0,
    "error": None,
}
HEALTH = {
    "status": "ready",
    "doing": None,
    "warm": {"a": True},
    "slots": 4,
    "running": 1,
    "waiting": 0,
    "backends": [BACK],
}


def said(*unreached: str, **changes: Any) -> list[tuple[str, Level, str]]:
    told = front.told(Front(URL, HEALTH | changes), unreached)
    return [(one.check, one.level, one.text) for one in told]


READY = ("front", Level.OK, f"the farm at {URL} is ready; 1 of 4 slots taken, 0 waiting")


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, [READY]),
        (
            {"slots": None, "running": "x"},
            [("front", Level.OK, f"the farm at {URL} is ready; ? of ? slots taken, 0 waiting")],
        ),
        (
            {"status": "starting", "doing": "pulling a: 43 %", "warm": {"a": False}, "waiting": 3},
            [("front", Level.NOTE, f"the farm at {URL} is starting: pulling a: 43 %")],
        ),
        ({"status": "starting"}, [("front", Level.NOTE, f"the farm at {URL} is starting")]),
        (
            {"status": "degraded"},
            [
                (
                    "front",
                    Level.NOTE,
                    f"the farm at {URL} serves, but not with all its backends; 1 of 4 slots taken, 0 waiting",
                )
            ],
        ),
        (
            {"status": "down"},
            [("front", Level.TROUBLE, f"the farm at {URL} serves nobody: none of its backends answers")],
        ),
        ({"status": "odd"}, [("front", Level.NOTE, f"the farm at {URL} says it is odd")]),
        (
            {"waiting": 1},
            [
                ("front", Level.OK, f"the farm at {URL} is ready; 1 of 4 slots taken, 1 waiting"),
                ("queue", Level.NOTE, "1 request waits for a slot"),
            ],
        ),
        (
            {"waiting": 2},
            [
                ("front", Level.OK, f"the farm at {URL} is ready; 1 of 4 slots taken, 2 waiting"),
                ("queue", Level.NOTE, "2 requests wait for a slot"),
            ],
        ),
        (
            {"warm": {"a": False, "b": True}},
            [READY, ("front", Level.NOTE, "a is not in memory; the next request loads it and waits")],
        ),
        ({"warm": None, "backends": None}, [READY]),
        ({"backends": ["x", {}]}, [READY]),
        (
            {"backends": [BACK | {"restarts": 2}]},
            [READY, ("backend", Level.NOTE, f"backend {BACK['url']} serves; started again 2 times")],
        ),
        (
            {"backends": [BACK | {"phase": "down", "error": "it ended", "restarts": 1}]},
            [
                READY,
                ("backend", Level.TROUBLE, f"backend {BACK['url']} is down: it ended; started again 1 times"),
            ],
        ),
        (
            {"backends": [BACK | {"up": False}]},
            [READY, ("backend", Level.TROUBLE, f"backend {BACK['url']} is down")],
        ),
        (
            {"backends": [BACK | {"phase": "hangs"}]},
            [READY, ("backend", Level.TROUBLE, f"backend {BACK['url']} hangs")],
        ),
        ({"backends": [BACK | {"phase": "starting", "up": False}]}, [READY]),
    ],
)
def test_health_in_words(changes: dict[str, Any], lines: list[tuple[str, Level, str]]) -> None:
    assert said(**changes) == lines


@pytest.mark.parametrize(
    ("ours", "remedy"),
    [(True, "starts it again by itself"), (False, "start it again yourself"), (None, "by itself")],
)
def test_who_starts_a_backend_again(ours: bool | None, remedy: str) -> None:
    down = HEALTH | {"backends": [BACK | {"phase": "down", "ours": ours}]}
    assert remedy in front.told(Front(URL, down))[-1].remedy


def test_a_backend_that_the_doctor_does_not_reach() -> None:
    assert said(str(BACK["url"]))[1:] == [
        (
            "backend",
            Level.TROUBLE,
            f"backend {BACK['url']} does not answer the doctor, though its farm counts it as ready",
        ),
    ]
    assert said(str(BACK["url"]), backends=[BACK | {"up": False, "phase": "starting"}])[1:] == []


def test_no_farm() -> None:
    (told,) = front.told(Front(URL, trouble="Connection refused"))
    assert (told.level, told.text) == (Level.TROUBLE, f"no farm answers at {URL}: Connection refused")


@pytest.mark.parametrize(
    ("value", "yes"),
    [(HEALTH, True), ({"status": "ok"}, False), ({"status": 1, "slots": 1}, False), ([], False)],
)
def test_what_is_a_farm(value: Any, yes: bool) -> None:
    assert front.is_health(value) is yes


def test_where_its_backends_are() -> None:
    assert front.urls({"backends": [BACK, {"url": 3}, "x"]}) == [BACK["url"]]


# -- the trial -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spans", "most"),
    [
        ((), 0),
        (((0, 1),), 1),
        (((0, 1), (1, 2), (2, 3)), 1),
        (((0, 2), (1, 3), (2, 4)), 2),
        (((0, 9), (1, 2), (3, 4)), 2),
        (((0, 9), (1, 8), (2, 7)), 3),
        (((0, 1), (0, 1)), 2),
        (((0, 1), (0.95, 2), (1.99, 3)), 1),
        (((0, 1), (0.5, 1.5)), 2),
    ],
)
def test_most_at_once(spans: tuple[tuple[float, float], ...], most: int) -> None:
    assert trial.most_at_once(spans) == most


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (
            Trial("u", "a", 4, errors=("no such model",)),
            [(Level.TROUBLE, "a at u cannot be loaded: no such model")],
        ),
        (Trial("u", "a", 4), [(Level.TROUBLE, "a at u cannot be loaded: no reason given")]),
        (Trial("u", "a", 1, spans=((0, 1),), load_s=0.52), [(Level.OK, "a at u was in memory after 0.5 s")]),
        (
            Trial("u", "a", 2, spans=((0, 1), (0, 1)), load_s=1.0),
            [(Level.OK, "a at u was in memory after 1.0 s"), (Level.OK, "2 answers ran at the same time")],
        ),
        (
            Trial("u", "a", 3, spans=((0, 1), (0, 1), (1, 2)), load_s=1.0),
            [
                (Level.OK, "a at u was in memory after 1.0 s"),
                (Level.NOTE, "of 3 answers at most 2 ran at the same time"),
            ],
        ),
        (
            Trial("u", "a", 2, spans=((0, 1), (1, 2)), load_s=1.0),
            [
                (Level.OK, "a at u was in memory after 1.0 s"),
                (Level.TROUBLE, "still serialized: 2 answers came one after the other"),
            ],
        ),
        (
            Trial("u", "a", 3, spans=((0, 1), (1, 1), (2, 2)), load_s=1.0),
            [
                (Level.OK, "a at u was in memory after 1.0 s"),
                (
                    Level.NOTE,
                    "the answers came in one piece each, so it cannot be seen whether they ran together",
                ),
            ],
        ),
        (
            Trial("u", "a", 2, spans=((0, 1),), errors=("cut",), load_s=1.0),
            [(Level.OK, "a at u was in memory after 1.0 s"), (Level.TROUBLE, "1 of 2 answers failed: cut")],
        ),
    ],
)
def test_what_a_trial_means(found: Trial, lines: list[tuple[Level, str]]) -> None:
    assert [(one.level, one.text) for one in trial.judged(found)] == lines
