"""What a client heard: the bytes of one answer with their moments, read into lines once the load is over.

Pure; called by `proxy_load`, which has no time for it while the load runs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

import httptools

from bench.proxy_cases import NATIVE

_LINE = re.compile(rb'"(?:response|content)":\s*"(\d+\.\d+)"')
_MARKS = {True: b'"done":true', False: b"data: [DONE]"}
END = b"\r\n0\r\n\r\n"
"""The end of a chunked answer; a line never looks like it."""


@dataclass(slots=True)
class Answer:
    """One request and what came; moments in seconds of the monotonic clock.

    Attributes:
        path: that was asked.
        asked: when the request was sent.
        pieces: what came, as it came.
        over: whether all of it came.
        cut: whether the load ended first.
    """

    path: str
    asked: float
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    over: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, read.

    Attributes:
        asked: when the request was sent.
        came: the moment of each line.
        late_ms: of each line, from the upstream's write to its arrival.
        whole: whether the end mark came, and the status was 200.
        words: the beginning of what is no such answer, else empty.
    """

    asked: float
    came: list[float]
    late_ms: list[float]
    whole: bool
    words: str = ""

    @property
    def ttft_ms(self) -> float:
        """From the request to the first line."""
        return (self.came[0] - self.asked) * 1000


class _Body:
    """The body of an answer, and where in it each piece ends."""

    def __init__(self, pieces: list[tuple[float, bytes]]) -> None:
        self.moments: list[float] = []
        self.ends: list[int] = []
        self.text = bytearray()
        self.status = 0
        self._parser = httptools.HttpResponseParser(self)
        for moment, data in pieces:
            self._parser.feed_data(data)
            self.moments.append(moment)
            self.ends.append(len(self.text))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.text += body

    def moment_of(self, index: int) -> float:
        """When the byte at that index came."""
        return self.moments[bisect_right(self.ends, index)]


def read(answer: Answer) -> Heard:
    """Read one answer."""
    try:
        body = _Body(answer.pieces)
    except httptools.HttpParserError as error:
        return Heard(answer.asked, [], [], whole=False, words=f"no HTTP: {error}")
    if answer.cut and not body.status:
        return Heard(answer.asked, [], [], whole=False)
    if body.status != 200:
        words = bytes(body.text[:200]).decode("utf-8", "replace") or "nothing came"
        return Heard(answer.asked, [], [], whole=False, words=f"status {body.status}: {words}")
    came, late = [], []
    for line in _LINE.finditer(body.text):
        moment = body.moment_of(line.end() - 1)
        came.append(moment)
        late.append((moment - float(line[1])) * 1000)
    whole = answer.over and _MARKS[answer.path == NATIVE] in body.text[-2048:]
    words = "" if whole or answer.cut else "it ended without its end mark"
    return Heard(answer.asked, came, late, whole, words)
