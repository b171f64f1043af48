"""A request's head, from bytes: read strictly, because what two programs may read in two ways is an attack.

Pure; knows no socket and no file. Called by `doorman`, which gathers the bytes; `answers` judges the result.
Nothing is decoded or normalised: a path is compared as it was sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import bounds

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_WORD}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_HEADER = re.compile(rf"({_WORD}):[ \t]*+([\t\x20-\x7e\x80-\xff]*)")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._-]+)(?::[0-9]{1,5})?")
_LONE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""A line end that is only half of one, and what no head contains."""
_ONCE = frozenset({"host", "content-length", "transfer-encoding"})
_END = b"\r\n\r\n"


class Refusal(Exception):
    """A request that is not answered with a file.

    Attributes:
        status: of the answer.
        detail: one sentence for whoever sent it; holds nothing that came with the request.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        method: as sent.
        target: as sent: path and query.
        host: name or address in Host, in lower case, without port and brackets.
        headers: names in lower case; values of the same name joined by ", ".
        keep: whether the connection may serve another request.
        body: whether a body follows.
    """

    method: str
    target: str
    host: str
    headers: dict[str, str]
    keep: bool = True
    body: bool = False

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


def take(data: bytes) -> tuple[Asked, bytes] | None:
    """The first request in what has come, and the bytes behind its head; None if it is not whole yet.

    Raises:
        Refusal: as soon as it is clear that no good request will come of it.
    """
    end = data.find(_END)
    head = data if end < 0 else data[: end + len(_END)]
    if _LONE.search(head):
        raise Refusal(
            400, "The head of the request is no HTTP: lines end with CR LF and hold no control characters."
        )
    line, ended, rest = head.partition(b"\r\n")
    words = _request_line(line) if ended else None
    if len(head) > bounds.HEAD_MAX_B or (end < 0 and len(head) == bounds.HEAD_MAX_B):
        raise _too_large(known=words is not None)
    if words is None or end < 0:
        return None
    method, target, minor = words
    headers = _headers(rest[: -len(_END)].decode("latin-1") if len(rest) > len(_END) else "")
    keep = minor == "1" and "close" not in _list(headers.get("connection", ""))
    return Asked(method, target, _host(headers), headers, keep, _has_body(headers)), data[len(head) :]


def _request_line(line: bytes) -> tuple[str, str, str]:
    """Method, target, minor version."""
    found = _REQUEST_LINE.fullmatch(line.decode("latin-1"))
    if found is None:
        raise Refusal(400, "The first line of the request is not of the form METHOD TARGET HTTP/1.1.")
    method, target, major, minor = found.groups()
    if major != "1" or minor not in "01":
        raise Refusal(505, "This server speaks HTTP/1.1 and HTTP/1.0.")
    if len(target) > bounds.TARGET_MAX:
        raise _too_large(known=False)
    return method, target, minor


def _too_large(*, known: bool) -> Refusal:
    if known:
        return Refusal(431, f"The head of the request is larger than {bounds.HEAD_MAX_B} bytes.")
    return Refusal(414, f"The path is longer than {bounds.TARGET_MAX} characters.")


def _headers(text: str) -> dict[str, str]:
    lines = text.split("\r\n") if text else []
    if len(lines) > bounds.HEADERS_MAX:
        raise Refusal(431, f"The request has more than {bounds.HEADERS_MAX} headers.")
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:  # also a header that goes on in the next line
            raise Refusal(400, "A header of the request is not of the form Name: value.")
        name, value = found[1].lower(), found[2].rstrip(" \t")
        if name in headers and name in _ONCE:
            raise Refusal(400, "The request says twice where it goes or where it ends.")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _host(headers: dict[str, str]) -> str:
    found = _HOST.fullmatch(headers.get("host", ""))
    if found is None:
        raise Refusal(400, "The request has no usable Host header.")
    return found[1].strip("[]").lower()


def _has_body(headers: dict[str, str]) -> bool:
    length = headers.get("content-length", "0")
    coded = "transfer-encoding" in headers
    if not re.fullmatch("[0-9]+", length) or (coded and "content-length" in headers):
        raise Refusal(400, "The request does not say clearly where it ends.")
    return coded or length.strip("0") != ""


def _list(value: str) -> list[str]:
    return [word.strip().lower() for word in value.split(",")]
