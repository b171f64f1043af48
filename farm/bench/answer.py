"""One request of a load, over: when it was due, what came when, how it ended.

Pure data; made by `exchange`, read by `figures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from farm.bench.said import Spent

REFUSED = "refused"
BROKEN = "broken"
NO_END_MARK = "no_end_mark"
STREAM_ERROR = "stream_error"
MALFORMED = "malformed"
TIMEOUT = "timeout"
OVERFLOW = "overflow"


def status(code: int) -> str:
    """The kind of a failure by status, such as `http_503`."""
    return f"http_{code}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no whole answer.

    Attributes:
        kind: REFUSED (no connection), `status(...)`, BROKEN (cut), NO_END_MARK (a clean end too early),
            STREAM_ERROR (an error line or event), MALFORMED (no line of this language), TIMEOUT,
            OVERFLOW (not sent: too many in flight).
        words: what the server or the system said.
    """

    kind: str
    words: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One request; times are seconds of one monotonic clock.

    Attributes:
        due: when it should leave: the arrival of an open load, else the moment its client was free.
        sent: when it did leave; the difference is the bench's own lateness.
        head: status and headers were there, or None.
        first: the first non-empty token was there, or None.
        last: the last chunk with a token was there, or None.
        end: the end mark was there, or the failure noticed.
        gaps: between arrivals of chunks that hold a token.
        chunks: lines or events that brought text.
        tokens: generated tokens as the server tells them, or None.
        spent: the server's own durations, or None.
        failure: None for a whole answer.
    """

    due: float
    sent: float
    end: float
    head: float | None = None
    first: float | None = None
    last: float | None = None
    gaps: Sequence[float] = ()
    chunks: int = 0
    tokens: int | None = None
    spent: Spent | None = None
    failure: Failure | None = None

    @property
    def whole(self) -> bool:
        """The end mark came."""
        return self.failure is None
