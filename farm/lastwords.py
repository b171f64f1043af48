"""How a server process ended, in a sentence: its exit code and what its log says of the reason.

Pure; a log of an Ollama or of the docker command is fed line by line. Owned by `guarded`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from farm import limits

_PORT_TAKEN: Final = ("address already in use", "port is already allocated")
_NOISE: Final = re.compile(r"\s*$|\[GIN|time=\S+ level=(INFO|DEBUG)\b|Run 'docker run --help'")
"""The farm's own questions come once a second, and would push out everything else."""
_TELLING: Final = re.compile(r"Error: |panic: |fatal error: |SIG[A-Z]+: |docker: |time=\S+ level=ERROR\b")
_STAMP: Final = re.compile(r"time=\S+ level=[A-Z]+ (source=\S+ )?")
_SIGNALS_END: Final = 65
_FROM_OUTSIDE: Final = frozenset({9, 15})
"""Somebody's signals; its log knows nothing of them."""
_SIGNALS: Final = {1: "SIGHUP", 6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}


class LastWords:
    """Listens to one server's log.

    Attributes:
        port_was_taken: whether it said that its port is in use.
    """

    __slots__ = ("_telling", "port_was_taken")

    def __init__(self) -> None:
        self.port_was_taken = False
        self._telling = ""

    def counts(self, line: str) -> bool:
        """Whether a line may tell why it ended."""
        if _NOISE.match(line):
            return False
        if _TELLING.match(line):
            self._telling = line
            self.port_was_taken = any(words in line for words in _PORT_TAKEN)
        return True

    def of(self, code: int, lines: Sequence[str]) -> str:
        """How it ended.

        Args:
            code: of its exit; from 129 on a signal's number and 128, as shells have it; below 0 the same
                of its guard.
            lines: the end of its log, of lines that count.
        """
        number = -code if code < 0 else code - 128
        if not 0 < number < _SIGNALS_END:
            how = f"it ended with code {code}"
        else:
            who = "its guard" if code < 0 else "it"
            how = f"{who} was ended by {_SIGNALS.get(number, f'signal {number}')}"
            if number in _FROM_OUTSIDE:
                return how
        words = self._telling or " / ".join(lines[-limits.LAST_WORDS_SHOWN :])
        return f"{how}: {_STAMP.sub('', words)}" if words else how
