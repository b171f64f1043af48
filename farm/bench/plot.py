"""Results as a picture: throughput, latency and time to the first token over the load.

Needs matplotlib, which is imported only here and only when a picture is asked for. Called by `cli`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import PurePath
from typing import TYPE_CHECKING

from farm.bench.plan import Kind
from farm.bench.record import Result
from wire.errors import SettingsFault

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg")
_AXES = {Kind.CLOSED: "clients at the same time", Kind.OPEN: "arrivals per second"}
_PERCENTILES = (("p50", "-"), ("p95", "--"), ("p99", ":"))
_SPREADS = (
    ("latency, s", "latency_s"),
    ("time to first token, s", "ttft_s"),
    ("between chunks (ICL), s", "icl_s"),
)
"""Titles and attributes of Figures."""


def look(name: str) -> None:
    """See that a picture can be drawn.

    Raises:
        SettingsFault: for a suffix that is none of SUFFIXES, or if matplotlib is not installed.
    """
    if PurePath(name).suffix.lower() not in SUFFIXES:
        raise SettingsFault("--plot", f"{name} must end in {' or '.join(SUFFIXES)}")
    if find_spec("matplotlib") is None:
        raise SettingsFault("--plot", "matplotlib is not installed; pip install 'gpu-over-nkn[plot]'")


def draw(name: str, results: Sequence[tuple[str, Result]]) -> bytes:
    """The picture of one or several results; `name`'s suffix says PNG or SVG.

    Args:
        name: the file it is for.
        results: a label and a result each.
    """
    from matplotlib.figure import Figure

    picture = Figure(figsize=(11, 8), layout="constrained")
    panels = picture.subplots(2, 2).flat
    several = len(results) > 1
    for index, (label, result) in enumerate(results):
        named, colour = f"{label} " if several else "", f"C{index}"
        rates = [(step.level, step.requests_per_s) for step in result.steps]
        _line(panels[0], rates, f"{named}requests/s", gid=f"requests_per_s.{index}", colour=colour)
        for axes, (_, attribute) in zip(panels[1:], _SPREADS, strict=True):
            for percentile, style in _PERCENTILES:
                values = _values(result, attribute, percentile)
                gid = f"{attribute}.{percentile}.{index}"
                _line(axes, values, f"{named}{percentile}", gid=gid, colour=colour, style=style)
    loads = dict.fromkeys(_AXES[step.kind] for _, result in results for step in result.steps)
    for axes, title in zip(panels, ("whole answers per second", *dict(_SPREADS)), strict=True):
        axes.set(title=title, xlabel=" / ".join(loads))
        axes.set_xticks(sorted({step.level for _, result in results for step in result.steps}))
        axes.margins(y=0.15)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    picture.suptitle("; ".join(f"{label} {result.target.model}".strip() for label, result in results))
    target = io.BytesIO()
    picture.savefig(target, format=PurePath(name).suffix.lower()[1:], dpi=120)
    return target.getvalue()


def _values(result: Result, attribute: str, percentile: str) -> list[tuple[float, float]]:
    """Load and percentile of the steps that have it."""
    spreads = [(step.level, getattr(step, attribute)) for step in result.steps]
    return [(level, getattr(spread, percentile)) for level, spread in spreads if spread is not None]


def _line(
    axes: Axes, points: Sequence[tuple[float, float]], label: str, *, gid: str, colour: str, style: str = "-"
) -> None:
    """One curve; `gid` names it in an SVG."""
    ordered = sorted(points)
    levels, values = [level for level, _ in ordered], [value for _, value in ordered]
    axes.plot(levels, values, style, label=label, gid=gid, color=colour, marker="o")
