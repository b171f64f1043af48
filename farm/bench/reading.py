"""Bytes of one answer as they arrive, read: first token, gaps between chunks, end mark, error.

A chunk is what arrived at once and holds at least one token: lines that come together are one chunk, so a
server or proxy that gathers tokens shows as longer gaps, not as gaps of zero.
Pure; time is an argument. Called by `exchange`.
"""

from __future__ import annotations

from collections.abc import Iterator

from farm.bench import answer, limits
from farm.bench.answer import Failure
from farm.bench.plan import Api
from farm.bench.said import SAID, Said, Spent
from wire.errors import UpstreamFault
from wire.ndjson import LineSplitter


class Reading:
    """Reads one answer.

    Args:
        api: NDJSON lines or server-sent events.

    Attributes:
        first, last: when the first and the last chunk with a token came, or None.
        ended: when the end mark came, or None.
        gaps: seconds between chunks.
        chunks: lines or events with text.
        tokens: generated tokens where the server told them, or None.
        spent: the server's durations, or None.
        failure: what went wrong, or None.
    """

    def __init__(self, api: Api) -> None:
        self.first: float | None = None
        self.last: float | None = None
        self.ended: float | None = None
        self.gaps: list[float] = []
        self.chunks = 0
        self.tokens: int | None = None
        self.spent: Spent | None = None
        self.failure: Failure | None = None
        self._say = SAID[api]
        self._events = api is Api.OPENAI
        self._data: list[bytes] = []
        self._lines = LineSplitter(limits.LINE_MAX_B)

    @property
    def over(self) -> bool:
        """Nothing that still comes matters."""
        return self.ended is not None or self.failure is not None

    def feed(self, data: bytes, now: float) -> None:
        """Take what arrived at `now`."""
        try:
            lines = self._lines.feed(data)
        except UpstreamFault as fault:
            self.failure = Failure(answer.MALFORMED, fault.detail)
            return
        self._take(lines, now)

    def finish(self, now: float) -> None:
        """HTTP ended cleanly at `now`: without an end mark that is half an answer."""
        rest = self._lines.finish()
        # The blank line that closes the last event may be missing.
        self._take([rest or b"", b""], now)
        if not self.over:
            self.failure = Failure(answer.NO_END_MARK, "the stream ended without its end mark")

    def _take(self, lines: list[bytes], now: float) -> None:
        before = self.chunks
        for message in self._messages(lines):
            if self.over:
                break
            try:
                self._hear(self._say(message), now)
            except ValueError as error:
                self.failure = Failure(answer.MALFORMED, f"a line that cannot be read: {error}")
        if self.chunks > before:
            self._mark(now)

    def _messages(self, lines: list[bytes]) -> Iterator[bytes]:
        for raw in lines:
            line = raw.rstrip(b"\r")
            if not self._events:
                if line.strip():
                    yield line
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif line.startswith(b"{"):
                yield line  # an error that was put bare into the stream
            elif not line and self._data:
                yield b"\n".join(self._data)
                self._data = []

    def _hear(self, said: Said, now: float) -> None:
        if said.error is not None:
            self.failure = Failure(answer.STREAM_ERROR, said.error)
            return
        self.chunks += said.text
        self.tokens = said.tokens or self.tokens
        self.spent = said.spent or self.spent
        if said.end:
            self.ended = now

    def _mark(self, now: float) -> None:
        if self.last is not None:
            self.gaps.append(now - self.last)
        else:
            self.first = now
        self.last = now
