"""`format`: "json" or a JSON schema, made safe and closed for the engine.

Pure. The engine follows JSON Schema, where objects are open; Ollama closes them. Called by `talk`.
"""

from __future__ import annotations

from typing import Any

from farm import limits
from farm.api import gojson
from farm.api.words import RefusalError
from farm.embedded import fields

_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
_BY_NAME = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_LITERAL = frozenset({"const", "enum", "default", "examples", "required"})
ANY_OBJECT: dict[str, Any] = {"type": "object"}
"""The schema of `format: "json"`: Ollama's grammar has an object at its root."""


def parse_format(given: Any) -> dict[str, Any] | None:
    """The schema for the engine, or None when the answer is free text.

    Raises:
        RefusalError: 500, in Ollama's words; also for schemas that would stall or crash the engine.
    """
    if given is None or given == "":
        return None
    if given == "json":
        return ANY_OBJECT
    if not isinstance(given, dict):
        # Go shows the raw JSON in quotes of its own.
        check_depth(given)
        shown = gojson.quoted(gojson.encode(given).decode())
        raise RefusalError(500, f'invalid format: {shown}; expected "json" or a valid JSON Schema object')
    check_depth(given)
    if fields.infinite(given) is not None:
        raise invalid()
    closed = _close(given, _Budget())
    assert isinstance(closed, dict)  # noqa: S101 - a dict went in
    return closed


def for_engine(closed: dict[str, Any]) -> dict[str, Any]:
    """The schema with the engine's own hints: `oneOf` counts as `anyOf`, unknown words are ignored."""
    return closed | {"x-guidance": {"coerce_one_of": True, "lenient": True}}


def check_depth(given: Any) -> None:
    """Look at a value from outside before anything walks through it.

    Raises:
        RefusalError: 500, it is nested too deep.
    """
    level = [given]
    for _ in range(limits.SCHEMA_DEPTH_MAX):
        level = [item for node in level if isinstance(node, dict | list)
                 for item in (node.values() if isinstance(node, dict) else node)]  # fmt: skip
        if not level:
            return
    raise invalid()


class _Budget:
    """Counts the nodes of one schema."""

    def __init__(self) -> None:
        self._left = limits.SCHEMA_NODES_MAX

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise invalid()


def invalid() -> RefusalError:
    """500 for a schema that no answer can be held to."""
    return RefusalError(500, "invalid JSON schema in format")


def _close(node: Any, budget: _Budget) -> Any:
    budget.spend()
    if isinstance(node, list):
        return [_close(item, budget) for item in node]
    if not isinstance(node, dict):
        return node
    _check(node)
    closed = {key: _inside(key, value, budget) for key, value in node.items()}
    if "properties" in closed and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    return closed


def _inside(key: str, value: Any, budget: _Budget) -> Any:
    if key in _LITERAL:
        return value
    if key in _BY_NAME and isinstance(value, dict):
        # Its keys are the user's names, not words of JSON Schema: a property may be called "type".
        return {name: _close(item, budget) for name, item in value.items()}
    return _close(value, budget)


def _check(node: dict[str, Any]) -> None:
    kinds = node.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if not all(isinstance(kind, str) and kind in _TYPES for kind in kinds):
        raise invalid()
    for name in _COUNTS & node.keys():
        count = node[name]
        if (
            isinstance(count, bool)
            or not isinstance(count, int)
            or not 0 <= count <= limits.SCHEMA_REPEAT_MAX
        ):
            raise invalid()
