"""Bodies with the wrong type in one field, and what a real Ollama 0.24.0 was recorded to say to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORDED: list[dict[str, Any]] = json.loads((HERE / "ollama_refusals.json").read_text(encoding="utf-8"))
BAD_JSON: list[tuple[str, str]] = json.loads((HERE / "ollama_bad_json.json").read_text(encoding="utf-8"))
SAID = [{"role": "user", "content": "x"}]
BASES: dict[str, dict[str, Any]] = {
    "/api/generate": {"model": "nosuch"},
    "/api/chat": {"model": "nosuch"},
    "/api/embed": {"model": "nosuch"},
    "/api/embeddings": {"model": "nosuch"},
    "/api/show": {"model": "nosuch"},
    "/api/pull": {"model": "a b"},
    "/api/copy": {"source": "nosuch", "destination": "y"},
    "/api/delete": {"model": "nosuch"},
    "/api/create": {"model": "a b"},
    "/api/push": {},
    "/v1/chat/completions": {"model": "nosuch", "messages": SAID},
    "/v1/completions": {"model": "nosuch"},
    "/v1/embeddings": {"model": "nosuch", "input": "x"},
    "/v1/responses": {"model": "nosuch", "input": "x"},
    "/v1/messages": {"model": "nosuch", "max_tokens": 2, "messages": SAID},
}
"""Route → a body that is read whole and then refused for its model: nothing is ever generated."""
TYPES = {"[": "array", "{": "object", '"': "string", "t": "bool"}


def body_with(path: str, field: str, value: str) -> str:
    """The route's body with a value put in: "messages.0.content" is the content of the first message."""
    parts = field.split(".")
    node: Any = json.loads(json.dumps(BASES[path]))
    whole = node
    for part, inner in zip(parts, [*parts[1:], None], strict=True):
        filling: Any = "@@" if inner is None else [] if inner.isdigit() else {}
        if part.isdigit():
            node.append(filling)
            node = node[-1]
        else:
            node[part] = filling
            node = filling
    if field.startswith("input.0.content"):
        whole["input"][0].setdefault("type", "message")
    if field.startswith("messages.0.content.0.") and not field.endswith(".type"):
        whole["messages"][0]["content"][0]["type"] = "text"
    if field.startswith("messages.0.tool_calls"):
        whole["messages"][0].setdefault("content", "x")
    return json.dumps(whole, separators=(",", ":")).replace('"@@"', value)


def said_to(path: str) -> Iterator[tuple[str, int, bool, str]]:
    """Body, status, whether the error came after the request was read, and words, of one route's table."""
    for row in RECORDED:
        for said, values in row["said"].items() if row["path"] == path else ():
            status, _, words = said.partition(" ")
            for value in values:
                told = words.removeprefix("bare ").replace("{number}", f"number {value}")
                told = told.replace("{type}", TYPES.get(value[0], "number"))
                yield body_with(path, row["field"], value), int(status), words.startswith("bare "), told
