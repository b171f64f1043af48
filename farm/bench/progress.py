"""How far a step is, on stderr: a bar in a terminal, a line now and then in a log.

Called by `run`. Knows only numbers; the caller says what time it is.
"""

from __future__ import annotations

from typing import TextIO

from farm.bench import limits

_BAR = 24
_CLEAR = "\x1b[K"


class Progress:
    """Draws the progress of one step after the other.

    Args:
        out: where to draw.
        bar: draw over the same line; True for a terminal.
    """

    def __init__(self, out: TextIO, *, bar: bool) -> None:
        self._out = out
        self._bar = bar
        self._due = 0.0
        self._percent_due = 0
        self._open = False

    def show(self, title: str, done: float, counts: str, now: float) -> None:
        """Tell that `done` (0 to 1) of the step is over at `now` (seconds, any zero)."""
        percent = int(100 * done)
        if self._bar:
            if now >= self._due:
                self._due = now + limits.TICK_S
                filled = int(_BAR * done)
                self._write(f"\r{title} [{'#' * filled}{'.' * (_BAR - filled)}] {counts}{_CLEAR}")
                self._open = True
        elif percent >= self._percent_due:
            self._percent_due = percent - percent % limits.STEP_PERCENT + limits.STEP_PERCENT
            self._write(f"{title}: {percent} %, {counts}\n")

    def say(self, text: str) -> None:
        """A line of its own, instead of the bar; the next step begins behind it."""
        self._write(f"\r{_CLEAR}{text}\n" if self._open else f"{text}\n")
        self._open = False
        self._due = 0.0
        self._percent_due = limits.STEP_PERCENT

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
