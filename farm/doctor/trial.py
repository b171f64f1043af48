"""Do several requests really run at the same time? What `--try` found.

Pure. Made by `trying`, called by `examination`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farm.doctor import limits
from farm.doctor.finding import note, ok, trouble
from wire.finding import Finding, foreign


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it; times in seconds on one clock.

    Attributes:
        url: who was asked.
        model: for which model.
        asked: requests at once.
        spans: of each answer: first and last token.
        errors: of those that failed.
        load_s: how long the load took, None when it failed.
    """

    url: str
    model: str
    asked: int
    spans: tuple[tuple[float, float], ...] = ()
    errors: tuple[str, ...] = ()
    load_s: float | None = None


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    """How many of the spans overlap at the busiest moment; those that touch, or nearly, do not."""
    edges = [(begin, end, limits.TRY_EDGE * (end - begin)) for begin, end in spans]
    steps = sorted(
        [(begin + edge, 1) for begin, _, edge in edges] + [(end - edge, -1) for _, end, edge in edges]
    )
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def judged(trial: Trial) -> list[Finding]:
    """What it means."""
    where = f"{foreign(trial.model)} at {trial.url}"
    if trial.load_s is None:
        why = foreign(trial.errors[0]) if trial.errors else "no reason given"
        return [
            trouble("try", f"{where} cannot be loaded: {why}", "is the model there? does it fit into memory?")
        ]
    told = [ok("try", f"{where} was in memory after {trial.load_s:.1f} s")]
    if trial.errors:
        text = f"{len(trial.errors)} of {trial.asked} answers failed: {foreign(trial.errors[0])}"
        told.append(trouble("try", text, "the farm's output, or Ollama's log, says more"))
    if trial.asked > 1 and len(trial.spans) > 1:
        told.append(_together([span for span in trial.spans if span[0] < span[1]]))
    return told


def _together(spans: Sequence[tuple[float, float]]) -> Finding:
    most, came = most_at_once(spans), len(spans)
    if came < 2:
        return note(
            "try", "the answers came in one piece each, so it cannot be seen whether they ran together"
        )
    if most >= came:
        return ok("try", f"{came} answers ran at the same time")
    if most > 1:
        text = f"of {came} answers at most {most} ran at the same time"
        return note(
            "try", text, "so many streams the backend runs: --num-parallel, or its OLLAMA_NUM_PARALLEL"
        )
    return trouble(
        "try",
        f"still serialized: {came} answers came one after the other",
        "OLLAMA_NUM_PARALLEL of that Ollama is 1, or memory is short for a second stream, or the model "
        "is of a kind that allows only one (embeddings, some vision models)",
    )
