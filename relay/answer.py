"""An upstream's answer as it comes: bytes in; status, headers and body out, and whether it is whole.

Heads must be HTTP to their end: the standard library, which reads them, takes 102 and 103 for the answer
itself and drops the headers behind a line that is none. Bodies end as RFC 9112, section 6.3 has it. Pure;
fed by `reading`.
"""

from __future__ import annotations

import http.client
import io
import re
from typing import Any, cast

from wire import limits
from wire.chunked import ChunkReader

_HEAD_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/\d\.\d 1(?!01)\d\d[ \r\n]")
_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")
_BEGINNING = b"HTTP/"
_LINE_END_B = 3


class HeadError(http.client.HTTPException):
    """The head of an answer is not HTTP; the text says what is wrong with it."""


class AnswerReader:
    """Takes one answer apart.

    Args:
        method: of the request; an answer to HEAD has no body.

    Attributes:
        status: the HTTP status; 0 until the head is there.
        headers: names and values as the upstream wrote them, in order, folded lines as one.
        done: the answer is whole; what follows is not its own.
    """

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.done = False
        self._method = method
        self._head = bytearray()
        self._chunks: ChunkReader | None = None
        self._left: int | None = 0  # bytes of a body whose length is known

    @property
    def behind(self) -> bool:
        """Whether bytes came with the head that `feed` has not given yet."""
        return bool(self.status and self._head)

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; the bytes of the body in it. What came with the head comes with the next call.

        Raises:
            http.client.HTTPException, ChunkError: this is no HTTP.
        """
        if not self.status:
            self._find_head(data)
            return b""
        if self._head:
            data = bytes(self._head) + data
            self._head.clear()
        return self._body(data)

    def end(self) -> None:
        """The connection was closed.

        Raises:
            http.client.HTTPException: before the answer was whole.
        """
        if not self.status:
            if self._head:
                self._take_head(bytes(self._head))
            else:
                raise http.client.RemoteDisconnected("closed without an answer")
            raise http.client.IncompleteRead(b"")
        if not self.done and (self._chunks is not None or self._left is not None):
            raise http.client.IncompleteRead(b"", self._left)
        self.done = True

    def _find_head(self, data: bytes) -> None:
        """Collect the head, and what stands behind it."""
        looked = max(0, len(self._head) - _LINE_END_B)
        self._head += data
        while (found := _HEAD_END.search(self._head, looked)) is not None:
            head = bytes(self._head[: found.end()])
            del self._head[: found.end()]
            looked = 0
            if _INTERIM.match(head):
                continue
            self._take_head(head)
            return
        begun = self._head[: len(_BEGINNING)]
        if len(self._head) > limits.ANSWER_HEAD_MAX_B or not _BEGINNING.startswith(begun):
            self._take_head(bytes(self._head))
            raise HeadError("it is too long")

    def _take_head(self, head: bytes) -> None:
        if not head.startswith(_BEGINNING):
            raise http.client.BadStatusLine(repr(head[:40]))
        response = http.client.HTTPResponse(cast("Any", _Written(head)), method=self._method)
        response.begin()
        fields = response.headers
        rest = fields.get_payload()
        if isinstance(rest, str) and rest.strip():
            raise HeadError("a header line is none")
        if fields.get("transfer-encoding", "chunked").strip().lower() not in {"chunked", "identity"}:
            raise HeadError("its transfer encoding is unknown")
        if response.status == http.client.SWITCHING_PROTOCOLS:
            raise HeadError("it changes to another protocol")
        if len({one.strip() for one in ",".join(fields.get_all("content-length", [])).split(",")}) > 1:
            raise HeadError("it has two lengths")
        self.status = response.status
        self.headers = [(name, _FOLD.sub(" ", value)) for name, value in fields.items()]
        self._left = response.length
        self._chunks = ChunkReader() if response.chunked and response.length != 0 else None
        self.done = self._left == 0

    def _body(self, data: bytes) -> bytes:
        if self._chunks is not None:
            found = self._chunks.feed(data)
            self.done = self._chunks.done
            return found
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
            self.done = self._left == 0
        return data


class _Written:
    """What the standard library asks of a socket: the file it reads the head from."""

    def __init__(self, head: bytes) -> None:
        self._head = head

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._head)
