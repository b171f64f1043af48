"""How far a download is, on stderr: a bar in a terminal, a line now and then in a log.

Called by `fetch` and `pulling`. Knows only numbers; the caller says what time it is.
"""

from __future__ import annotations

from typing import TextIO

from farm import limits

_BAR = 30


class Progress:
    """Draws the progress of one download.

    Args:
        out: where to draw.
        title: what is downloaded.
        bar: draw over the same line; True for a terminal.
    """

    def __init__(self, out: TextIO, title: str, *, bar: bool) -> None:
        self._out = out
        self._title = title
        self._bar = bar
        self._due = 0.0
        self._percent_due = 0
        self._open = False

    def show(self, done_b: int, total_b: int, now: float) -> None:
        """Tell that `done_b` of `total_b` bytes are there at `now` (seconds, any zero)."""
        percent = 100 * done_b // max(total_b, 1)
        text = f"{self._title}: {percent:3d} % of {total_b / 1e6:.0f} MB"
        if self._bar:
            if now >= self._due or done_b >= total_b:
                self._due = now + limits.PROGRESS_TICK_S
                filled = _BAR * done_b // max(total_b, 1)
                self._open = done_b < total_b
                end = "" if self._open else "\n"
                self._write(f"\r{text} [{'#' * filled}{'.' * (_BAR - filled)}]{end}")
        elif percent >= self._percent_due:
            self._percent_due = (
                percent - percent % limits.PROGRESS_STEP_PERCENT + limits.PROGRESS_STEP_PERCENT
            )
            self._write(f"{text}\n")

    def leave(self) -> None:
        """It ends here, whole or not: what is written next begins on a line of its own."""
        if self._open:
            self._open = False
            self._write("\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
