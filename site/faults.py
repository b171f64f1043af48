"""The one error of the site's server: a sentence for the person who starts it, and the exit code.

Knows nothing; raised by every module here and printed by `server`.
"""

from __future__ import annotations


class SiteFault(Exception):
    """The server cannot start.

    Attributes:
        detail: one sentence: what was wrong and what to do.
        code: exit code; 2 for flags and the files they name, 1 when the machine said no.
    """

    def __init__(self, detail: str, code: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code


def reason(error: OSError) -> str:
    """What the system said, without number and path."""
    return error.strerror or type(error).__name__
