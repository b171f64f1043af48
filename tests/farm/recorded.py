"""The exchanges recorded from a real Ollama 0.24.0, and their requests as bytes."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENTRIES: dict[str, dict[str, Any]] = {
    entry["name"]: entry
    for entry in json.loads(Path(__file__).with_name("ollama_recorded.json").read_text(encoding="utf-8"))
    if entry["name"] != "_conventions"
}
HOST = "127.0.0.1:11434"

# -- requests -------------------------------------------------------------------------------------

_PUT_IN: list[tuple[str, Callable[[re.Match[str]], str]]] = [
    (r'<\\?"word \\?" (\d+) times>', lambda found: "word " * int(found[1])),
    (r"<(\d+) words>", lambda found: "word " * int(found[1])),
    (r'<(\d+) times "a">', lambda found: "a" * int(found[1])),
    (r"<port>", lambda _: "3000"),
]


def expanded(text: str) -> str:
    for pattern, put_in in _PUT_IN:
        text = re.sub(pattern, put_in, text)
    return text


def body_of(name: str) -> bytes:
    """The request's body as it was sent."""
    text = ENTRIES[name]["request"]["body"]
    if text.startswith("<gzip"):
        return gzip.compress(b"{}")
    return expanded(text).encode().replace(rb"\xff\xfe", b"\xff\xfe")


def _chunked(body: bytes) -> bytes:
    half = len(body) // 2
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])) + b"0\r\n\r\n"


def request_of(name: str, **changes: Any) -> bytes:
    """The bytes of a recorded request; `changes` are put into its JSON body."""
    if name == "garbage_request":
        return b"GARBAGE\r\n\r\n"
    asked = ENTRIES[name]["request"]
    body = body_of(name)
    if changes:
        body = json.dumps(json.loads(body) | changes).encode()
    headers: dict[str, Any] = {"Host": HOST}
    if body:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    headers |= asked["headers"]
    if "Transfer-Encoding" in asked["headers"] and "Content-Length" not in asked["headers"]:
        headers.pop("Content-Length", None)
    if headers.get("Transfer-Encoding") == "chunked":
        body = _chunked(body)
    version = "1.0" if name.startswith("http10") else "1.1"
    lines = [f"{asked['method']} {asked['path']} HTTP/{version}"]
    for key, value in headers.items():
        for each in value if isinstance(value, list) else [value]:
            lines += [] if each == "<not sent>" else [f"{key}: {expanded(each)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
