"""What an operator reads: one line per event with --debug, links and refusals without it.

Never a prompt, never a secret: it only gets Notes, which hold neither. Called by `cli`.
"""

from __future__ import annotations

import sys
import time

from relay.commands import Note
from wire import redact


class Journal:
    """Writes lines to standard error.

    Args:
        debug: write every event, not only what an owner should know.
    """

    def __init__(self, *, debug: bool) -> None:
        self._debug = debug
        self._failed: str | None = None

    def note(self, note: Note) -> None:
        """One event of the engine."""
        if self._debug:
            fields = " ".join(f"{name}={redact.printable(str(value))}" for name, value in note.fields.items())
            self._line(f"{note.event:<8} {fields}")

    def link(self, event: str, text: str) -> None:
        """One event of an NKN connection; the same failure again and again is written once."""
        if event == "failed" and text == self._failed and not self._debug:
            return
        self._failed = text if event == "failed" else None
        more = "; trying again" if event == "failed" else ""
        self._line(f"nkn      {event} {redact.printable(text, 240)}{more}")

    def _line(self, text: str) -> None:
        stamp = time.strftime("%H:%M:%S")
        sys.stderr.write(f"{stamp} {text}\n")
        sys.stderr.flush()
