"""HTTP/1.1 from a bare socket: what a client library hides stays in sight, each chunk and each end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

PATIENCE_S = 60.0
"""A deadline that only a hang can miss."""


@dataclass
class Answer:
    """One answer. `chunks` is None for a body without chunked framing; `end` is how the body ended:
    "length", "last chunk", "eof", "none" (a HEAD, a 204)."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    chunks: list[bytes] | None = None
    end: str = "none"
    interim: list[int] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Wire:
    """One connection. Reads never return more than was sent, so the moments of chunks can be told apart."""

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=patience_s)
        self._kept = b""
        self.over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def head(self) -> Answer:
        """Status line and headers, interim answers before them noted."""
        interim: list[int] = []
        while True:
            version, code, reason = self._line().decode().split(" ", 2)
            headers = []
            while line := self._line():
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name.lower(), value.strip()))
            if not code.startswith("1"):
                return Answer(version, int(code), reason, headers, interim=interim)
            interim.append(int(code))

    def answer(self, method: str) -> Answer:
        """A whole answer."""
        told = self.head()
        if method == "HEAD" or told.status in {204, 304}:
            return told
        if told.header("transfer-encoding") == "chunked":
            told.chunks = []
            for chunk in self.chunks():
                told.chunks.append(chunk)
            told.body, told.end = b"".join(told.chunks), "eof" if self.over else "last chunk"
        elif (length := told.header("content-length")) is not None:
            told.body, told.end = self._exactly(int(length)), "length"
        else:
            while self._more():
                pass
            told.body, told.end = self._kept, "eof"
        return told

    def chunks(self) -> Iterator[bytes]:
        """The chunks of a body until its last one, or until the connection ends without it."""
        try:
            while size := int(self._line(), 16):
                data = self._exactly(size + 2)
                assert data.endswith(b"\r\n")
                yield data[:-2]
            assert self._line() == b""
        except EOFError:
            self.over = True

    def ended(self, within_s: float = PATIENCE_S) -> bool:
        """Whether the other side closes without another byte."""
        self._socket.settimeout(within_s)
        try:
            return not self._more() and not self._kept
        except TimeoutError:
            return False

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self._kept += data
        return bool(data)

    def _line(self) -> bytes:
        while b"\r\n" not in self._kept:
            if not self._more():
                raise EOFError(self._kept)
        line, _, self._kept = self._kept.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._kept) < size:
            if not self._more():
                raise EOFError(self._kept)
        data, self._kept = self._kept[:size], self._kept[size:]
        return data


@contextmanager
def asking(url: str, request: bytes) -> Iterator[Wire]:
    """A connection on which a request was sent."""
    with Wire(url) as wire:
        wire.send(request)
        yield wire


def ask(url: str, request: bytes) -> Answer:
    """Send the bytes of a request, read its answer, close."""
    with asking(url, request) as wire:
        return wire.answer(request.split(b" ", 1)[0].decode())
