"""An HTTP request as the ports of a node have read it, and the answer in a real node's bytes.

Pure; used by `rpc`, `upgrade`, `panel`, and by `httpserver`, which reads and writes.
"""

from __future__ import annotations

import http
from dataclasses import dataclass, field

CORS = (
    ("Access-Control-Allow-Headers", "Origin, X-Requested-With, Content-Type, Accept"),
    ("Access-Control-Allow-Origin", "*"),
    ("Content-Type", "application/json;charset=utf-8"),
)
TEXT = (("Content-Type", "text/plain; charset=utf-8"),)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        target: path and query.
        version: "1.1", or "1.0" which is answered likewise.
        headers: names in lower case; the first value of each.
        peer: IP address.
    """

    method: str
    target: str = "/"
    version: str = "1.1"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        bare: neither date nor length, as for what is no HTTP.
        words: after the status; empty is what the standard says.
        after_s: seconds it takes the node to find it.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = CORS
    bare: bool = False
    words: str = ""
    after_s: float = 0.0

    def encode(self, asked: Asked, date: str, *, close: bool) -> bytes:
        """The bytes of the answer.

        Args:
            date: as HTTP has it.
            close: say that the connection ends with it; HTTP/1.0 knows that by itself.
        """
        lines = [f"HTTP/{asked.version} {self.status} {self.words or http.HTTPStatus(self.status).phrase}"]
        headers = list(self.headers)
        if not self.bare:
            headers.append(("Date", date))
            if asked.method != "HEAD":
                headers.append(("Content-Length", str(len(self.body))))
        if close and asked.version != "1.0":
            headers.append(("Connection", "close"))
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def malformed(detail: str = "") -> Answer:
    """The answer to what is no HTTP request."""
    words = f"Bad Request{detail}"
    return Answer(400, f"400 {words}".encode(), TEXT, bare=True, words=words)


TOO_MANY = Answer(429, headers=())
"""Over the limit: without CORS headers, so that a web page cannot even read the status."""
